//! The page frame numbers of a file's resident pages.

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

/// The size in bytes of an entry of /proc/PID/pagemap (Documentation/admin-guide/mm/pagemap.rst).
const ENTRY: usize = 8;
/// Flag: the page is resident.
const PRESENT: u64 = 1 << 63;
/// Mask of the frame number.
const FRAME: u64 = (1 << 55) - 1;
/// The maximum number of ranges that one call reads (IOV_MAX).
const RANGES: usize = 1024;

/// Finds page frames through temporary mappings. It never causes a page to be allocated.
#[derive(Debug)]
pub(crate) struct PageFrames {
    pagemap: File,
    page_size: u64,
}

impl PageFrames {
    /// Opens `/proc/self/pagemap`.
    ///
    /// # Errors
    /// `NotFound` without /proc, or if the kernel lacks CONFIG_PROC_PAGE_MONITOR.
    pub(crate) fn open() -> io::Result<PageFrames> {
        Ok(PageFrames { pagemap: File::open("/proc/self/pagemap")?, page_size: procfs::page_size() })
    }

    /// Appends the frames of a range's resident pages. Returns the number of pages that were swapped out or freed
    /// before their frame could be read. The range consists of whole pages. It is mapped during the call, so that its
    /// resident pages count as this process's resident memory.
    ///
    /// mincore(2) shows which pages are resident, and only those are touched: touching another page would allocate it.
    /// The file must be on tmpfs. On hugetlbfs mincore(2) does not report pages that are not mapped yet.
    ///
    /// # Errors
    /// `PermissionDenied` without CAP_SYS_ADMIN: the kernel then hides the numbers. Those of mmap(2).
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

    /// Appends the frames of all pages of a range that is known to be resident. See [`PageFrames::find`].
    ///
    /// # Errors
    /// Those of [`PageFrames::find`].
    pub(crate) fn find_all(&self, file: &File, range: Range<u64>, frames: &mut Vec<u64>) -> io::Result<u64> {
        let window = Window::map(file, &range)?;
        self.touched(&window, 0..window.length / self.page_size as usize, frames)
    }

    /// Touches pages and appends their frames. Returns the number of pages that no longer have a frame.
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

/// A part of a file in our address space, readable and shared, until dropped. There is never a reference into it,
/// because other processes may write to it at any time.
struct Window {
    address: *mut c_void,
    length: usize,
}

impl Window {
    /// Maps a range of the file with mmap(2).
    fn map(file: &File, range: &Range<u64>) -> io::Result<Window> {
        let length = (range.end - range.start) as usize;
        let offset = range.start.cast_signed();
        // SAFETY: without MAP_FIXED the kernel chooses free addresses, so that no object of ours is replaced.
        let address =
            unsafe { libc::mmap(ptr::null_mut(), length, libc::PROT_READ, libc::MAP_SHARED, file.as_raw_fd(), offset) };
        if address == libc::MAP_FAILED { Err(Errno::last().into()) } else { Ok(Window { address, length }) }
    }

    /// Returns one byte per page from mincore(2). Its lowest bit is set if the page is resident.
    fn resident(&self, page_size: u64) -> io::Result<Vec<u8>> {
        let mut pages = vec![0; self.length.div_ceil(page_size as usize)];
        // SAFETY: the range is this window's, and `pages` has one byte for each of its pages, which mincore fills in.
        let ret = unsafe { libc::mincore(self.address, self.length, pages.as_mut_ptr()) };
        Errno::result(ret)?;
        Ok(pages)
    }

    /// Enters resident pages into our page table. The kernel does the reading, so that an unreadable page does not
    /// raise SIGBUS. The page table shows whether it worked.
    fn touch(&self, pages: Range<usize>, page_size: u64) {
        let page_size = page_size as usize;
        let base = self.address.addr() + pages.start * page_size;
        // SAFETY: the range is this window's; reading it in changes no bytes, and no reference into it exists.
        let ret = unsafe {
            libc::madvise(ptr::without_provenance_mut(base), pages.len() * page_size, libc::MADV_POPULATE_READ)
        };
        if ret == 0 {
            return;
        }
        // Before Linux 5.14, or after an unreadable page: one byte of each page.
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
