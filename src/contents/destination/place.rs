//! The location of a file: a name in an open directory. Renaming that directory or a parent, or replacing it by a link,
//! does not affect a process that has it open.

use std::borrow::Cow;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{
    Access, AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags, Stat, accessat, fstat, open, openat, openat2, statat,
};
use rustix::io::{Errno, retry_on_intr};

use super::directory::{DIRECTORY, MAX_LINKS, link_target, open_directory, refuse_planted};

/// A name in an open directory.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) directory: OwnedFd,
    pub(super) name: OsString,
}

/// What a path refers to.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) place: Place,
    /// The existing file, opened with `O_PATH`; `None` if there is none.
    pub(super) existing: Option<OwnedFd>,
}

/// Returns the directory part of a path.
pub(super) fn parent(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

impl Target {
    /// Finds the location for a path. Links that other users may have planted are not followed: see
    /// [`open_directory`]. [`super::Destination::open`] lists what else is refused.
    pub(super) fn find(path: &Path) -> io::Result<Target> {
        let mut path = Cow::Borrowed(path);
        for links in 0..=MAX_LINKS {
            let Some(name) =
                path.file_name().filter(|name| path.as_os_str().as_encoded_bytes().ends_with(name.as_encoded_bytes()))
            else {
                // `.`, `..`, `/` and paths with a trailing slash are directories, or errors.
                open_directory(&path)?;
                return Err(Errno::ISDIR.into());
            };
            let place = Place { directory: open_directory(parent(&path))?, name: name.to_owned() };
            let existing = match place.open(OFlags::NOFOLLOW) {
                Err(Errno::NOENT) if links == 0 => return Ok(Target { place, existing: None }),
                found => found?,
            };
            let stat = fstat(&existing)?;
            match file_type(&stat) {
                FileType::Symlink => {
                    refuse_planted(&place.directory, &stat)?;
                    let Some(target) = link_target(&place.directory, &existing)? else { return Target::of_link(place) };
                    path = Cow::Owned(parent(&path).join(target));
                }
                FileType::Directory => return Err(Errno::ISDIR.into()),
                FileType::RegularFile | FileType::Fifo => {
                    refuse_planted(&place.directory, &stat)?;
                    return Ok(Target { place, existing: Some(existing) });
                }
                _ => return Ok(Target { place, existing: Some(existing) }),
            }
        }
        Err(Errno::LOOP.into())
    }

    /// Finds the file behind a link in /proc, such as `/proc/PID/fd/N`, which may have no name.
    fn of_link(place: Place) -> io::Result<Target> {
        let found = place.open(OFlags::empty())?;
        let own = match file_type(&fstat(&found)?) {
            FileType::Directory => return Err(Errno::ISDIR.into()),
            FileType::RegularFile | FileType::Fifo => Place::of(&found)?,
            _ => None,
        };
        let place = own.unwrap_or(place);
        refuse_planted(&place.directory, &fstat(&found)?)?;
        Ok(Target { place, existing: Some(found) })
    }

    /// Opens the existing file for writing. Opening a FIFO waits for its reader.
    pub(super) fn open_for_writing(&self, existing: &OwnedFd) -> io::Result<File> {
        let flags = OFlags::WRONLY | OFlags::NOCTTY | OFlags::CLOEXEC;
        let again = match retry_on_intr(|| openat(CWD, by_descriptor(existing), flags, Mode::empty())) {
            // Without /proc it can be opened only by name, which may refer to another file by now.
            Err(Errno::NOENT) => {
                let Place { directory, name } = &self.place;
                retry_on_intr(|| openat(directory, name, flags | OFlags::NOFOLLOW, Mode::empty()))
            }
            again => again,
        }?;
        if is_same(&fstat(existing)?, &fstat(&again)?) { Ok(again.into()) } else { Err(replaced()) }
    }

    /// Checks that the user may write to the file, without opening it.
    pub(super) fn check_access(&self) -> io::Result<()> {
        Ok(accessat(&self.place.directory, &self.place.name, Access::WRITE_OK, AtFlags::empty())?)
    }
}

impl Place {
    /// Returns the location of an open file; `None` if it has no name, for example a pipe. Its original path is not
    /// used, because links in that path may have changed.
    fn of(file: &OwnedFd) -> io::Result<Option<Place>> {
        let path = fs::read_link(by_descriptor(file))?;
        let Some(name) = path.file_name().filter(|_| path.is_absolute()) else { return Ok(None) };
        let directory = match openat2(CWD, parent(&path), DIRECTORY, Mode::empty(), ResolveFlags::NO_SYMLINKS) {
            // Before Linux 5.6.
            Err(Errno::NOSYS) => open(parent(&path), DIRECTORY, Mode::empty()),
            opened => opened,
        };
        let found = directory.and_then(|directory| {
            let found = statat(&directory, name, AtFlags::SYMLINK_NOFOLLOW)?;
            Ok((directory, found))
        });
        match found {
            Ok((directory, found)) if is_same(&found, &fstat(file)?) => {
                Ok(Some(Place { directory, name: name.to_owned() }))
            }
            _ => Err(replaced()),
        }
    }

    fn open(&self, flags: OFlags) -> Result<OwnedFd, Errno> {
        retry_on_intr(|| openat(&self.directory, &self.name, OFlags::PATH | OFlags::CLOEXEC | flags, Mode::empty()))
    }

    /// Checks that the user may create files in the directory.
    pub(super) fn check_writable(&self) -> io::Result<()> {
        Ok(accessat(&self.directory, ".", Access::WRITE_OK | Access::EXEC_OK, AtFlags::empty())?)
    }
}

/// Returns the path by which an open file can be reopened.
pub(super) fn by_descriptor(file: &impl AsRawFd) -> PathBuf {
    format!("/proc/self/fd/{}", file.as_raw_fd()).into()
}

fn file_type(stat: &Stat) -> FileType {
    FileType::from_raw_mode(stat.st_mode)
}

pub(super) fn is_same(one: &Stat, other: &Stat) -> bool {
    (one.st_dev, one.st_ino) == (other.st_dev, other.st_ino)
}

fn replaced() -> io::Error {
    io::Error::other("the file was moved or replaced just now")
}
