//! The memory cgroups charged for a segment's pages. The kernel charges a page to the cgroup of the process that first
//! touched it, and keeps that even after the process has exited.

mod file;
mod owners;

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::ops::Range;

use nix::errno::Errno;
use rustix::fs::{SeekFrom, seek};
use serde::Serialize;

use self::file::SegmentFile;
use super::attachments::Attachments;
use super::lookup::Named;
use crate::error::{Error, Result};
use crate::linux::{PageCgroups, PageFrames};
use crate::system::units::Unit;
use crate::sysv::{Segment, page_size};
use crate::values::counted;

/// The number of bytes of a segment that are mapped at a time. While mapped, they count as this process's own memory.
const WINDOW: u64 = 8 << 20;

/// The amount charged to one cgroup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Charge {
    /// The cgroup's path in its hierarchy, escaped. `None` if there is none: see `removed`.
    pub cgroup: Option<String>,
    /// The systemd unit, container or pod of that path.
    pub unit: Option<Unit>,
    /// Resident bytes of the segment.
    pub bytes: u64,
    /// Whether the charged cgroup was removed. If so, `cgroup` is the nearest existing one above it, if the kernel
    /// reports it. `None` if it is unknown. Without a cgroup, `Some(false)` is memory that is charged to no cgroup.
    pub removed: Option<bool>,
}

/// All charges for a segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Charges {
    /// Sorted by size, the largest first.
    pub charges: Vec<Charge>,
    /// Bytes that were resident at first, but no longer when they were inspected.
    pub vanished: u64,
}

/// Returns the charges for a segment without allocating any of its pages. If some of it is in memory and nobody has it
/// attached, this briefly attaches it read-only. Otherwise its times and its number of attachments do not change.
///
/// `advance` is called with the number of finished bytes of the segment's size.
///
/// # Errors
/// Only root may read the charges. It also fails if only processes that are not visible have the segment attached, or if
/// our own detach would destroy it (kernel.shm_rmid_forced).
pub(crate) fn charges(
    segment: &Segment,
    named: &Named,
    attachments: &Attachments,
    advance: impl FnMut(u64),
) -> Result<Charges> {
    let action = format!("find out who is charged for {named}");
    let cgroups = PageCgroups::open().map_err(|error| denied(&action, segment, &error))?;
    let frames = PageFrames::open().map_err(|error| denied(&action, segment, &error))?;
    if segment.rss == Some(0) {
        // Nothing is in memory. An attach would only replace the last user.
        return Ok(Charges { charges: Vec::new(), vanished: 0 });
    }
    let file = SegmentFile::open(segment, named, attachments, &action)?;
    let mut scan = Scan { frames, cgroups, bytes: HashMap::new(), vanished: 0 };
    let scanned = match file.huge_pages() {
        None => scan.pages(&file.file, file.length, advance),
        Some(huge) if huge.is_whole => scan.all(&file.file, 0..file.length),
        // The kernel does not show which of them are resident, but none is charged.
        Some(huge) if !owners::charges_huge_pages().map_err(|error| Error::io(&action, &error))? => {
            if huge.bytes > 0 {
                scan.bytes.insert(0, huge.bytes);
            }
            Ok(())
        }
        Some(_) => {
            return Err(Error::cannot(
                &action,
                "it has huge pages, not all of them are in memory, and the kernel does not report which",
            ));
        }
    };
    scanned.map_err(|error| denied(&action, segment, &error))?;
    let charges = owners::named(&scan.bytes).map_err(|error| Error::io(&action, &error))?;
    Ok(Charges { charges, vanished: scan.vanished })
}

/// The results so far.
struct Scan {
    frames: PageFrames,
    cgroups: PageCgroups,
    /// Bytes by the inode of the cgroup's directory; 0 means no cgroup.
    bytes: HashMap<u64, u64>,
    vanished: u64,
}

impl Scan {
    /// Inspects the pages of a file on tmpfs, and skips its holes.
    fn pages(&mut self, file: &File, length: u64, mut advance: impl FnMut(u64)) -> io::Result<()> {
        let (mut at, mut frames) = (0, Vec::new());
        while at < length {
            // Swapped pages count as data here; mincore(2) excludes them.
            let data = match seek(file, SeekFrom::Data(at)) {
                Ok(data) => data,
                Err(rustix::io::Errno::NXIO) => length,
                Err(errno) => return Err(errno.into()),
            };
            let start = (data - data % page_size()).max(at);
            let end = (start - start % WINDOW).saturating_add(WINDOW).min(length);
            if start < end {
                self.vanished += self.frames.find(file, start..end, &mut frames)? * page_size();
                self.count(&mut frames)?;
            }
            advance(end - at);
            at = end;
        }
        Ok(())
    }

    /// Inspects all pages of a file that is completely resident.
    fn all(&mut self, file: &File, range: Range<u64>) -> io::Result<()> {
        let mut frames = Vec::new();
        self.vanished += self.frames.find_all(file, range, &mut frames)? * page_size();
        self.count(&mut frames)
    }

    fn count(&mut self, frames: &mut Vec<u64>) -> io::Result<()> {
        let bytes = &mut self.bytes;
        self.cgroups.look_up(frames, |inode| *bytes.entry(inode).or_default() += page_size())?;
        frames.clear();
        Ok(())
    }
}

/// Returns the error for a failure to read the kernel's data about page frames.
fn denied(action: &str, segment: &Segment, error: &io::Error) -> Error {
    let resident = segment
        .plausible_rss()
        .map_or("its memory".to_owned(), |rss| format!("its {} in memory", counted(rss, "byte")));
    match error.kind() {
        io::ErrorKind::PermissionDenied => {
            Error::cannot(action, "only root may read which memory cgroup a page is charged to")
                .errno(Errno::EACCES)
                .hint(format_args!("run as root to see the cgroups, units and containers that pay for {resident}"))
        }
        io::ErrorKind::NotFound => Error::cannot(
            action,
            "/proc/kpagecgroup and /proc/kpageflags are missing: no /proc, or a kernel without CONFIG_MEMCG or CONFIG_PROC_PAGE_MONITOR",
        ),
        _ => Error::io(action, error),
    }
}
