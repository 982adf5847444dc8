//! The file of `-o FILE`: replaced atomically, or written in place if it is not a regular file.

mod directory;
mod inherited;
mod name;
mod place;
mod temporary;

use std::fs::File;
use std::io::{self, Seek};
use std::path::Path;

use rustix::fs::{FileType, Stat, fstat, makedev, stat};

use self::place::Target;
use self::temporary::Temporary;
use crate::error::Error;
use crate::values::visible_path;

/// /dev/null (null(4)).
const NULL_DEVICE: (u32, u32) = (1, 3);

/// The open file of `-o FILE`.
#[derive(Debug)]
pub(crate) enum Destination {
    /// A device, a FIFO or an inherited descriptor: written in place.
    InPlace(File),
    /// A new file, which replaces the old one at the end.
    Replace(Temporary),
}

impl Destination {
    /// Opens the output for `path`, with this mode. A symbolic link is followed, but its target must exist.
    /// `/dev/stdout`, `/dev/fd/N` and `/proc/self/fd/N` mean that open descriptor.
    ///
    /// # Errors
    /// Those of open(2). `PermissionDenied` for a FIFO, file or link that another user has created in a sticky,
    /// world-writable directory. open(2) with `O_CREAT` refuses these too, but only if the sysctls fs.protected_fifos,
    /// fs.protected_regular and fs.protected_symlinks are set (proc_sys_fs(5)).
    pub(crate) fn open(path: &Path, mode: u32) -> io::Result<Destination> {
        if let Some(descriptor) = inherited::named_by(path)? {
            return Ok(Destination::InPlace(descriptor.into()));
        }
        let target = Target::find(path)?;
        if let Some(existing) = &target.existing {
            let writable = target.open_for_writing(existing)?;
            if !is_regular(&fstat(existing)?) {
                return Ok(Destination::InPlace(writable));
            }
        }
        Temporary::new(target.place, mode).map(Destination::Replace)
    }

    /// Returns the error that [`Destination::open`] would return, as far as that is known without creating a file or
    /// blocking.
    pub(crate) fn check_writable(path: &Path) -> io::Result<()> {
        if inherited::named_by(path)?.is_some() {
            return Ok(());
        }
        let target = Target::find(path)?;
        match &target.existing {
            // Opening a FIFO would wait for its reader.
            Some(existing) if !is_regular(&fstat(existing)?) => target.check_access(),
            Some(existing) => {
                target.open_for_writing(existing)?;
                target.place.check_writable()
            }
            None => target.place.check_writable(),
        }
    }

    /// Returns the stream to write to.
    pub(crate) fn file(&self) -> io::Result<File> {
        match self {
            Self::InPlace(file) => file.try_clone(),
            Self::Replace(temporary) => temporary.file().try_clone(),
        }
    }

    /// Returns whether the output is a new file, in which holes can be left.
    pub(crate) fn is_new_file(&self) -> bool {
        matches!(self, Self::Replace(_))
    }

    /// Moves the complete file into place. Until this succeeds, the old file is unchanged.
    pub(crate) fn finish(self) -> io::Result<()> {
        match self {
            Self::InPlace(_) => Ok(()),
            Self::Replace(temporary) => {
                // The file ends at the current position. If it ends in a hole, its length must be set.
                let end = temporary.file().stream_position()?;
                temporary.file().set_len(end)?;
                // A full disk may be reported only here.
                temporary.file().sync_all()?;
                temporary.persist()
            }
        }
    }
}

/// Returns whether everything written to `path` is lost: it is the null device. The path `-` means standard output. If that
/// was closed when the program started, it is the null device, too.
pub(crate) fn is_null_device(path: &Path) -> bool {
    let is_stdout = path == Path::new("-");
    let stat = if is_stdout { fstat(io::stdout()) } else { stat(path) };
    stat.is_ok_and(|stat| {
        FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice
            && stat.st_rdev == makedev(NULL_DEVICE.0, NULL_DEVICE.1)
    })
}

fn is_regular(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile
}

/// Returns the error for writing to a file that the user named.
pub(crate) fn cannot_write(path: &Path, error: &io::Error) -> Error {
    Error::io(format_args!("write {}", visible_path(path)), error)
}
