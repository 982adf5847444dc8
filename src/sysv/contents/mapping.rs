//! The segment as it is mapped.

use std::cell::RefCell;
use std::ffi::c_void;
use std::io::{self, IoSlice, IoSliceMut};
use std::ops::Range;
use std::os::fd::{AsFd, AsRawFd};

use nix::errno::Errno;
use nix::sys::uio::{RemoteIoVec, process_vm_readv, process_vm_writev};
use nix::unistd::Pid;
use rustix::io::ioctl_fionread;

use super::residency::Residency;
use super::{Extent, Stream, Way};
use crate::linux::uninterrupted;
use crate::sysv::{Attachment, page_size};

/// How much of the mapping is populated for a move, and given back behind it.
const WINDOW: u64 = 512 << 10;

/// The attachment itself, for who may not open the file.
#[derive(Debug)]
pub(super) struct MappedSegment<'a> {
    attachment: &'a Attachment,
    /// Which pages of the last stretch looked at are there; `None` where absent pages cannot be told from holes:
    /// mincore(2) looks into the page cache for tmpfs, but for huge pages only into our own page table, where a new
    /// attachment has none.
    residency: Option<RefCell<Residency>>,
}

impl<'a> MappedSegment<'a> {
    pub(super) fn new(attachment: &'a Attachment, is_on_tmpfs: bool) -> MappedSegment<'a> {
        MappedSegment { attachment, residency: is_on_tmpfs.then(RefCell::default) }
    }

    /// Makes the pages of a window present at once, which is cheaper than one fault for each. It is no more than that:
    /// a kernel before 5.14 does not know the advice, and what page cannot be had, the move itself tells.
    fn populate(&self, window: &Range<u64>, advice: libc::c_int) {
        let _ = advise(self.attachment, window, advice);
    }

    /// Takes a window out of our page table again: moving 1 GiB must not make 1 GiB of us resident. The segment keeps
    /// its pages. Huge pages want whole ones (`EINVAL`): they are few, and may stay.
    fn forget(&self, window: &Range<u64>) {
        let _ = advise(self.attachment, window, libc::MADV_DONTNEED);
    }

    /// Copies through one of the calls that copy between processes, which take us for one, a window at a time.
    fn copy(
        &self,
        range: Range<u64>,
        populate: libc::c_int,
        mut call: impl FnMut(usize, RemoteIoVec) -> nix::Result<usize>,
    ) -> io::Result<()> {
        let mut at = range.start;
        while at < range.end {
            let window = at..range.end.min(next_window(at));
            self.populate(&window, populate);
            while at < window.end {
                let remote = RemoteIoVec { base: pointer(self.attachment, at).addr(), len: (window.end - at) as usize };
                match call((at - range.start) as usize, remote)? {
                    // It would go on for ever.
                    0 => return Err(Errno::EFAULT.into()),
                    count => at += count as u64,
                }
            }
            self.forget(&window);
        }
        Ok(())
    }
}

impl Way for MappedSegment<'_> {
    fn extent(&self, range: Range<u64>) -> io::Result<Extent> {
        let Some(residency) = &self.residency else {
            return Ok(Extent { end: range.end, is_hole: false });
        };
        let mut residency = residency.borrow_mut();
        if !residency.covers(range.start) {
            *residency = Residency::look(self.attachment, range.start)?;
        }
        Ok(residency.extent(range))
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.copy(super::range(offset, buffer.len()), libc::MADV_POPULATE_READ, |done, remote| {
            let rest = &mut buffer[done..][..remote.len];
            // The kernel copies, whatever other processes write meanwhile.
            process_vm_readv(Pid::this(), &mut [IoSliceMut::new(rest)], &[remote])
        })
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.copy(super::range(offset, bytes.len()), libc::MADV_POPULATE_WRITE, |done, remote| {
            let rest = &bytes[done..][..remote.len];
            // Safe to Rust, as it names a process; it is this one, so it stores into our own memory: within the
            // attachment, of which no reference exists.
            process_vm_writev(Pid::this(), &[IoSlice::new(rest)], &[remote])
        })
    }

    fn send(&self, range: Range<u64>, to: &Stream<'_>) -> io::Result<Option<usize>> {
        let window = range.start..range.end.min(next_window(range.start));
        self.populate(&window, libc::MADV_POPULATE_READ);
        let mut at = window.start;
        let mut result = Ok(());
        // To the window's end, though a pipe may take less at a time: to populate it once more costs as much again.
        while at < window.end && result.is_ok() {
            let sent = uninterrupted(|| match to.is_pipe() {
                true => vmsplice(self.attachment, at..window.end, to),
                false => write(self.attachment, at..window.end, to),
            });
            match sent {
                Ok(0) => break,
                Ok(count) => at += count as u64,
                Err(error) => result = Err(error),
            }
        }
        self.forget(&window);
        // What came before an error is told first; it comes again.
        if at == window.start {
            result?;
        }
        Ok(Some((at - window.start) as usize))
    }

    fn receive(&self, range: Range<u64>, from: &Stream<'_>) -> io::Result<Option<usize>> {
        let window = range.start..range.end.min(next_window(range.start));
        // No more than will be written: a page that is populated is allocated. A regular file of gigabytes overflows to
        // less, or to a lot, in FIONREAD's int, and has always more than a window then.
        let ready = ioctl_fionread(from).unwrap_or(0).min(window.end - window.start);
        if ready > 0 {
            self.populate(&(window.start..window.start + ready), libc::MADV_POPULATE_WRITE);
        }
        let received = uninterrupted(|| read(self.attachment, window.clone(), from));
        self.forget(&window);
        Ok(Some(received?))
    }
}

/// Where the window that `offset` is in ends.
fn next_window(offset: u64) -> u64 {
    (offset - offset % WINDOW).saturating_add(WINDOW)
}

/// Where an offset is mapped; only for system calls, which check it.
pub(super) fn pointer(attachment: &Attachment, offset: u64) -> *mut c_void {
    std::ptr::without_provenance_mut(attachment.address() + offset as usize)
}

/// Returns whether a new attachment is of tmpfs and not of huge pages, without /proc: `MADV_COLD` (Linux 5.4) refuses huge
/// pages (mm/madvise.c, `can_madv_lru_vma`), and has nothing to do where no page is in our page table yet.
///
/// Also `false` where the kernel is older.
pub(super) fn is_on_tmpfs(attachment: &Attachment) -> bool {
    advise(attachment, &(0..attachment.size().min(page_size())), libc::MADV_COLD).is_ok()
}

/// madvise(2) for the pages of a range.
///
/// Called with `MADV_POPULATE_READ`, `MADV_POPULATE_WRITE`, `MADV_DONTNEED`, `MADV_REMOVE` and `MADV_COLD`.
pub(super) fn advise(attachment: &Attachment, range: &Range<u64>, advice: libc::c_int) -> io::Result<()> {
    let start = range.start - range.start % page_size();
    let length = (range.end - start) as usize;
    // SAFETY: the range is this attachment's own, mapped until it is dropped, and no reference into it exists. On a
    // shared mapping MADV_DONTNEED drops page table entries, no data; MADV_REMOVE clears what it is meant to; MADV_COLD changes no data.
    let ret = unsafe { libc::madvise(pointer(attachment, start), length, advice) };
    Ok(Errno::result(ret).map(drop)?)
}

/// vmsplice(2): gives pages of a range to a pipe.
fn vmsplice(attachment: &Attachment, range: Range<u64>, to: &Stream<'_>) -> nix::Result<usize> {
    let pages = libc::iovec { iov_base: pointer(attachment, range.start), iov_len: (range.end - range.start) as usize };
    // SAFETY: one iovec is passed, of a range that is this attachment's own; the kernel takes references to its pages
    // and writes nothing. That other processes may change them until the pipe is read, Contents::send says.
    let ret = unsafe { libc::vmsplice(to.as_fd().as_raw_fd(), &raw const pages, 1, 0) };
    Errno::result(ret).map(isize::cast_unsigned)
}

/// write(2) from a range. A page that cannot be had is `EFAULT`.
fn write(attachment: &Attachment, range: Range<u64>, to: &Stream<'_>) -> nix::Result<usize> {
    let length = (range.end - range.start) as usize;
    // SAFETY: the range is this attachment's own; the kernel reads it as bytes, whatever others write meanwhile.
    let ret = unsafe { libc::write(to.as_fd().as_raw_fd(), pointer(attachment, range.start), length) };
    Errno::result(ret).map(isize::cast_unsigned)
}

/// read(2) into a range. A page that cannot be had is `EFAULT`.
fn read(attachment: &Attachment, range: Range<u64>, from: &Stream<'_>) -> nix::Result<usize> {
    let length = (range.end - range.start) as usize;
    // SAFETY: the range is this attachment's own and no reference into it exists; any byte may be written there.
    let ret = unsafe { libc::read(from.as_fd().as_raw_fd(), pointer(attachment, range.start), length) };
    Errno::result(ret).map(isize::cast_unsigned)
}
