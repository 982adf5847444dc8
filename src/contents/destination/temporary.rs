//! A new file beside the one that it will replace.

use std::ffi::OsString;
use std::fs::{File, Permissions};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;

use rustix::fs::{AtFlags, Mode, OFlags, openat, renameat, unlinkat};
use rustix::io::{Errno, retry_on_intr};

use super::place::Place;
use crate::system::signals::{BlockedSignals, UndoOnSignal};

/// How many random names are tried before one that is taken is an error.
const TRIES: usize = 100;

/// A new file in the directory of its place. It is removed when this is dropped or a signal ends the process, unless
/// [`Temporary::persist`] has put it in its place.
///
/// The directory is a descriptor, which crate tempfile does not work with: a path could lead to another directory by then.
#[derive(Debug)]
pub(crate) struct Temporary {
    file: File,
    name: OsString,
    place: Place,
    /// Dropped at the end, after the file has been renamed or removed.
    _undo: Box<UndoOnSignal>,
}

impl Temporary {
    /// Makes the file, with this mode.
    pub(super) fn new(place: Place, mode: u32) -> io::Result<Temporary> {
        let blocked = BlockedSignals::shutdown();
        let directory = place.directory.try_clone()?;
        let (file, name) = make(&directory)?;
        let removed = name.clone();
        let undo = Box::new(blocked.undo_with(move || {
            let _ = unlinkat(directory, removed, AtFlags::empty());
        }));
        let temporary = Temporary { file, name, place, _undo: undo };
        // open(2) would apply the umask; the mode is meant as it is.
        temporary.file.set_permissions(Permissions::from_mode(mode))?;
        Ok(temporary)
    }

    /// Returns the open file.
    pub(super) fn file(&self) -> &File {
        &self.file
    }

    /// Puts the file in its place, over the one that is there.
    pub(super) fn persist(self) -> io::Result<()> {
        // The drop that follows finds the temporary name gone.
        Ok(renameat(&self.place.directory, &self.name, &self.place.directory, &self.place.name)?)
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = unlinkat(&self.place.directory, &self.name, AtFlags::empty());
    }
}

fn make(directory: &OwnedFd) -> io::Result<(File, OsString)> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut tried = Errno::EXIST;
    for _ in 0..TRIES {
        let name = OsString::from(format!(".shmadm-{:016x}", fastrand::u64(..)));
        match retry_on_intr(|| openat(directory, &name, flags, Mode::RUSR | Mode::WUSR)) {
            Ok(file) => return Ok((file.into(), name)),
            Err(Errno::EXIST) => {}
            Err(errno) => {
                tried = errno;
                break;
            }
        }
    }
    Err(tried.into())
}
