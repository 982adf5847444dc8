//! Access to a segment's bytes as a file.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;

use rustix::fs::{SeekFrom, seek, sendfile};
use rustix::io::Errno;
use rustix::pipe::{SpliceFlags, splice};

use super::{Backend, Extent, Stream};
use crate::linux::uninterrupted;

/// The file of our own attachment. Nothing else shares it, so its position is ours to move.
#[derive(Debug)]
pub(super) struct SegmentFile(pub(super) File);

impl Backend for SegmentFile {
    fn extent(&self, range: Range<u64>) -> io::Result<Extent> {
        match seek(&self.0, SeekFrom::Data(range.start)) {
            Ok(data) if data > range.start => Ok(Extent { end: data.min(range.end), is_hole: true }),
            Ok(_) => {
                let hole = seek(&self.0, SeekFrom::Hole(range.start))?;
                Ok(Extent { end: hole.min(range.end), is_hole: false })
            }
            // No data from here on.
            Err(Errno::NXIO) => Ok(Extent { end: range.end, is_hole: true }),
            Err(errno) => Err(errno.into()),
        }
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.0.read_exact_at(buffer, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.0.write_all_at(bytes, offset)
    }

    fn send(&self, range: Range<u64>, to: &Stream<'_>) -> io::Result<Option<usize>> {
        let length = (range.end - range.start) as usize;
        let mut at = range.start;
        let sent = if to.is_pipe() {
            // Moves the pages themselves, without copying.
            uninterrupted(|| splice(&self.0, Some(&mut at), to, None, length, SpliceFlags::empty()))
        } else {
            uninterrupted(|| sendfile(to, &self.0, Some(&mut at), length))
        };
        Ok(Some(sent?))
    }

    fn receive(&self, range: Range<u64>, from: &Stream<'_>) -> io::Result<Option<usize>> {
        let length = (range.end - range.start) as usize;
        if from.is_pipe() {
            let mut at = range.start;
            let received = uninterrupted(|| splice(from, None, &self.0, Some(&mut at), length, SpliceFlags::empty()));
            return Ok(Some(received?));
        }
        // sendfile(2) continues until it has all bytes or reaches the end: at a terminal, that would require a second
        // Ctrl-D.
        if !from.is_regular() {
            return Ok(None);
        }
        seek(&self.0, SeekFrom::Start(range.start))?;
        let received = uninterrupted(|| sendfile(&self.0, from, None, length))?;
        // A file of /proc may report size 0 although it has contents; only reading shows that.
        Ok(Some(received).filter(|count| *count > 0))
    }
}
