//! The key of a path.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::values::{Key, ProjectId};

/// Computes a key as ftok(3) of glibc does (sysvipc/ftok.c): the low bits of the file's inode and device under the
/// project id.
///
/// The C library's function is not used: it returns -1 both for a missing file and for key 0xffffffff.
///
/// # Errors
/// Those of stat(2).
pub(crate) fn ftok(path: &Path, project: ProjectId) -> io::Result<Key> {
    let file = fs::metadata(path)?;
    let low = |number: u64, bits: u32| (number & ((1 << bits) - 1)) as u32;
    let key = low(file.ino(), 16) | low(file.dev(), 8) << 16 | u32::from(project.0) << 24;
    Ok(Key::from_raw(key.cast_signed()))
}
