//! The file of `-o FILE`: replaced as a whole or not at all, or written in place where it is no regular file.

mod inherited;
mod place;
mod temporary;

use std::fs::File;
use std::io::{self, Seek};
use std::path::Path;

use rustix::fs::{FileType, Stat, fstat};

use self::place::Target;
use self::temporary::Temporary;
use crate::error::Error;
use crate::values::visible_path;

/// The open file of `-o FILE`.
#[derive(Debug)]
pub(crate) enum Destination {
    /// A device, a FIFO or an inherited descriptor: written in place.
    InPlace(File),
    /// A new file, which takes its place at the end.
    Replace(Temporary),
}

impl Destination {
    /// Opens what is to be written, so that it will be at `path` with this mode. A symbolic link is followed, but must lead
    /// to something. `/dev/stdout`, `/dev/fd/N` and `/proc/self/fd/N` mean that open descriptor.
    ///
    /// # Errors
    /// Those of open(2), and `PermissionDenied` for a FIFO or file that another user has put into a sticky directory that
    /// all can write to. open(2) with `O_CREAT` refuses these, too (fs.protected_fifos and fs.protected_regular,
    /// proc_sys_fs(5)), but only where these sysctls are set.
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

    /// Returns the error that [`Destination::open`] would have, as far as that is known without making anything or waiting
    /// for anybody.
    pub(crate) fn check_writable(path: &Path) -> io::Result<()> {
        if inherited::named_by(path)?.is_some() {
            return Ok(());
        }
        let target = Target::find(path)?;
        match &target.existing {
            // Opening a FIFO waits for its reader.
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

    /// Returns whether it is a new file, in which holes can be left.
    pub(crate) fn is_new_file(&self) -> bool {
        matches!(self, Self::Replace(_))
    }

    /// Puts the whole file in its place. Until this succeeds, the old one stays as it was.
    pub(crate) fn finish(self) -> io::Result<()> {
        match self {
            Self::InPlace(_) => Ok(()),
            Self::Replace(temporary) => {
                // The file ends where was written last. If that was a hole, only its length says so.
                let end = temporary.file().stream_position()?;
                temporary.file().set_len(end)?;
                // A full disk may only show now.
                temporary.file().sync_all()?;
                temporary.persist()
            }
        }
    }
}

fn is_regular(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile
}

/// Returns the error of writing to a file that the user named.
pub(crate) fn cannot_write(path: &Path, error: &io::Error) -> Error {
    Error::io(format_args!("write {}", visible_path(path)), error)
}
