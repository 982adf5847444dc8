//! Reading the files of a process in /proc.

use std::fmt::Display;
use std::fs::File;
use std::io::{self, Read};

/// The maximum number of bytes of most files. Only a process with thousands of groups has more in its `status`.
pub(crate) const MAX_BYTES: u64 = 64 << 10;
/// The size of the first read in bytes. It returns all of nearly every file, and a second one finds the end.
const ENOUGH: usize = 8 << 10;

/// Reads at most `limit` bytes of a file of a process, which is a pid or `self`.
///
/// # Errors
/// `NotFound` if there is no such process, or if /proc hides it.
pub(crate) fn read(process: impl Display, name: &str, limit: u64) -> io::Result<Vec<u8>> {
    let mut contents = Vec::with_capacity(ENOUGH);
    File::open(format!("/proc/{process}/{name}"))?.take(limit).read_to_end(&mut contents)?;
    // The caller may keep the contents of many processes.
    contents.shrink_to_fit();
    Ok(contents)
}
