//! The file beneath the buffer of standard output.

use std::fs::File;
use std::io::{self, Write};

/// A file that fails for good once a write has failed. A buffer then writes nothing more when it is dropped: what was
/// reported as not written, such as the segment of `create`, must not be printed after all.
#[derive(Debug)]
pub(super) struct Stream {
    file: File,
    /// The error of the first write that failed.
    errno: Option<i32>,
}

impl Stream {
    /// Takes an open file.
    pub(super) fn new(file: File) -> Stream {
        Stream { file, errno: None }
    }

    /// Returns the file itself.
    pub(super) fn file(&self) -> &File {
        &self.file
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Some(errno) = self.errno {
            return Err(io::Error::from_raw_os_error(errno));
        }
        self.file.write(bytes).inspect_err(|error| {
            if error.kind() != io::ErrorKind::Interrupted {
                self.errno = error.raw_os_error();
            }
        })
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
