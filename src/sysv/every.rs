//! All segments of an IPC namespace, by shmctl(2).

use nix::errno::Errno;

use super::control::{self, Read};
use super::{Segment, limits};
use crate::values::ShmId;

/// shmctl(2) `SHM_STAT_ANY`: the segment at an index, which the low bits of an identifier are. Needs no permission.
///
/// # Errors
/// `EINVAL` where there is none, and before Linux 4.17.
pub(crate) fn segment_at(index: i32) -> Result<Segment, Errno> {
    control::read(index, Read::ShmStatAny).map(|(id, ds)| Segment::from_status(ShmId::from_kernel(id), &ds))
}

/// shmctl(2) `SHM_STAT_ANY` of each index: all segments of the namespace, in the order of the table and in a third of
/// its time, but without [`Segment::rss`] and [`Segment::swap`].
///
/// `None` where the table is the better way: the indices in use are sparse, the kernel is older than 4.17, or a security
/// module forbids a look at one of them, which the table has nevertheless.
pub(crate) fn stat_all() -> Option<Vec<Segment>> {
    let (highest, usage) = limits::highest_index().ok()?;
    // An empty index costs a third of what a row of the table does.
    if u64::from(highest.cast_unsigned()) > 4 * usage.segments {
        return None;
    }
    let mut found = Vec::new();
    for index in 0..=highest {
        match control::read(index, Read::ShmStatAny) {
            Ok((id, ds)) => found.push(Segment::from_status(ShmId::from_kernel(id), &ds)),
            // Nothing has this index.
            Err(Errno::EINVAL | Errno::EIDRM) => {}
            Err(_) => return None,
        }
    }
    (usage.segments == 0 || !found.is_empty()).then_some(found)
}
