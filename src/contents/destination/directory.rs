//! Opening the directory of a file without following links that other users have planted.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt;
use std::path::{Component, Path};

use nix::unistd::geteuid;
use rustix::fs::{
    CWD, FileType, Mode, OFlags, PROC_SUPER_MAGIC, ResolveFlags, Stat, fstat, fstatfs, open, openat, openat2,
    readlinkat,
};
use rustix::io::{Errno, retry_on_intr};

pub(super) const DIRECTORY: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);
const NAMED: OFlags = OFlags::PATH.union(OFlags::CLOEXEC).union(OFlags::NOFOLLOW);

/// The maximum number of links in a path, as in the kernel (`MAXSYMLINKS`).
pub(super) const MAX_LINKS: usize = 40;

/// Opens a directory with `O_PATH`. Follows symbolic links like the kernel with the sysctl fs.protected_symlinks
/// (proc_sys_fs(5)), which not every system sets: not those that another user has created in a sticky, world-writable
/// directory.
///
/// # Errors
/// `PermissionDenied` for such a link; those of open(2).
pub(super) fn open_directory(path: &Path) -> io::Result<OwnedFd> {
    // Without links, there is nothing to check. Before Linux 5.6 this call does not exist.
    if let Ok(directory) = openat2(CWD, path, DIRECTORY, Mode::empty(), ResolveFlags::NO_SYMLINKS) {
        return Ok(directory);
    }
    let mut directory = open(".", DIRECTORY, Mode::empty())?;
    let mut left = components(path);
    let mut links = 0;
    while let Some(name) = left.pop_front() {
        let found = retry_on_intr(|| openat(&directory, &name, NAMED, Mode::empty()))?;
        let stat = fstat(&found)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::Symlink {
            directory = found;
            continue;
        }
        refuse_planted(&directory, &stat)?;
        links += 1;
        if links > MAX_LINKS {
            return Err(Errno::LOOP.into());
        }
        match link_target(&directory, &found)? {
            Some(target) => components(Path::new(&target)).into_iter().rev().for_each(|name| left.push_front(name)),
            None => directory = openat(&directory, &name, DIRECTORY, Mode::empty())?,
        }
    }
    // The last part may be a file.
    Ok(openat(&directory, ".", DIRECTORY, Mode::empty())?)
}

/// Returns the text of a link in this directory; `None` for links in /proc, whose text is not always a path.
pub(super) fn link_target(directory: &OwnedFd, link: &OwnedFd) -> io::Result<Option<OsString>> {
    if fstatfs(directory)?.f_type == PROC_SUPER_MAGIC {
        return Ok(None);
    }
    Ok(Some(OsString::from_vec(readlinkat(link, "", Vec::new())?.into_bytes())))
}

/// Returns the names that a path consists of; `/` as the first name means the root directory.
fn components(path: &Path) -> VecDeque<OsString> {
    path.components().filter(|part| *part != Component::CurDir).map(|part| part.as_os_str().to_owned()).collect()
}

/// Refuses a file or link that another user has created in a sticky, world-writable directory. The rules are those of
/// `may_create_in_sticky` and `may_follow_link` in fs/namei.c.
///
/// # Errors
/// `PermissionDenied`
pub(super) fn refuse_planted(directory: &OwnedFd, file: &Stat) -> io::Result<()> {
    let directory = fstat(directory)?;
    let is_shared = directory.st_mode & (libc::S_ISVTX | libc::S_IWOTH) == libc::S_ISVTX | libc::S_IWOTH;
    if !is_shared || file.st_uid == directory.st_uid || file.st_uid == geteuid().as_raw() {
        return Ok(());
    }
    let message = format!(
        "it belongs to another user (uid {}), in a directory where everybody can create files; name a file in a \
         directory of your own",
        file.st_uid
    );
    Err(io::Error::new(io::ErrorKind::PermissionDenied, message))
}
