//! Paths of descriptors that this process inherited: `/dev/stdout`, `/dev/fd/3`, `/proc/self/fd/3`.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags, fstat, open, readlinkat, stat};

use super::directory::MAX_LINKS;
use super::place::parent;
use crate::linux::duplicate_inherited;

/// Returns a duplicate of the descriptor that `path` names, or `None` if it names something else.
///
/// Opening such a path would reopen the descriptor's file by name and at its beginning. A file that the shell opened
/// with `>>` would be replaced.
///
/// # Errors
/// `EBADF` if the descriptor is not open, and those of open(2) for the path.
pub(super) fn named_by(path: &Path) -> io::Result<Option<OwnedFd>> {
    let Some(number) = number_of(path) else { return Ok(None) };
    // The kernel may refuse to follow a link that another user has created in /tmp (fs.protected_symlinks).
    open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
    Ok(Some(duplicate_inherited(number)?))
}

/// Follows links until the path is an entry of our own /proc/self/fd, and returns its number.
fn number_of(path: &Path) -> Option<i32> {
    let mut path = PathBuf::from(path);
    for _ in 0..MAX_LINKS {
        let name = path.file_name()?;
        let directory = open(parent(&path), OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).ok()?;
        if is_ours(&directory) {
            return name.to_str()?.parse().ok();
        }
        let link = readlinkat(&directory, name, Vec::new()).ok()?;
        path = parent(&path).join(std::ffi::OsString::from_vec(link.into_bytes()));
    }
    None
}

/// Returns whether a directory is our own /proc/self/fd.
fn is_ours(directory: impl AsFd) -> bool {
    let Ok(found) = fstat(directory) else { return false };
    ["/proc/self/fd", "/proc/thread-self/fd"]
        .map(OsStr::new)
        .iter()
        .any(|own| stat(*own).is_ok_and(|own| (own.st_dev, own.st_ino) == (found.st_dev, found.st_ino)))
}
