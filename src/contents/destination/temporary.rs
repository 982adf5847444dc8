//! A new file in the directory of the file that it will replace.

use std::ffi::OsString;
use std::fs::{File, Permissions};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;

use rustix::fs::{AtFlags, Mode, OFlags, openat, renameat, unlinkat};
use rustix::io::{Errno, retry_on_intr};

use super::place::Place;
use crate::system::signals::{BlockedSignals, UndoOnSignal};

/// The number of random names that are tried before giving up.
const TRIES: usize = 100;

/// A new file in the directory of its target. It is removed when this is dropped or when a signal ends the process,
/// unless [`Temporary::persist`] has moved it into place.
///
/// The directory is an open descriptor, because a path could lead to another directory later. The tempfile crate does
/// not support descriptors.
#[derive(Debug)]
pub(crate) struct Temporary {
    file: File,
    name: OsString,
    place: Place,
    /// Dropped last, after the file has been renamed or removed.
    _undo: Box<UndoOnSignal>,
}

impl Temporary {
    /// Creates the file with this mode.
    pub(super) fn new(place: Place, mode: u32) -> io::Result<Temporary> {
        let blocked = BlockedSignals::shutdown();
        let directory = place.directory.try_clone()?;
        let (file, name) = create(&directory)?;
        let removed = name.clone();
        let undo = Box::new(blocked.undo_with(move || {
            let _ = unlinkat(directory, removed, AtFlags::empty());
        }));
        let temporary = Temporary { file, name, place, _undo: undo };
        // open(2) would apply the umask to the mode.
        temporary.file.set_permissions(Permissions::from_mode(mode))?;
        Ok(temporary)
    }

    /// Returns the open file.
    pub(super) fn file(&self) -> &File {
        &self.file
    }

    /// Moves the file into place, and replaces an existing one.
    pub(super) fn persist(self) -> io::Result<()> {
        // The following drop no longer finds the temporary name.
        Ok(renameat(&self.place.directory, &self.name, &self.place.directory, &self.place.name)?)
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = unlinkat(&self.place.directory, &self.name, AtFlags::empty());
    }
}

fn create(directory: &OwnedFd) -> io::Result<(File, OsString)> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut last = Errno::EXIST;
    for _ in 0..TRIES {
        let name = OsString::from(format!(".shmadm-{:016x}", fastrand::u64(..)));
        match retry_on_intr(|| openat(directory, &name, flags, Mode::RUSR | Mode::WUSR)) {
            Ok(file) => return Ok((file.into(), name)),
            Err(Errno::EXIST) => {}
            Err(errno) => {
                last = errno;
                break;
            }
        }
    }
    Err(last.into())
}
