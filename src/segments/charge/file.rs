//! Opening a segment as a file, which can be mapped without attaching the segment.

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;

use rustix::fs::fstatfs;

use crate::error::{Error, Result};
use crate::segments::attachments::{Attachments, Proof};
use crate::segments::lookup::Named;
use crate::segments::rmid_forced::outlives_a_detach;
use crate::system::foreign_file::{CachedStatus, find_by_link, reopen};
use crate::system::patience::ask;
use crate::sysv::{Access, Placement, Segment, attach, page_size};
use crate::values::counted;

/// The maximum number of attachments tried: one is enough, unless its process exits.
const TRIES: usize = 16;

/// The kernel's file of a segment.
#[derive(Debug)]
pub(super) struct SegmentFile {
    pub file: File,
    /// Size in bytes, rounded up to whole pages.
    pub length: u64,
    /// Allocated bytes of the file.
    allocated: u64,
    is_huge: bool,
}

/// The memory of a segment with huge pages.
#[derive(Debug, Clone, Copy)]
pub(super) struct HugePages {
    /// Resident bytes.
    pub bytes: u64,
    /// Whether the whole segment is resident.
    pub is_whole: bool,
}

impl SegmentFile {
    /// Opens an attachment's file below /proc/PID/map_files. That is not an attach: it changes neither nattch nor a
    /// time. If nobody has the segment attached, this attaches it read-only, opens the file and detaches.
    ///
    /// # Errors
    /// Those of shmat(2). If the only attachments are not visible, or if the detach would destroy the segment.
    pub(super) fn open(
        segment: &Segment,
        named: &Named,
        attachments: &Attachments,
        action: &str,
    ) -> Result<SegmentFile> {
        let certain = attachments.of(segment).into_iter().filter(|attached| attached.proof == Proof::Certain);
        let mut refused = None;
        for attached in certain.take(TRIES) {
            let (range, inode) = (attached.mapping.range.clone(), segment.id.as_raw() as u64);
            // Finding the mapping takes the lock of the process's memory map. By now another file may be mapped there,
            // which is not opened.
            let open = move |pid| {
                let found = find_by_link(&format!("/proc/{pid}/map_files/{:x}-{:x}", range.start, range.end))?;
                let status = CachedStatus::of(&found)?;
                let is_expected = status.is_regular && status.inode == inode;
                if is_expected { reopen(&found) } else { Err(io::ErrorKind::NotFound.into()) }
            };
            match ask(attached.pid, open).map(|opened| opened.and_then(|file| SegmentFile::of(file, segment))) {
                Some(Ok(Some(file))) => return Ok(file),
                // The process has detached it or exited, or another file is mapped there.
                Some(Err(error)) if is_gone(&error) => {}
                Some(Err(error)) => refused = Some(error),
                Some(Ok(None)) | None => {}
            }
        }
        if let Some(error) = refused {
            return Err(Error::io(action, &error));
        }
        if segment.nattch > 0 {
            return Err(Error::cannot(
                action,
                format!(
                    "no process can be seen that certainly has it attached ({})",
                    counted(segment.nattch, "attachment")
                ),
            )
            .hint(
                "they are in another pid namespace, have left this IPC namespace, or share memory with another one",
            ));
        }
        outlives_a_detach(segment.id, &named.to_string(), "inspect")?;
        let attachment =
            attach(segment.id, Access::Read, Placement::default()).map_err(|error| Error::call(action, error))?;
        let file = attachment.open_file().and_then(|file| SegmentFile::of(file, segment));
        let replaced = || Error::cannot(action, "it was removed and another has its identifier");
        file.map_err(|error| Error::io(action, &error))?.ok_or_else(replaced)
    }

    /// Returns `None` if the file is another segment's: its inode must be the identifier, and its owner the creator.
    fn of(file: File, segment: &Segment) -> io::Result<Option<SegmentFile>> {
        let metadata = file.metadata()?;
        let is_of_creator = metadata.uid() == segment.cuid;
        if metadata.ino() != segment.id.as_raw() as u64 || metadata.size() < segment.size || !is_of_creator {
            return Ok(None);
        }
        let is_huge = fstatfs(&file)?.f_type == libc::HUGETLBFS_MAGIC;
        Ok(Some(SegmentFile {
            file,
            length: metadata.size().next_multiple_of(page_size()),
            // The unit is always 512 bytes, whatever the file system's block size (stat(2)).
            allocated: metadata.blocks() * 512,
            is_huge,
        }))
    }

    /// Returns the huge pages, if it has any. The kernel's table counts them wrongly; the file's blocks are right.
    pub(super) fn huge_pages(&self) -> Option<HugePages> {
        self.is_huge.then_some(HugePages { bytes: self.allocated, is_whole: self.allocated >= self.length })
    }
}

/// Returns whether opening an attachment failed because it no longer exists, and not for lack of descriptors or rights.
fn is_gone(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(libc::ESRCH)
}
