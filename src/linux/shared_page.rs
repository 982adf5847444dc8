//! Memory that processes share without a name.

use std::ffi::c_void;
use std::fs;
use std::io;
use std::ptr;

use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous, munmap};

/// Less than a page is a page.
const LENGTH: usize = 1;

/// A shared page without a name: the kernel makes a file for it on its own tmpfs, as it does for segments.
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
        // SAFETY: the mapping is this value's own, and nothing refers to its contents.
        let _ = unsafe { munmap(self.0, LENGTH) };
    }
}

/// Returns the line of /proc/self/maps of a shared page without a name.
///
/// # Errors
/// Those of mmap(2), and of reading /proc/self/maps; `NotFound` if that does not show the page.
pub(crate) fn line_of_a_shared_page() -> io::Result<Vec<u8>> {
    let page = SharedPage::new()?;
    let start = format!("{:x}-", page.0.addr());
    let maps = fs::read("/proc/self/maps")?;
    let mut lines = maps.split(|byte| *byte == b'\n');
    lines.find(|line| line.starts_with(start.as_bytes())).map(<[u8]>::to_vec).ok_or(io::ErrorKind::NotFound.into())
}
