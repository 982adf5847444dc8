//! Where the bytes of a segment go: standard output, or a file that is written whole or not at all.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Seek};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::unistd::{AccessFlags, access};
use tempfile::NamedTempFile;

use crate::error::Error;
use crate::system::signals::{HeldOff, Undo};

/// Where `-o FILE` leads.
#[derive(Debug)]
pub(crate) enum Destination {
    /// A device, a FIFO: written to as it is.
    InPlace(File),
    /// A regular file, or none yet: written beside its place, and put there when it is whole.
    Replace {
        /// What is written.
        temporary: NamedTempFile,
        /// Its place.
        target: PathBuf,
        /// A signal removes it.
        undo: Box<Undo>,
    },
}

impl Destination {
    /// Opens what is to be written, so that it will be at `path` with this mode. A symbolic link stands for what it leads
    /// to, as for every program that opens it.
    pub(crate) fn open(path: &Path, mode: u32) -> io::Result<Destination> {
        let existing = match existing(path)? {
            Some(file) if !file.metadata()?.is_file() => return Ok(Destination::InPlace(file)),
            existing => existing,
        };
        let target = place(path, existing.as_ref())?;
        let held_off = HeldOff::until_dropped();
        // The error of tempfile names the temporary file, which nobody knows of, and has no errno.
        let mut errno = None;
        let make = |path: &Path| {
            let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
            made.inspect_err(|error| errno = error.raw_os_error())
        };
        let made = tempfile::Builder::new().prefix(".shmadm-").make_in(directory(&target), make);
        let temporary = made.map_err(|error| errno.map_or(error.kind().into(), io::Error::from_raw_os_error))?;
        let path = temporary.path().to_owned();
        let undo = Box::new(held_off.undoing(move || drop(fs::remove_file(path))));
        // Not as it is made: the mode asked for is meant, whatever the umask.
        temporary.as_file().set_permissions(Permissions::from_mode(mode))?;
        Ok(Destination::Replace { temporary, target, undo })
    }

    /// The error that [`Destination::open`] would have, as far as that is known without making anything or waiting for
    /// anybody.
    pub(crate) fn check_writable(path: &Path) -> io::Result<()> {
        match fs::metadata(path) {
            // To open a FIFO waits for its reader.
            Ok(found) if !found.is_file() && !found.is_dir() => Ok(access(path, AccessFlags::W_OK)?),
            _ => place(path, existing(path)?.as_ref()).map(drop),
        }
    }

    /// What to write to.
    pub(crate) fn file(&self) -> io::Result<File> {
        match self {
            Self::InPlace(file) => file.try_clone(),
            Self::Replace { temporary, .. } => temporary.as_file().try_clone(),
        }
    }

    /// Whether it is a new file, in which holes can be left.
    pub(crate) fn is_new_file(&self) -> bool {
        matches!(self, Self::Replace { .. })
    }

    /// Puts the whole file in its place. Where this is not reached, the old one stays as it was.
    pub(crate) fn finish(self) -> io::Result<()> {
        match self {
            Self::InPlace(_) => Ok(()),
            Self::Replace { mut temporary, target, undo } => {
                // It ends where was written last, with a hole where that was one.
                let end = temporary.as_file_mut().stream_position()?;
                temporary.as_file().set_len(end)?;
                // A full disk may only show now.
                temporary.as_file().sync_all()?;
                temporary.persist(target).map_err(|error| error.error)?;
                drop(undo);
                Ok(())
            }
        }
    }
}

/// What is there already, open to be written to; `None` where nothing is.
///
/// The kernel refuses what the user may not write, and links that others have planted in /tmp (fs.protected_symlinks).
fn existing(path: &Path) -> io::Result<Option<File>> {
    match OpenOptions::new().write(true).custom_flags(libc::O_NOCTTY).open(path) {
        Ok(file) => Ok(Some(file)),
        // But for a link that leads nowhere: the file it names is not ours to make.
        Err(error) if error.kind() == io::ErrorKind::NotFound && fs::symlink_metadata(path).is_err() => Ok(None),
        Err(error) => Err(error),
    }
}

/// Where the whole file is put: in place of the one that is there, in a directory that may be written to.
fn place(path: &Path, existing: Option<&File>) -> io::Result<PathBuf> {
    let target = existing.map_or_else(|| Ok(path.into()), place_of)?;
    // For an errno of the directory itself.
    access(directory(&target), AccessFlags::W_OK | AccessFlags::X_OK)?;
    Ok(target)
}

/// Where an open file is. Not asked by the path that it was opened by: the links on the way may lead elsewhere by now.
fn place_of(file: &File) -> io::Result<PathBuf> {
    let place = fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd()))?;
    let (opened, found) = (file.metadata()?, fs::symlink_metadata(&place));
    if found.is_ok_and(|found| (found.dev(), found.ino()) == (opened.dev(), opened.ino())) {
        return Ok(place);
    }
    Err(io::Error::other("the file was moved or replaced just now"))
}

fn directory(file: &Path) -> &Path {
    file.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Returns the error of writing to a file that the user named.
pub(crate) fn cannot_write(path: &Path, error: &io::Error) -> Error {
    Error::io(format_args!("write {}", path.display()), error)
}
