//! Files that are written whole or not at all.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::unistd::{AccessFlags, access};
use tempfile::NamedTempFile;

/// Where `-o FILE` leads.
#[derive(Debug)]
pub enum Destination {
    /// A device, a FIFO: written to as it is.
    InPlace(File),
    /// A regular file, or none yet: written beside its place, and put there when it is whole.
    Replace {
        /// What is written.
        temporary: NamedTempFile,
        /// Its place.
        target: PathBuf,
    },
}

impl Destination {
    /// Opens what is to be written, so that it will be at `path` with this mode. A symbolic link stands for what it leads
    /// to, as for every program that opens it.
    pub fn open(path: &Path, mode: u32) -> io::Result<Destination> {
        let target = match fs::metadata(path) {
            Ok(found) if found.is_file() => {
                // Opened, though not to be written to: the kernel then refuses what the user may not write, and links
                // that others have planted in /tmp (fs.protected_symlinks).
                OpenOptions::new().write(true).open(path)?;
                fs::canonicalize(path)?
            }
            Ok(_) => {
                let file = OpenOptions::new().write(true).custom_flags(libc::O_NOCTTY).open(path)?;
                return Ok(Destination::InPlace(file));
            }
            // A link that leads nowhere: the file it names is not ours to make.
            Err(error) if error.kind() == io::ErrorKind::NotFound && fs::symlink_metadata(path).is_err() => path.into(),
            Err(error) => return Err(error),
        };
        let directory = target.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        // For an errno of the directory itself: tempfile hides the one that it gets.
        access(directory, AccessFlags::W_OK | AccessFlags::X_OK)?;
        let temporary = tempfile::Builder::new()
            .prefix(".shmadm-")
            .permissions(Permissions::from_mode(mode))
            .tempfile_in(directory)
            // Its own error names the temporary file, which nobody knows of.
            .map_err(|error| io::Error::from(error.kind()))?;
        Ok(Destination::Replace { temporary, target })
    }

    /// What to write to.
    pub fn file(&self) -> io::Result<File> {
        match self {
            Self::InPlace(file) => file.try_clone(),
            Self::Replace { temporary, .. } => temporary.as_file().try_clone(),
        }
    }

    /// Whether it is a new file, in which holes can be left.
    pub fn is_new_file(&self) -> bool {
        matches!(self, Self::Replace { .. })
    }

    /// Puts the whole file in its place. Where this is not reached, the old one stays as it was.
    pub fn finish(self) -> io::Result<()> {
        match self {
            Self::InPlace(_) => Ok(()),
            Self::Replace { temporary, target } => {
                // A full disk may only show now.
                temporary.as_file().sync_all()?;
                temporary.persist(target).map(drop).map_err(|error| error.error)
            }
        }
    }
}
