//! Access to a segment's bytes through the mapping.

use std::cell::RefCell;
use std::io::{self, IoSlice, IoSliceMut};
use std::ops::Range;
use std::os::fd::{AsFd, AsRawFd};

use nix::errno::Errno;
use nix::sys::uio::{RemoteIoVec, process_vm_readv, process_vm_writev};
use nix::unistd::Pid;
use rustix::io::ioctl_fionread;

use super::residency::Residency;
use super::{Backend, Extent, Stream};
use crate::linux::uninterrupted;
use crate::sysv::{Attachment, page_size};

/// The size of the part of the mapping that is populated at once, and released after the move.
const WINDOW: u64 = 512 << 10;

/// The attachment itself, used if the caller may not open the segment's file.
#[derive(Debug)]
pub(super) struct MappedSegment<'a> {
    attachment: &'a Attachment,
    /// The resident pages of the stretch inspected last. `None` if absent pages cannot be distinguished from holes: for
    /// tmpfs mincore(2) checks the page cache, but for huge pages only our own page table. In a new attachment that is
    /// empty.
    residency: Option<RefCell<Residency>>,
}

impl<'a> MappedSegment<'a> {
    pub(super) fn new(attachment: &'a Attachment, is_on_tmpfs: bool) -> MappedSegment<'a> {
        MappedSegment { attachment, residency: is_on_tmpfs.then(RefCell::default) }
    }

    /// Populates the pages of a window at once, which is cheaper than one fault each. Failure is harmless: kernels
    /// before 5.14 do not know the advice, and the move itself reports an unavailable page.
    fn populate(&self, window: &Range<u64>, advice: libc::c_int) {
        let _ = advise(self.attachment, window, advice);
    }

    /// Removes a window from our page table: moving 1 GiB must not make 1 GiB of this process resident. The segment
    /// keeps its pages. For huge pages this fails unless the window consists of whole ones (`EINVAL`): they are few and
    /// may stay.
    fn release(&self, window: &Range<u64>) {
        let _ = advise(self.attachment, window, libc::MADV_DONTNEED);
    }

    /// Copies one window at a time with one of the calls that copy between processes, applied to this process.
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
                let remote = RemoteIoVec { base: self.attachment.at(at).addr(), len: (window.end - at) as usize };
                match call((at - range.start) as usize, remote)? {
                    // Retrying would loop for ever.
                    0 => return Err(Errno::EFAULT.into()),
                    count => at += count as u64,
                }
            }
            self.release(&window);
        }
        Ok(())
    }
}

impl Backend for MappedSegment<'_> {
    fn extent(&self, range: Range<u64>) -> io::Result<Extent> {
        let Some(residency) = &self.residency else {
            return Ok(Extent { end: range.end, is_hole: false });
        };
        let mut residency = residency.borrow_mut();
        if !residency.covers(range.start) {
            *residency = Residency::inspect(self.attachment, range.start)?;
        }
        Ok(residency.extent(range))
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.copy(super::range(offset, buffer.len()), libc::MADV_POPULATE_READ, |done, remote| {
            let rest = &mut buffer[done..][..remote.len];
            // The kernel copies, so concurrent writes by other processes are safe.
            process_vm_readv(Pid::this(), &mut [IoSliceMut::new(rest)], &[remote])
        })
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.copy(super::range(offset, bytes.len()), libc::MADV_POPULATE_WRITE, |done, remote| {
            let rest = &bytes[done..][..remote.len];
            // Rust treats this call as safe, because it names a process. It names this one, so it writes into our own
            // memory: into the attachment, into which no reference exists.
            process_vm_writev(Pid::this(), &[IoSlice::new(rest)], &[remote])
        })
    }

    fn send(&self, range: Range<u64>, to: &Stream<'_>) -> io::Result<Option<usize>> {
        let window = range.start..range.end.min(next_window(range.start));
        self.populate(&window, libc::MADV_POPULATE_READ);
        let mut at = window.start;
        let mut result = Ok(());
        // Continue to the window's end, even if a pipe takes less at a time: populating the window twice costs twice as
        // much.
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
        self.release(&window);
        // Bytes moved before an error are reported first. The next call fails with the error again.
        if at == window.start {
            result?;
        }
        Ok(Some((at - window.start) as usize))
    }

    fn receive(&self, range: Range<u64>, from: &Stream<'_>) -> io::Result<Option<usize>> {
        let window = range.start..range.end.min(next_window(range.start));
        // Populate no more than will be written, because a populated page is allocated. For a regular file of gigabytes
        // FIONREAD's int overflows; any result is acceptable, because such a file has more than one window left.
        let ready = ioctl_fionread(from).unwrap_or(0).min(window.end - window.start);
        if ready > 0 {
            self.populate(&(window.start..window.start + ready), libc::MADV_POPULATE_WRITE);
        }
        let received = uninterrupted(|| read(self.attachment, window.clone(), from));
        self.release(&window);
        Ok(Some(received?))
    }
}

/// Returns the end of the window that contains `offset`.
fn next_window(offset: u64) -> u64 {
    (offset - offset % WINDOW).saturating_add(WINDOW)
}

/// Returns whether a new attachment is on tmpfs and not of huge pages, without using /proc. `MADV_COLD` (Linux 5.4)
/// refuses huge pages (mm/madvise.c, `can_madv_lru_vma`), and does nothing while our page table has no page.
///
/// Also returns `false` on older kernels.
pub(super) fn is_on_tmpfs(attachment: &Attachment) -> bool {
    advise(attachment, &(0..attachment.size().min(page_size())), libc::MADV_COLD).is_ok()
}

/// Calls madvise(2) for the pages of a range.
///
/// Used with `MADV_POPULATE_READ`, `MADV_POPULATE_WRITE`, `MADV_DONTNEED`, `MADV_REMOVE` and `MADV_COLD`.
pub(super) fn advise(attachment: &Attachment, range: &Range<u64>, advice: libc::c_int) -> io::Result<()> {
    let start = range.start - range.start % page_size();
    let length = (range.end - start) as usize;
    // SAFETY: the range belongs to this attachment, which stays mapped until dropped, and no reference into it exists.
    // On a shared mapping MADV_DONTNEED drops page table entries but no data; only MADV_REMOVE clears data, and its
    // caller asks for that; MADV_COLD changes no data.
    let ret = unsafe { libc::madvise(attachment.at(start), length, advice) };
    Ok(Errno::result(ret).map(drop)?)
}

/// Passes pages of a range to a pipe with vmsplice(2).
fn vmsplice(attachment: &Attachment, range: Range<u64>, to: &Stream<'_>) -> nix::Result<usize> {
    let pages = libc::iovec { iov_base: attachment.at(range.start), iov_len: (range.end - range.start) as usize };
    // SAFETY: one iovec is passed, for a range of this attachment. The kernel takes references to its pages and writes
    // nothing. Contents::send documents that other processes may change them until the pipe is read.
    let ret = unsafe { libc::vmsplice(to.as_fd().as_raw_fd(), &raw const pages, 1, 0) };
    Errno::result(ret).map(isize::cast_unsigned)
}

/// Writes a range with write(2). An unavailable page is `EFAULT`.
fn write(attachment: &Attachment, range: Range<u64>, to: &Stream<'_>) -> nix::Result<usize> {
    let length = (range.end - range.start) as usize;
    // SAFETY: the range belongs to this attachment; the kernel reads it as bytes, whatever other processes write
    // meanwhile.
    let ret = unsafe { libc::write(to.as_fd().as_raw_fd(), attachment.at(range.start), length) };
    Errno::result(ret).map(isize::cast_unsigned)
}

/// Reads into a range with read(2). An unavailable page is `EFAULT`.
fn read(attachment: &Attachment, range: Range<u64>, from: &Stream<'_>) -> nix::Result<usize> {
    let length = (range.end - range.start) as usize;
    // SAFETY: the range belongs to this attachment and no reference into it exists; any byte may be written there.
    let ret = unsafe { libc::read(from.as_fd().as_raw_fd(), attachment.at(range.start), length) };
    Errno::result(ret).map(isize::cast_unsigned)
}
