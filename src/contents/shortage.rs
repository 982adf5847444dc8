//! Checking whether there is enough memory for a write. The kernel does not refuse a page: it kills a process.

use std::fmt;
use std::io;
use std::ops::Range;

use crate::system::memory_left::{Bound, memory_left};
use crate::sysv::Contents;
use crate::values::{human, visible_path};

/// Writes of at most this number of bytes are not checked: with less free memory, nothing would work any more.
const LITTLE: u64 = 1 << 20;

/// Returns a warning if writing to a part of a segment takes more memory than is left. Returns `None` if that cannot be
/// determined, because /proc or the cgroups are not visible.
pub(crate) fn shortage(contents: &Contents<'_>, name: &str, part: Range<u64>) -> Option<String> {
    let length = part.end - part.start;
    if length <= LITTLE {
        return None;
    }
    let left = memory_left()?;
    // This usually decides it, without examining the segment.
    if length <= left.bytes || !has_holes_for_more(contents, part, left.bytes).ok()? {
        return None;
    }
    let (length, bytes) = (human(length.into()), human(left.bytes.into()));
    Some(format!(
        "warning: writing {length} to {name} takes more new memory than the {bytes} that {}; write less, or make room \
         first: `shmadm list --sort rss --reverse` shows what segments take",
        Meaning(&left.bound)
    ))
}

/// Displays what a limit means to a process that writes.
struct Meaning<'a>(&'a Bound);

impl fmt::Display for Meaning<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Bound::Machine => f.write_str(
                "the machine has left (MemAvailable): it may swap, and the kernel may kill this process or others",
            ),
            Bound::Cgroup(path, "memory.high") => {
                write!(f, "cgroup {} has left (memory.high): the kernel slows this process down", visible_path(path))
            }
            Bound::Cgroup(path, file) => write!(
                f,
                "cgroup {} has left ({file}): the kernel kills this process when it is full, and the segment keeps it \
                 full until it is removed",
                visible_path(path)
            ),
        }
    }
}

/// Returns whether more than `left` bytes of a part of the segment have no page yet.
fn has_holes_for_more(contents: &Contents<'_>, part: Range<u64>, left: u64) -> io::Result<bool> {
    let (mut at, mut holes) = (part.start, 0);
    while at < part.end && holes <= left {
        let extent = contents.extent(at..part.end)?;
        holes += if extent.is_hole { extent.end - at } else { 0 };
        at = extent.end;
    }
    Ok(holes > left)
}
