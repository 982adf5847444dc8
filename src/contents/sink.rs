//! The destination of a segment's bytes: standard output or an open file.

use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};
use std::ops::Range;
use std::os::fd::AsFd;
use std::path::Path;

use super::Advance;
use super::attach::page_error;
use super::destination::cannot_write;
use crate::error::{Error, Result};
use crate::output::Output;
use crate::sysv::{Contents, MoveError, Stream};

/// The number of zeros written at a time.
const PIECE: u64 = 256 << 10;
/// The default capacity of a pipe, in bytes.
const PIPE: u64 = 64 << 10;

/// An output stream, written at its current position.
#[derive(Debug)]
pub(crate) enum Sink<'a> {
    /// Standard output.
    Output(&'a mut Output),
    /// A file.
    File {
        /// The file, open for writing.
        file: File,
        /// Its name, for errors.
        path: &'a Path,
        /// Whether zeros can be left out as holes.
        punch: bool,
    },
}

impl Sink<'_> {
    /// Writes bytes.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> Result<()> {
        match self {
            Self::Output(output) => output.bytes(bytes),
            Self::File { file, path, .. } => file.write_all(bytes).map_err(|error| cannot_write(path, &error)),
        }
    }

    /// Writes `count` zeros, or leaves a hole.
    pub(crate) fn zeros(&mut self, count: u64, advance: Advance<'_>) -> Result<()> {
        if let Self::File { file, path, punch: true } = self {
            advance(count);
            return match file.seek(SeekFrom::Current(count.cast_signed())) {
                Ok(_) => Ok(()),
                Err(error) => Err(cannot_write(path, &error)),
            };
        }
        let zeros = vec![0; PIECE.min(count) as usize];
        let mut left = count;
        while left > 0 {
            let now = left.min(PIECE);
            self.bytes(&zeros[..now as usize])?;
            advance(now);
            left -= now;
        }
        Ok(())
    }

    /// Moves a part of a segment to the sink, without a buffer in this process.
    pub(crate) fn send(
        &mut self,
        contents: &Contents<'_>,
        name: &str,
        part: Range<u64>,
        advance: Advance<'_>,
    ) -> Result<()> {
        let stream = self.stream()?;
        let mut at = part.start;
        while at < part.end {
            match contents.send(at..part.end, &stream) {
                Ok(count) => {
                    at += count;
                    advance(count);
                }
                Err(MoveError::Segment(error)) => return Err(page_error(format_args!("read {name} at {at}"), &error)),
                Err(MoveError::Stream(error)) => return Err(self.cannot_write(&error)),
            }
        }
        Ok(())
    }

    /// Enlarges a pipe if many bytes are to be written.
    pub(crate) fn make_ready_for(&mut self, count: u64) -> Result<()> {
        if count > PIPE {
            self.stream()?.enlarge();
        }
        Ok(())
    }

    fn stream(&mut self) -> Result<Stream<'_>> {
        match self {
            Self::Output(output) => Ok(Stream::new(output.file()?.as_fd())),
            Self::File { file, .. } => Ok(Stream::new((*file).as_fd())),
        }
    }

    fn cannot_write(&self, error: &io::Error) -> Error {
        match self {
            Self::Output(_) => Error::output(error),
            Self::File { path, .. } => cannot_write(path, error),
        }
    }
}
