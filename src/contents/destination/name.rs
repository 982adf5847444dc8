//! A temporary name in an open directory.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;

use rustix::fs::{AtFlags, Mode, OFlags, openat, unlinkat};
use rustix::io::{Errno, retry_on_intr};

use crate::system::signals::{BlockedSignals, UndoOnSignal};

/// The number of random names that are tried before giving up.
const TRIES: usize = 100;

/// A temporary name of a file. It is removed when this is dropped or when a signal ends the process.
///
/// The directory is an open descriptor, because a path could lead to another directory later. The tempfile crate does
/// not support descriptors.
#[derive(Debug)]
pub(super) struct TemporaryName {
    name: OsString,
    directory: OwnedFd,
    /// Dropped last, after the name has been removed.
    _signals: Signals,
}

/// What happens if a signal arrives.
#[derive(Debug)]
#[expect(dead_code, reason = "the values only need to live until they are dropped")]
enum Signals {
    Undo(Box<UndoOnSignal>),
    /// It takes effect afterwards, in microseconds.
    Wait(Box<BlockedSignals>),
}

impl TemporaryName {
    /// Creates an empty file with a temporary name.
    pub(super) fn create(directory: &OwnedFd) -> io::Result<(File, TemporaryName)> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let blocked = BlockedSignals::shutdown();
        let (directory, from) = (directory.try_clone()?, directory.try_clone()?);
        let create = |name: &OsStr| retry_on_intr(|| openat(&directory, name, flags, Mode::RUSR | Mode::WUSR));
        let (file, name) = with_random_name(create)?;
        let removed = name.clone();
        let undo = Box::new(blocked.undo_with(move || {
            let _ = unlinkat(from, removed, AtFlags::empty());
        }));
        Ok((file.into(), TemporaryName { name, directory, _signals: Signals::Undo(undo) }))
    }

    /// Gives a file a temporary name with `link`. Use this if the name is removed again at once: signals are blocked until
    /// then.
    pub(super) fn link(directory: &OwnedFd, link: impl Fn(&OsStr) -> Result<(), Errno>) -> io::Result<TemporaryName> {
        let blocked = BlockedSignals::shutdown();
        let directory = directory.try_clone()?;
        let ((), name) = with_random_name(link)?;
        Ok(TemporaryName { name, directory, _signals: Signals::Wait(Box::new(blocked)) })
    }

    pub(super) fn as_os_str(&self) -> &OsStr {
        &self.name
    }
}

impl Drop for TemporaryName {
    fn drop(&mut self) {
        let _ = unlinkat(&self.directory, &self.name, AtFlags::empty());
    }
}

/// Calls `make` with random names until one is free.
fn with_random_name<T>(make: impl Fn(&OsStr) -> Result<T, Errno>) -> Result<(T, OsString), Errno> {
    for _ in 0..TRIES {
        let name = OsString::from(format!(".shmadm-{:016x}", fastrand::u64(..)));
        match make(&name) {
            Ok(made) => return Ok((made, name)),
            Err(Errno::EXIST) => {}
            Err(errno) => return Err(errno),
        }
    }
    Err(Errno::EXIST)
}
