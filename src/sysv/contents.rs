//! What is in an attached segment, copied by system calls in both directions.
//!
//! The kernel copies, never we: a page that cannot be had (huge pages of which none is left, see SHM_HUGETLB in
//! shmget(2)) is then an error (`EFAULT`) and no SIGBUS. There are two ways, one face:
//!
//! - With `CAP_CHECKPOINT_RESTORE` or `CAP_SYS_ADMIN`, `/proc/self/map_files/START-END` opens the tmpfs file that the
//!   segment is (proc_pid_map_files(5)). Reading it allocates nothing, and `SEEK_DATA` passes over its holes.
//! - Without, the mapping is copied by process_vm_readv(2) and process_vm_writev(2) on ourselves. Touching a page
//!   allocates it, so mincore(2) tells first which pages are there.

use std::cell::RefCell;
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, IoSlice, IoSliceMut};
use std::ops::Range;
use std::os::unix::fs::FileExt;

use nix::errno::Errno;
use nix::sys::uio::{RemoteIoVec, process_vm_readv, process_vm_writev};
use nix::unistd::{Pid, Whence, lseek64};

use super::attachment::{Access, Attachment};
use super::maps::{KernelMounts, Mapping};
use super::{page_size, usage};

/// How much of the mapping stays resident behind a copy, and how much one mincore(2) looks at.
const WINDOW: u64 = 64 << 20;

/// A run of bytes that begins where it was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// Its end, excluded.
    pub end: u64,
    /// Whether nothing was ever written there, so that it reads as zeros.
    pub is_hole: bool,
}

/// The bytes of an attached segment.
#[derive(Debug)]
pub struct Contents<'a> {
    attachment: &'a Attachment,
    way: Way,
}

#[derive(Debug)]
enum Way {
    File(File),
    /// Which pages of the last window looked at are resident; `None` where absent pages cannot be told from holes.
    Mapping(Option<RefCell<Residency>>),
}

#[derive(Debug, Default)]
struct Residency {
    window: Range<u64>,
    pages: Vec<u8>,
}

impl Attachment {
    /// The way to what is in this attachment, chosen here once.
    pub fn contents(&self, access: Access) -> io::Result<Contents<'_>> {
        let start = self.address() as u64;
        let (end, is_on_tmpfs) = own_mapping(start)?;
        let file = OpenOptions::new()
            .read(true)
            .write(access == Access::ReadWrite)
            .open(format!("/proc/self/map_files/{start:x}-{end:x}"));
        let way = match file {
            Ok(file) => Way::File(file),
            // mincore(2) looks into the page cache for tmpfs, but for huge pages only into our own page table, where a
            // new attachment has none.
            Err(_) if is_on_tmpfs => Way::Mapping(Some(RefCell::default())),
            Err(_) => Way::Mapping(None),
        };
        Ok(Contents { attachment: self, way })
    }
}

impl Contents<'_> {
    /// Copies `buffer.len()` bytes from `offset` on out of the segment.
    ///
    /// Errors: `EFAULT` where a page cannot be had. `InvalidInput` past the segment's end.
    pub fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.within(offset, buffer.len())?;
        match &self.way {
            Way::File(file) => file.read_exact_at(buffer, offset),
            Way::Mapping(_) => {
                let mut done = 0;
                while done < buffer.len() {
                    let rest = &mut buffer[done..];
                    let remote = self.remote(offset + done as u64, rest.len());
                    let copied = process_vm_readv(Pid::this(), &mut [IoSliceMut::new(rest)], &[remote])?;
                    done += progress(copied)?;
                }
                self.forget(offset, done)
            }
        }
    }

    /// Copies `bytes` into the segment at `offset`.
    ///
    /// Errors: `EFAULT` where a page cannot be had. `InvalidInput` past the segment's end.
    pub fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.within(offset, bytes.len())?;
        if let Way::File(file) = &self.way {
            match file.write_all_at(bytes, offset) {
                // hugetlbfs has no write(2).
                Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {}
                result => return result,
            }
        }
        let mut done = 0;
        while done < bytes.len() {
            let rest = &bytes[done..];
            let remote = self.remote(offset + done as u64, rest.len());
            let copied = process_vm_writev(Pid::this(), &[IoSlice::new(rest)], &[remote])?;
            done += progress(copied)?;
        }
        self.forget(offset, done)
    }

    /// The run of data, or of nothing, that begins at `offset` and ends at `end` at the latest.
    pub fn extent(&self, offset: u64, end: u64) -> io::Result<Extent> {
        self.within(offset, usize::try_from(end.saturating_sub(offset)).unwrap_or(usize::MAX))?;
        let all_data = Extent { end, is_hole: false };
        match &self.way {
            Way::File(file) => {
                let seek = |whence| lseek64(file, offset.cast_signed(), whence).map(i64::cast_unsigned);
                match seek(Whence::SeekData) {
                    Ok(data) if data > offset => Ok(Extent { end: data.min(end), is_hole: true }),
                    Ok(_) => Ok(Extent { end: seek(Whence::SeekHole)?.min(end), is_hole: false }),
                    // No data from here on.
                    Err(Errno::ENXIO) => Ok(Extent { end, is_hole: true }),
                    Err(errno) => Err(errno.into()),
                }
            }
            Way::Mapping(None) => Ok(all_data),
            Way::Mapping(Some(residency)) => {
                let mut residency = residency.borrow_mut();
                if !residency.window.contains(&offset) {
                    *residency = self.residency(offset)?;
                }
                Ok(residency.extent(offset, end))
            }
        }
    }

    /// Clears the segment: madvise(2) `MADV_REMOVE` gives its pages back, so that a sparse one is sparse again.
    pub fn clear(&self) -> io::Result<()> {
        let length = usize::try_from(self.attachment.size()).map_err(io::Error::other)?;
        // SAFETY: the range is this attachment's own, mapped until it is dropped, and no reference into it exists.
        let ret = unsafe { libc::madvise(self.pointer(0), length, libc::MADV_REMOVE) };
        Ok(Errno::result(ret).map(drop)?)
    }

    /// Clears the segment by writing zeros, for where [`Contents::clear`] cannot.
    pub fn zero(&self) -> io::Result<()> {
        let zeros = vec![0; 1 << 20];
        let mut at = 0;
        while at < self.attachment.size() {
            let now = (self.attachment.size() - at).min(zeros.len() as u64);
            self.write_at(&zeros[..now as usize], at)?;
            at += now;
        }
        Ok(())
    }

    fn within(&self, offset: u64, length: usize) -> io::Result<()> {
        match offset.checked_add(length as u64) {
            Some(end) if end <= self.attachment.size() => Ok(()),
            _ => Err(io::Error::new(io::ErrorKind::InvalidInput, "past the end of the segment")),
        }
    }

    /// Where `offset` is mapped; only for system calls, which check it.
    fn pointer(&self, offset: u64) -> *mut libc::c_void {
        std::ptr::without_provenance_mut(self.attachment.address() + offset as usize)
    }

    fn remote(&self, offset: u64, len: usize) -> RemoteIoVec {
        RemoteIoVec { base: self.pointer(offset).addr(), len }
    }

    /// Takes what was copied out of our page table again, whole pages of it: a copy of 1 GiB must not make 1 GiB of
    /// us resident. The segment keeps its pages.
    fn forget(&self, offset: u64, length: usize) -> io::Result<()> {
        let start = offset - offset % page_size();
        // SAFETY: MADV_DONTNEED on a shared mapping drops page table entries, no data; the range is our attachment's.
        let ret =
            unsafe { libc::madvise(self.pointer(start), length + (offset - start) as usize, libc::MADV_DONTNEED) };
        match Errno::result(ret) {
            // Huge pages want whole ones: they are few, and may stay.
            Ok(_) | Err(Errno::EINVAL) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Asks mincore(2) which pages from `offset` on are there.
    ///
    /// An absent page is a hole only while nothing is swapped out, so the namespace's swap count (`SHM_INFO`) is
    /// looked at before and after; where it is not 0, all is taken for data.
    fn residency(&self, offset: u64) -> io::Result<Residency> {
        let start = offset - offset % page_size();
        let window = start..(start + WINDOW).min(self.attachment.size());
        let length = (window.end - window.start) as usize;
        let mut pages = vec![0; length.div_ceil(page_size() as usize)];
        let none_swapped = || usage().is_ok_and(|usage| usage.swapped_pages == 0);
        let before = none_swapped();
        // SAFETY: the range is our attachment's, and `pages` has a byte for each of its pages, which mincore fills in.
        let ret = unsafe { libc::mincore(self.pointer(start), length, pages.as_mut_ptr()) };
        Errno::result(ret)?;
        if !(before && none_swapped()) {
            pages.fill(1);
        }
        Ok(Residency { window, pages })
    }
}

impl Residency {
    fn extent(&self, offset: u64, end: u64) -> Extent {
        let first = ((offset - self.window.start) / page_size()) as usize;
        let resident = |page: &u8| page & 1 == 1;
        let is_hole = !resident(&self.pages[first]);
        let run = self.pages[first..].iter().take_while(|page| resident(page) != is_hole).count();
        let run_end = self.window.start + (first + run) as u64 * page_size();
        Extent { end: run_end.min(self.window.end).min(end), is_hole }
    }
}

/// A copy of nothing would go on for ever.
fn progress(copied: usize) -> Result<usize, Errno> {
    if copied == 0 { Err(Errno::EFAULT) } else { Ok(copied) }
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
