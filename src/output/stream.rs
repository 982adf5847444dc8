//! The file beneath standard output's buffer.

use std::fs::File;
use std::io::{self, Write};

/// A file on which every write fails after the first failure. So a buffer writes nothing more when it is dropped.
/// Output reported as not written, such as the segment of `create`, must not appear after all.
#[derive(Debug)]
pub(super) struct Stream {
    file: File,
    /// The error of the first failed write.
    errno: Option<i32>,
}

impl Stream {
    /// Wraps an open file.
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
