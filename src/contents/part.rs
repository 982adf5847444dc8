//! A part of an attached segment, read as runs of data and zeros.

use std::io;
use std::ops::Range;

use super::Advance;
use super::attach::page_error;
use super::sink::Sink;
use crate::error::{Error, Result};
use crate::sysv::{Contents, Extent};

/// The number of bytes copied at a time.
const PIECE: u64 = 1 << 20;

/// A range of the bytes of an attached segment.
#[derive(Debug)]
pub(crate) struct Part<'a> {
    /// The segment's bytes.
    pub contents: Contents<'a>,
    /// The segment's name, for errors.
    pub name: &'a str,
    /// The range, in bytes, within the segment.
    pub range: Range<u64>,
}

/// A run of bytes of a segment.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Run<'a> {
    /// Bytes of allocated pages.
    Data(&'a [u8]),
    /// This number of bytes that were never written and read as zeros.
    Zeros(u64),
}

impl Run<'_> {
    fn length(self) -> u64 {
        match self {
            Self::Data(bytes) => bytes.len() as u64,
            Self::Zeros(count) => count,
        }
    }
}

impl Part<'_> {
    /// Returns the number of bytes.
    pub(crate) fn length(&self) -> u64 {
        self.range.end - self.range.start
    }

    /// Moves all bytes to a sink within the kernel, without copying them through this process.
    pub(crate) fn send(&self, sink: &mut Sink<'_>, advance: Advance<'_>) -> Result<()> {
        sink.make_ready_for(self.length())?;
        let mut at = self.range.start;
        while at < self.range.end {
            let extent = self.extent(at)?;
            if extent.is_hole {
                sink.zeros(extent.end - at, advance)?;
            } else {
                sink.send(&self.contents, self.name, at..extent.end, advance)?;
            }
            at = extent.end;
        }
        Ok(())
    }

    /// Passes all bytes to `each` in order and in pieces, until it returns `false`.
    pub(crate) fn runs(&self, advance: Advance<'_>, mut each: impl FnMut(Run<'_>) -> Result<bool>) -> Result<()> {
        let mut buffer = vec![0; PIECE.min(self.length()) as usize];
        let mut at = self.range.start;
        while at < self.range.end {
            // Finding the end of an extent can cost as much as reading it, so do it once per extent, not per piece.
            let extent = self.extent(at)?;
            while at < extent.end {
                let run = if extent.is_hole {
                    Run::Zeros(extent.end - at)
                } else {
                    let piece = &mut buffer[..(extent.end - at).min(PIECE) as usize];
                    self.read_at(piece, at)?;
                    Run::Data(piece)
                };
                let length = run.length();
                if !each(run)? {
                    return Ok(());
                }
                at += length;
                advance(length);
            }
        }
        Ok(())
    }

    /// Returns the run of data or zeros that starts at `at`.
    pub(super) fn extent(&self, at: u64) -> Result<Extent> {
        self.contents.extent(at..self.range.end).map_err(|error| self.unreadable(at, &error))
    }

    /// Copies the bytes starting at `at`.
    pub(super) fn read_at(&self, buffer: &mut [u8], at: u64) -> Result<()> {
        self.contents.read_at(buffer, at).map_err(|error| self.unreadable(at, &error))
    }

    fn unreadable(&self, at: u64, error: &io::Error) -> Error {
        page_error(format_args!("read {} at {at}", self.name), error)
    }
}
