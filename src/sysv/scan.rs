//! All segments of an IPC namespace, found by asking shmctl(2) for each index.

use std::io;

use nix::errno::Errno;

use super::control::{self, Read};
use super::error::{Error, Reason};
use super::{Segment, limits};
use crate::values::{ShmId, counted};

/// IPCMNI of include/linux/ipc_namespace.h: the number of indices, unless SHMMNI is larger.
const INDICES: u64 = 1 << 15;
/// The number of times that all segments are counted again if other processes create or remove some in between.
const TRIES: usize = 3;

/// Returns the segment at an index, which is the low bits of its identifier: shmctl(2) `SHM_STAT_ANY`. Needs no
/// permission.
///
/// # Errors
/// `EINVAL` if there is none, and before Linux 4.17.
pub(crate) fn segment_at(index: i32) -> Result<Segment, Errno> {
    control::read(index, Read::ShmStatAny).map(|(id, ds)| Segment::from_status(ShmId::from_kernel(id), &ds))
}

/// Returns all segments of the namespace by shmctl(2) `SHM_STAT_ANY` of each index, in the order of the table. It takes
/// a third of the table's time, but lacks [`Segment::rss`] and [`Segment::swap`].
///
/// Returns `None` if the table is better: the indices in use are sparse, the kernel is older than 4.17, or a security
/// module hides a segment that the table shows.
pub(crate) fn stat_all() -> Option<Vec<Segment>> {
    let (highest, usage) = limits::counted().ok()?;
    // An empty index costs a third of the time of a row of the table.
    if u64::from(highest.cast_unsigned()) > 4 * usage.segments {
        return None;
    }
    let scan = Scan::new(highest, Read::ShmStatAny);
    (scan.hidden == 0 && (usage.segments == 0 || !scan.found.is_empty())).then_some(scan.found)
}

/// Returns all segments of the namespace without the table: by shmctl(2) `SHM_STAT_ANY` of each index, or before Linux
/// 4.17 by `SHM_STAT`, which needs read permission. If the kernel counts more segments than are visible, the last item
/// is an error.
///
/// # Errors
/// `ENOSYS` is [`Reason::NotSupported`].
pub(super) fn without_table() -> Result<Vec<io::Result<Segment>>, Error> {
    let mut tries = 1..=TRIES;
    loop {
        let highest = match limits::counted() {
            Ok((highest, _)) => highest,
            Err(error) if error.reason == Reason::NotSupported => return Err(error),
            Err(_) => limits::highest_index().unwrap_or_else(highest_possible),
        };
        let mut scan = Scan::new(highest, Read::ShmStatAny);
        if scan.found.is_empty() {
            scan = Scan::new(highest, Read::ShmStat);
        }
        // Counted after the scan, so that a segment removed during the scan is not missing.
        let counted = limits::counted().ok().map(|(_, usage)| usage.segments);
        let missing = counted.map(|counted| counted.saturating_sub(scan.found.len() as u64));
        let is_whole = scan.hidden == 0 && missing.unwrap_or(0) == 0;
        if is_whole || tries.next().is_none() {
            let unseen = (!is_whole).then(|| Err(unseen(missing)));
            return Ok(scan.found.into_iter().map(Ok).chain(unseen).collect());
        }
    }
}

/// The segments at the indices from 0 on.
struct Scan {
    found: Vec<Segment>,
    /// The number of indices that must not be read.
    hidden: u64,
}

impl Scan {
    fn new(highest: i32, command: Read) -> Scan {
        let mut scan = Scan { found: Vec::new(), hidden: 0 };
        for index in 0..=highest {
            match control::read(index, command) {
                Ok((id, ds)) => scan.found.push(Segment::from_status(ShmId::from_kernel(id), &ds)),
                // No segment has this index.
                Err(Errno::EINVAL | Errno::EIDRM) => {}
                Err(_) => scan.hidden += 1,
            }
        }
        scan
    }
}

/// Returns the highest index that a segment can have. Used if the kernel does not report the highest index in use.
fn highest_possible() -> i32 {
    let limit = limits::limits().map_or(INDICES, |limits| limits.max_segments.max(INDICES));
    i32::try_from(limit - 1).unwrap_or(i32::MAX)
}

fn unseen(missing: Option<u64>) -> io::Error {
    let segments = missing.map_or("segments".into(), |missing| counted(missing, "segment"));
    let message = format!("it is missing or masked, and shmctl(2) does not show {segments}");
    io::Error::new(io::ErrorKind::PermissionDenied, message)
}
