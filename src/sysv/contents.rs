//! The contents of an attached segment, which system calls move in both directions.
//!
//! Only the kernel touches the bytes. So a page that is unavailable (no huge page is left, see SHM_HUGETLB in shmget(2)) is
//! the error `EFAULT` and not SIGBUS. One of two implementations is chosen for each attachment:
//!
//! - [`SegmentFile`]: with `CAP_CHECKPOINT_RESTORE` or `CAP_SYS_ADMIN`, `/proc/self/map_files/START-END` opens the segment
//!   as a tmpfs file (proc_pid_map_files(5)). Its pages move between files and pipes without passing through the memory of
//!   this process, reading allocates nothing, and `SEEK_DATA` skips holes.
//! - [`MappedSegment`]: without these capabilities, read(2) and write(2) use the mapping. Touching a page allocates it, so
//!   mincore(2) first tells which pages are resident.

mod file;
mod mapping;
mod residency;
mod stream;

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader};
use std::ops::Range;

use nix::sys::resource::{Resource, getrlimit};

use self::file::SegmentFile;
use self::mapping::MappedSegment;
pub(crate) use self::stream::Stream;
use super::attachment::{Access, Attachment};
use super::maps::{KernelMounts, Mapping};

/// The maximum number of bytes that one call moves. A pipe can hold as many. Progress is reported between two calls.
const PIECE: u64 = 1 << 20;
/// The number of bytes that are copied at a time through a buffer, if the kernel cannot move them directly.
const BUFFER: u64 = 128 << 10;

/// A run of bytes from a given offset on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Extent {
    /// The end, excluded.
    pub end: u64,
    /// Whether the run was never written, so that it reads as zeros.
    pub is_hole: bool,
}

/// The failure of a move, by the side that failed.
#[derive(Debug)]
pub(crate) enum MoveError {
    /// The segment: `EFAULT` if a page is unavailable, `InvalidInput` past its end.
    Segment(io::Error),
    /// The file or stream that the bytes come from or go to.
    Stream(io::Error),
}

/// The bytes of an attached segment.
#[derive(Debug)]
pub(crate) struct Contents<'a> {
    attachment: &'a Attachment,
    backend: Box<dyn Backend + 'a>,
}

/// An implementation of access to the bytes. Ranges lie within the segment and are not empty.
trait Backend: fmt::Debug {
    /// Returns the run of data, or the hole, at the beginning of a range. It ends within the range.
    fn extent(&self, range: Range<u64>) -> io::Result<Extent>;
    /// Copies bytes from the segment.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()>;
    /// Copies bytes into the segment.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// Moves the first bytes of a range to a stream. Returns their number, or `None` if this implementation does not
    /// support the stream.
    fn send(&self, range: Range<u64>, to: &Stream<'_>) -> io::Result<Option<usize>>;
    /// Moves bytes from a stream to the beginning of a range. Returns their number, 0 at the end of the stream, or `None` as
    /// above.
    fn receive(&self, range: Range<u64>, from: &Stream<'_>) -> io::Result<Option<usize>>;
}

impl Attachment {
    /// Chooses the implementation for this attachment: the mapping, unless /proc opens the file.
    pub(crate) fn contents(&self, access: Access) -> Contents<'_> {
        let start = self.address() as u64;
        let own = own_mapping(start);
        let is_on_tmpfs = own.as_ref().map_or_else(|_| mapping::is_on_tmpfs(self), |(_, is_on_tmpfs)| *is_on_tmpfs);
        let file = own.and_then(|(end, _)| {
            let path = format!("/proc/self/map_files/{start:x}-{end:x}");
            OpenOptions::new().read(true).write(access == Access::ReadWrite).open(path)
        });
        let backend: Box<dyn Backend> = match (file, access) {
            (Ok(file), Access::Read) => Box::new(SegmentFile(file)),
            // hugetlbfs has no write(2). RLIMIT_FSIZE applies to every file, but it must not apply to a segment.
            (Ok(file), Access::ReadWrite) if is_on_tmpfs && !is_file_size_limited(self.size()) => {
                Box::new(SegmentFile(file))
            }
            _ => Box::new(MappedSegment::new(self, is_on_tmpfs)),
        };
        Contents { attachment: self, backend }
    }

    /// Opens the segment as a file through `/proc/self/map_files` (proc_pid_map_files(5)). The file can be mapped after the
    /// detach. Neither the file nor such a mapping is an attachment.
    ///
    /// # Errors
    /// `PermissionDenied` without CAP_CHECKPOINT_RESTORE or CAP_SYS_ADMIN. Those of reading `/proc/self/maps`.
    pub(crate) fn open_file(&self) -> io::Result<File> {
        let start = self.address() as u64;
        let (end, _) = own_mapping(start)?;
        File::open(format!("/proc/self/map_files/{start:x}-{end:x}"))
    }
}

impl Contents<'_> {
    /// Copies `buffer.len()` bytes at `offset` from the segment.
    ///
    /// # Errors
    /// `EFAULT` if a page is unavailable, `InvalidInput` past the segment's end.
    pub(crate) fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.within(&range(offset, buffer.len()))?;
        self.backend.read_at(buffer, offset)
    }

    /// Copies `bytes` into the segment at `offset`.
    ///
    /// # Errors
    /// `EFAULT` if a page is unavailable, `InvalidInput` past the segment's end.
    pub(crate) fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.within(&range(offset, bytes.len()))?;
        self.backend.write_at(bytes, offset)
    }

    /// Returns the run of data, or the hole, at the beginning of `range`. It ends within the range.
    ///
    /// # Errors
    /// `InvalidInput` past the segment's end.
    pub(crate) fn extent(&self, range: Range<u64>) -> io::Result<Extent> {
        self.within(&range)?;
        if range.is_empty() { Ok(Extent { end: range.end, is_hole: false }) } else { self.backend.extent(range) }
    }

    /// Moves bytes from the beginning of `range` to the current position of a stream. Returns their number, which is at
    /// least 1 and can be less than the range.
    ///
    /// A pipe gets the segment's pages, not copies. Until its reader has read them, it sees what other processes write to
    /// the segment.
    ///
    /// # Errors
    /// Those of splice(2), sendfile(2), vmsplice(2), read(2) and write(2), by the side that failed.
    pub(crate) fn send(&self, range: Range<u64>, to: &Stream<'_>) -> Result<u64, MoveError> {
        let range = self.piece(range)?;
        match self.backend.send(range.clone(), to) {
            Ok(Some(count)) if count > 0 => Ok(count as u64),
            // Reading and writing separately also shows which of the two fails.
            Ok(_) | Err(_) => self.send_copied(range, to),
        }
    }

    /// Moves bytes from the current position of a stream to the beginning of `range`. Returns their number, 0 at the end of
    /// the stream.
    ///
    /// # Errors
    /// Those of [`Contents::send`].
    pub(crate) fn receive(&self, range: Range<u64>, from: &Stream<'_>) -> Result<u64, MoveError> {
        let range = self.piece(range)?;
        match self.backend.receive(range.clone(), from) {
            Ok(Some(count)) => Ok(count as u64),
            Ok(None) | Err(_) => self.receive_copied(range, from),
        }
    }

    /// Clears a range: madvise(2) with `MADV_REMOVE` frees its pages, so that they become a hole.
    ///
    /// # Errors
    /// `EINVAL` if the range does not consist of whole pages.
    pub(crate) fn clear(&self, range: Range<u64>) -> io::Result<()> {
        self.within(&range)?;
        mapping::advise(self.attachment, &range, libc::MADV_REMOVE)
    }

    fn send_copied(&self, range: Range<u64>, to: &Stream<'_>) -> Result<u64, MoveError> {
        let mut buffer = vec![0; (range.end - range.start).min(BUFFER) as usize];
        self.backend.read_at(&mut buffer, range.start).map_err(MoveError::Segment)?;
        to.write_all(&buffer).map_err(MoveError::Stream)?;
        Ok(buffer.len() as u64)
    }

    fn receive_copied(&self, range: Range<u64>, from: &Stream<'_>) -> Result<u64, MoveError> {
        let mut buffer = vec![0; (range.end - range.start).min(BUFFER) as usize];
        let count = from.read(&mut buffer).map_err(MoveError::Stream)?;
        if count > 0 {
            self.backend.write_at(&buffer[..count], range.start).map_err(MoveError::Segment)?;
        }
        Ok(count as u64)
    }

    /// Returns the first part of a range, as long as one call moves.
    fn piece(&self, range: Range<u64>) -> Result<Range<u64>, MoveError> {
        self.within(&range).map_err(MoveError::Segment)?;
        Ok(range.start..range.end.min(range.start.saturating_add(PIECE)))
    }

    fn within(&self, range: &Range<u64>) -> io::Result<()> {
        if range.start <= range.end && range.end <= self.attachment.size() {
            return Ok(());
        }
        Err(io::Error::new(io::ErrorKind::InvalidInput, "past the end of the segment"))
    }
}

fn range(offset: u64, length: usize) -> Range<u64> {
    offset..offset.saturating_add(length as u64)
}

/// Returns whether `RLIMIT_FSIZE` (getrlimit(2)) forbids a file of this size.
fn is_file_size_limited(size: u64) -> bool {
    getrlimit(Resource::RLIMIT_FSIZE).is_ok_and(|(limit, _)| limit < size)
}

/// Returns the end of the mapping of this process that begins at `address`, and whether it is on tmpfs.
fn own_mapping(address: u64) -> io::Result<(u64, bool)> {
    let kernel = KernelMounts::find()?;
    for line in BufReader::new(File::open("/proc/self/maps")?).split(b'\n') {
        match Mapping::from_line(&line?) {
            Some(mapping) if mapping.range.start == address => {
                return Ok((mapping.range.end, mapping.is_on_tmpfs(&kernel)));
            }
            _ => {}
        }
    }
    Err(io::Error::new(io::ErrorKind::NotFound, "/proc/self/maps does not show the attachment"))
}
