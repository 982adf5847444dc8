//! What is in an attached segment, moved by system calls in both directions.
//!
//! The kernel touches the bytes, never we: a page that cannot be had (huge pages of which none is left, see SHM_HUGETLB
//! in shmget(2)) is then an error (`EFAULT`) and no SIGBUS. There are two ways, chosen once, with one face:
//!
//! - [`SegmentFile`]: with `CAP_CHECKPOINT_RESTORE` or `CAP_SYS_ADMIN`, `/proc/self/map_files/START-END` opens the tmpfs
//!   file that the segment is (proc_pid_map_files(5)). Its pages move from file to file and into pipes without passing
//!   through our memory, reading it allocates nothing, and `SEEK_DATA` passes over its holes.
//! - [`MappedSegment`]: without, the mapping itself is what read(2) and write(2) are given. Touching a page allocates it,
//!   so mincore(2) tells first which pages are there.

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

/// How much is moved by one call at most: a pipe holds as much, and progress is told between two.
const PIECE: u64 = 1 << 20;
/// How much is copied at a time through a buffer of ours, where the kernel cannot move it in one.
const BUFFER: u64 = 128 << 10;

/// A run of bytes that begins where it was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Extent {
    /// Its end, excluded.
    pub end: u64,
    /// Whether nothing was ever written there, so that it reads as zeros.
    pub is_hole: bool,
}

/// Which side of a move failed.
#[derive(Debug)]
pub(crate) enum MoveError {
    /// The segment: `EFAULT` where a page cannot be had, `InvalidInput` past its end.
    Segment(io::Error),
    /// The file or stream that the bytes come from or go to.
    Stream(io::Error),
}

/// The bytes of an attached segment.
#[derive(Debug)]
pub(crate) struct Contents<'a> {
    attachment: &'a Attachment,
    way: Box<dyn Way + 'a>,
}

/// A way to the bytes. Ranges lie within the segment and are not empty.
trait Way: fmt::Debug {
    /// The run of data, or of nothing, that begins where this range does, and ends where it does at the latest.
    fn extent(&self, range: Range<u64>) -> io::Result<Extent>;
    /// Copies out of the segment.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()>;
    /// Copies into the segment.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// Moves the first bytes of a range to a stream; how many, or `None` where it is not one that this way serves.
    fn send(&self, range: Range<u64>, to: &Stream<'_>) -> io::Result<Option<usize>>;
    /// Moves bytes from a stream to the beginning of a range; how many, 0 at the stream's end, or `None` as above.
    fn receive(&self, range: Range<u64>, from: &Stream<'_>) -> io::Result<Option<usize>>;
}

impl Attachment {
    /// Chooses the way to the bytes of this attachment: the mapping itself where /proc does not show another.
    pub(crate) fn contents(&self, access: Access) -> Contents<'_> {
        let start = self.address() as u64;
        let own = own_mapping(start);
        let is_on_tmpfs = own.as_ref().map_or_else(|_| mapping::is_on_tmpfs(self), |(_, is_on_tmpfs)| *is_on_tmpfs);
        let file = own.and_then(|(end, _)| {
            let path = format!("/proc/self/map_files/{start:x}-{end:x}");
            OpenOptions::new().read(true).write(access == Access::ReadWrite).open(path)
        });
        let way: Box<dyn Way> = match (file, access) {
            (Ok(file), Access::Read) => Box::new(SegmentFile(file)),
            // hugetlbfs has no write(2), and the limit on a file's size holds for every file, but not for a segment.
            (Ok(file), Access::ReadWrite) if is_on_tmpfs && !is_file_size_limited(self.size()) => {
                Box::new(SegmentFile(file))
            }
            _ => Box::new(MappedSegment::new(self, is_on_tmpfs)),
        };
        Contents { attachment: self, way }
    }

    /// Opens the file that the segment is, through `/proc/self/map_files` (proc_pid_map_files(5)). It can be mapped after
    /// the detach, and neither the file nor such a mapping is an attachment.
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
    /// Copies `buffer.len()` bytes from `offset` on out of the segment.
    ///
    /// Errors: `EFAULT` where a page cannot be had. `InvalidInput` past the segment's end.
    pub(crate) fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.within(&range(offset, buffer.len()))?;
        self.way.read_at(buffer, offset)
    }

    /// Copies `bytes` into the segment at `offset`.
    ///
    /// Errors: `EFAULT` where a page cannot be had. `InvalidInput` past the segment's end.
    pub(crate) fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.within(&range(offset, bytes.len()))?;
        self.way.write_at(bytes, offset)
    }

    /// The run of data, or of nothing, that begins where `range` does, and ends where it does at the latest.
    ///
    /// Errors: `InvalidInput` past the segment's end.
    pub(crate) fn extent(&self, range: Range<u64>) -> io::Result<Extent> {
        self.within(&range)?;
        if range.is_empty() { Ok(Extent { end: range.end, is_hole: false }) } else { self.way.extent(range) }
    }

    /// Moves bytes of the segment, from the beginning of `range` on, to where a stream stands. How many those were: at
    /// least one of a range that has one, and not all where that is much.
    ///
    /// A pipe gets the segment's pages themselves, not copies: until its reader has read them, what others write to
    /// the segment shows there too.
    pub(crate) fn send(&self, range: Range<u64>, to: &Stream<'_>) -> Result<u64, MoveError> {
        let range = self.piece(range)?;
        match self.way.send(range.clone(), to) {
            Ok(Some(count)) if count > 0 => Ok(count as u64),
            // The two halves apart do what the kernel does not do in one, and tell which of them it is that fails.
            Ok(_) | Err(_) => self.send_copied(range, to),
        }
    }

    /// Moves bytes from where a stream stands to the beginning of `range`. How many those were: 0 at the stream's end.
    pub(crate) fn receive(&self, range: Range<u64>, from: &Stream<'_>) -> Result<u64, MoveError> {
        let range = self.piece(range)?;
        match self.way.receive(range.clone(), from) {
            Ok(Some(count)) => Ok(count as u64),
            Ok(None) | Err(_) => self.receive_copied(range, from),
        }
    }

    /// Clears a range: madvise(2) `MADV_REMOVE` gives its pages back, so that a sparse segment is sparse again.
    ///
    /// Errors: `EINVAL` where it is not made of whole pages.
    pub(crate) fn clear(&self, range: Range<u64>) -> io::Result<()> {
        self.within(&range)?;
        mapping::advise(self.attachment, &range, libc::MADV_REMOVE)
    }

    fn send_copied(&self, range: Range<u64>, to: &Stream<'_>) -> Result<u64, MoveError> {
        let mut buffer = vec![0; (range.end - range.start).min(BUFFER) as usize];
        self.way.read_at(&mut buffer, range.start).map_err(MoveError::Segment)?;
        to.write_all(&buffer).map_err(MoveError::Stream)?;
        Ok(buffer.len() as u64)
    }

    fn receive_copied(&self, range: Range<u64>, from: &Stream<'_>) -> Result<u64, MoveError> {
        let mut buffer = vec![0; (range.end - range.start).min(BUFFER) as usize];
        let count = from.read(&mut buffer).map_err(MoveError::Stream)?;
        if count > 0 {
            self.way.write_at(&buffer[..count], range.start).map_err(MoveError::Segment)?;
        }
        Ok(count as u64)
    }

    /// The first part of a range that is moved by one call.
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

/// Whether a file may not become as large (getrlimit(2), `RLIMIT_FSIZE`).
fn is_file_size_limited(size: u64) -> bool {
    getrlimit(Resource::RLIMIT_FSIZE).is_ok_and(|(limit, _)| limit < size)
}

/// Where our own mapping that begins at `address` ends, and whether it is on tmpfs.
fn own_mapping(address: u64) -> io::Result<(u64, bool)> {
    let kernel = KernelMounts::learn()?;
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
