//! The source of the bytes for a segment.

use std::fs::File;
use std::io::{self, Seek};
use std::os::fd::AsFd;
use std::path::Path;

use crate::error::{Error, Result};
use crate::values::visible_path;

/// Bytes for a segment: a text, or the rest of an open file, pipe or terminal.
#[derive(Debug)]
pub(crate) struct Input {
    pub(super) source: Source,
    /// Added after the last byte.
    pub(super) tail: &'static [u8],
    pub(super) name: String,
    length: Option<u64>,
}

#[derive(Debug)]
pub(super) enum Source {
    Bytes(Vec<u8>),
    File(File),
}

fn is_on_sysfs(file: &File) -> bool {
    rustix::fs::fstatfs(file).is_ok_and(|found| found.f_type == libc::SYSFS_MAGIC)
}

impl Input {
    /// Opens a file as an input; `-` is standard input.
    ///
    /// # Errors
    /// Those of open(2), [`Input::file`] and [`Input::standard`].
    pub(crate) fn open(path: &Path) -> Result<Input> {
        if path == Path::new("-") {
            return Input::standard();
        }
        let input = File::open(path).and_then(|file| Input::file(file, path));
        input.map_err(|error| Error::io(format_args!("read {}", visible_path(path)), &error))
    }

    /// Returns an input of these bytes.
    pub(crate) fn bytes(bytes: Vec<u8>) -> Input {
        let length = Some(bytes.len() as u64);
        Input { source: Source::Bytes(bytes), tail: b"", name: "the text".into(), length }
    }

    /// Returns an input of the rest of an open file. Its length is known in advance only for a regular file.
    ///
    /// # Errors
    /// `EISDIR` for a directory, and those of fstat(2) and lseek(2).
    fn file(mut file: File, name: &Path) -> io::Result<Input> {
        let metadata = file.metadata()?;
        if metadata.is_dir() {
            return Err(io::Error::from_raw_os_error(libc::EISDIR));
        }
        let length =
            if metadata.is_file() { Some(metadata.len().saturating_sub(file.stream_position()?)) } else { None };
        // A file of /proc reports size 0 although it has contents. A file of sysfs reports a whole page, and has less.
        let length = length.filter(|length| *length > 0 && !is_on_sysfs(&file));
        Ok(Input { source: Source::File(file), tail: b"", name: visible_path(name).into_owned(), length })
    }

    /// Returns an input of the rest of standard input.
    ///
    /// # Errors
    /// Those of [`Input::file`], and `EBADF` if it is closed.
    pub(crate) fn standard() -> Result<Input> {
        let name = "standard input";
        let copy = io::stdin().as_fd().try_clone_to_owned();
        let input = copy.and_then(|stdin| Input::file(stdin.into(), Path::new(name)));
        input.map_err(|error| Error::io(format_args!("read {name}"), &error))
    }

    /// Returns the name of the source, for messages.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Returns the number of bytes, if it is known in advance.
    pub(crate) fn length(&self) -> Option<u64> {
        self.length
    }

    /// Returns the number of bytes without those added by [`Input::and_then`].
    pub(super) fn length_of_source(&self) -> Option<u64> {
        self.length.map(|length| length - self.tail.len() as u64)
    }

    /// Appends bytes after the last one.
    pub(crate) fn and_then(self, tail: &'static [u8]) -> Input {
        let length = self.length.map(|length| length + tail.len() as u64);
        Input { tail, length, ..self }
    }

    pub(super) fn unreadable(&self, error: &io::Error) -> Error {
        Error::io(format_args!("read {}", self.name), error)
    }
}
