//! Files that another process names, found without a request to their file system.
//!
//! The server of a FUSE file system can leave a request unanswered. The thread that waits for it cannot be killed, and
//! its process cannot exit. So only what the kernel has in its caches is used: a mounted or mapped file is there.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;

use rustix::fs::{
    AtFlags, FileType, Mode, OFlags, ResolveFlags, StatxFlags, fstat, makedev, open, openat, openat2, statx,
};
use rustix::io::Errno;

const NAMED: OFlags = OFlags::PATH.union(OFlags::CLOEXEC);

/// Finds the file at an absolute path in the root directory of a process, and opens it with `O_PATH`. Follows no
/// symbolic link: the kernel shows the paths of mounts and mapped files without links.
///
/// # Errors
/// `WouldBlock` if a part of the path is not in the kernel's cache. Before Linux 5.12 the path is looked up without
/// the cache.
pub(crate) fn find_in_root_of(pid: i32, path: &Path) -> io::Result<OwnedFd> {
    find_below(open(format!("/proc/{pid}/root"), NAMED | OFlags::DIRECTORY, Mode::empty())?, path)
}

/// Finds the file at an absolute path in our own root directory, like [`find_in_root_of`].
pub(crate) fn find_in_our_root(path: &Path) -> io::Result<OwnedFd> {
    find_below(open("/", NAMED | OFlags::DIRECTORY, Mode::empty())?, path)
}

fn find_below(root: OwnedFd, path: &Path) -> io::Result<OwnedFd> {
    let path = path.strip_prefix("/").map_err(|_| Errno::NOENT)?;
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_SYMLINKS | ResolveFlags::CACHED;
    match openat2(&root, path, NAMED, Mode::empty(), resolve) {
        Err(Errno::INVAL | Errno::NOSYS) => Ok(openat(&root, path, NAMED | OFlags::NOFOLLOW, Mode::empty())?),
        found => Ok(found?),
    }
}

/// Opens what a link in /proc refers to, such as `/proc/PID/exe` or `/proc/PID/fd/N`, with `O_PATH`.
///
/// # Errors
/// Those of open(2).
pub(crate) fn find_by_link(link: &str) -> io::Result<OwnedFd> {
    Ok(open(link, NAMED, Mode::empty())?)
}

/// Opens a file for reading that is open with `O_PATH`. Never waits for a writer, as a FIFO would.
///
/// # Errors
/// Those of open(2).
pub(crate) fn reopen(named: &OwnedFd) -> io::Result<File> {
    let path = format!("/proc/self/fd/{}", named.as_raw_fd());
    Ok(open(path, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC, Mode::empty())?.into())
}

/// What the kernel last knew about a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CachedStatus {
    pub device: u64,
    pub inode: u64,
    /// Whether it is a regular file.
    pub is_regular: bool,
}

impl CachedStatus {
    /// Returns the status of an open file: statx(2) with `AT_STATX_DONT_SYNC`, or before Linux 4.11 fstat(2).
    ///
    /// # Errors
    /// Those of the call.
    pub(crate) fn of(file: impl AsFd) -> io::Result<CachedStatus> {
        let flags = AtFlags::EMPTY_PATH | AtFlags::STATX_DONT_SYNC;
        let (device, inode, mode) = match statx(&file, "", flags, StatxFlags::TYPE | StatxFlags::INO) {
            Err(Errno::NOSYS) => fstat(file).map(|status| (status.st_dev, status.st_ino, status.st_mode))?,
            status => {
                let status = status?;
                (makedev(status.stx_dev_major, status.stx_dev_minor), status.stx_ino, status.stx_mode.into())
            }
        };
        Ok(CachedStatus { device, inode, is_regular: FileType::from_raw_mode(mode) == FileType::RegularFile })
    }
}
