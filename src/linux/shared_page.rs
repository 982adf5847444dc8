//! Anonymous memory that processes share.

use std::ffi::c_void;
use std::fs;
use std::io;
use std::ptr;

use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous, munmap};

/// The kernel rounds this up to one page.
const LENGTH: usize = 1;

/// An anonymous shared page: the kernel creates a file for it on its internal tmpfs mount, as for segments.
struct SharedPage(*mut c_void);

impl SharedPage {
    fn new() -> io::Result<SharedPage> {
        // SAFETY: without MAP_FIXED the kernel chooses an address where nothing is mapped.
        let address = unsafe { mmap_anonymous(ptr::null_mut(), LENGTH, ProtFlags::empty(), MapFlags::SHARED) }?;
        Ok(SharedPage(address))
    }
}

impl Drop for SharedPage {
    fn drop(&mut self) {
        // SAFETY: this value owns the mapping, and nothing refers to its contents.
        let _ = unsafe { munmap(self.0, LENGTH) };
    }
}

/// Returns the line of /proc/self/maps for an anonymous shared page.
///
/// # Errors
/// Those of mmap(2), and of reading /proc/self/maps; `NotFound` if that does not list the page.
pub(crate) fn line_of_a_shared_page() -> io::Result<Vec<u8>> {
    let page = SharedPage::new()?;
    let start = format!("{:x}-", page.0.addr());
    let maps = fs::read("/proc/self/maps")?;
    let mut lines = maps.split(|byte| *byte == b'\n');
    lines.find(|line| line.starts_with(start.as_bytes())).map(<[u8]>::to_vec).ok_or(io::ErrorKind::NotFound.into())
}
