//! Where the pages of a file are in memory: the numbers of their page frames.

use std::ffi::c_void;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::ptr;

use nix::errno::Errno;
use nix::sys::uio::{RemoteIoVec, process_vm_readv};
use nix::unistd::Pid;

/// An entry of /proc/PID/pagemap (Documentation/admin-guide/mm/pagemap.rst) is so many bytes.
const ENTRY: usize = 8;
/// The page is in memory.
const PRESENT: u64 = 1 << 63;
/// The number of its frame.
const FRAME: u64 = (1 << 55) - 1;
/// The most ranges that one call reads (IOV_MAX).
const RANGES: usize = 1024;

/// Finds page frames through mappings of our own. None of it needs a page to be allocated.
#[derive(Debug)]
pub(crate) struct PageFrames {
    pagemap: File,
    page_size: u64,
}

impl PageFrames {
    /// Opens `/proc/self/pagemap`.
    ///
    /// # Errors
    /// `NotFound` without /proc, or from a kernel without CONFIG_PROC_PAGE_MONITOR.
    pub(crate) fn open() -> io::Result<PageFrames> {
        Ok(PageFrames { pagemap: File::open("/proc/self/pagemap")?, page_size: procfs::page_size() })
    }

    /// Appends the frames of those pages of a range that are in memory, and returns how many pages were swapped out or
    /// freed before their frame could be read. The range begins and ends with a page; what it
    /// covers is mapped meanwhile, and counts as this process's resident memory as far as it is there.
    ///
    /// mincore(2) tells which pages those are, and only they are touched: touching another would allocate it.
    /// The file is on tmpfs. On hugetlbfs mincore(2) tells nothing of pages that are not mapped yet.
    ///
    /// # Errors
    /// `PermissionDenied` without CAP_SYS_ADMIN, for whom the kernel hides the numbers. Those of mmap(2).
    pub(crate) fn find(&self, file: &File, range: Range<u64>, frames: &mut Vec<u64>) -> io::Result<u64> {
        let window = Window::map(file, &range)?;
        let is_resident = window.resident(self.page_size)?;
        let mut vanished = 0;
        let mut at = 0;
        for run in is_resident.chunk_by(|a, b| a & 1 == b & 1) {
            if run[0] & 1 == 1 {
                vanished += self.touched(&window, at..at + run.len(), frames)?;
            }
            at += run.len();
        }
        Ok(vanished)
    }

    /// Appends the frames of all pages of a range, which are known to be in memory. See [`PageFrames::find`].
    ///
    /// # Errors
    /// As there.
    pub(crate) fn find_all(&self, file: &File, range: Range<u64>, frames: &mut Vec<u64>) -> io::Result<u64> {
        let window = Window::map(file, &range)?;
        self.touched(&window, 0..window.length / self.page_size as usize, frames)
    }

    /// Touches pages and appends their frames; returns how many have none any more.
    fn touched(&self, window: &Window, pages: Range<usize>, frames: &mut Vec<u64>) -> io::Result<u64> {
        window.touch(pages.clone(), self.page_size);
        let first = window.address.addr() as u64 / self.page_size + pages.start as u64;
        let mut entries = vec![0; pages.len() * ENTRY];
        self.pagemap.read_exact_at(&mut entries, first * ENTRY as u64)?;
        let mut vanished = 0;
        for entry in entries.as_chunks::<ENTRY>().0 {
            let entry = u64::from_ne_bytes(*entry);
            match (entry & PRESENT, entry & FRAME) {
                (0, _) => vanished += 1,
                (_, 0) => return Err(io::ErrorKind::PermissionDenied.into()),
                (_, frame) => frames.push(frame),
            }
        }
        Ok(vanished)
    }
}

/// A part of a file in our address space, readable and shared, until this is dropped. No reference into it is made:
/// others write to it at any time.
struct Window {
    address: *mut c_void,
    length: usize,
}

impl Window {
    /// mmap(2).
    fn map(file: &File, range: &Range<u64>) -> io::Result<Window> {
        let length = (range.end - range.start) as usize;
        let offset = range.start.cast_signed();
        // SAFETY: without MAP_FIXED the kernel takes addresses that are free, so that no object of ours is replaced.
        let address =
            unsafe { libc::mmap(ptr::null_mut(), length, libc::PROT_READ, libc::MAP_SHARED, file.as_raw_fd(), offset) };
        if address == libc::MAP_FAILED { Err(Errno::last().into()) } else { Ok(Window { address, length }) }
    }

    /// mincore(2): a byte for each page; its lowest bit says that the page is in memory.
    fn resident(&self, page_size: u64) -> io::Result<Vec<u8>> {
        let mut pages = vec![0; self.length.div_ceil(page_size as usize)];
        // SAFETY: the range is this window's, and `pages` has a byte for each page of it, which mincore fills in.
        let ret = unsafe { libc::mincore(self.address, self.length, pages.as_mut_ptr()) };
        Errno::result(ret)?;
        Ok(pages)
    }

    /// Puts pages that are in memory into our page table. The kernel does the reading, so that a page that it cannot
    /// read is no SIGBUS. Whether it worked, the page table shows.
    fn touch(&self, pages: Range<usize>, page_size: u64) {
        let page_size = page_size as usize;
        let base = self.address.addr() + pages.start * page_size;
        // SAFETY: the range is this window's; reading it in changes no bytes of it, and no reference into it exists.
        let ret = unsafe {
            libc::madvise(ptr::without_provenance_mut(base), pages.len() * page_size, libc::MADV_POPULATE_READ)
        };
        if ret == 0 {
            return;
        }
        // Before Linux 5.14, or after a page that cannot be read: a byte of each.
        let ranges: Vec<_> =
            (0..pages.len()).map(|page| RemoteIoVec { base: base + page * page_size, len: 1 }).collect();
        for ranges in ranges.chunks(RANGES) {
            let mut bytes = vec![0; ranges.len()];
            let _ = process_vm_readv(Pid::this(), &mut [io::IoSliceMut::new(&mut bytes)], ranges);
        }
    }
}

impl Drop for Window {
    fn drop(&mut self) {
        // SAFETY: the range is one that mmap returned, nothing else unmaps it, and no reference into it exists.
        unsafe { libc::munmap(self.address, self.length) };
    }
}
