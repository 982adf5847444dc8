//! The file or pipe at the other end of a move.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use nix::errno::Errno;
use rustix::fs::{FileType, fstat};
use rustix::pipe::{fcntl_getpipe_size, fcntl_setpipe_size};

use super::PIECE;
use crate::linux::uninterrupted;

/// An open file that is read or written at its current position.
#[derive(Debug)]
pub(crate) struct Stream<'a> {
    fd: BorrowedFd<'a>,
    kind: FileType,
}

impl Stream<'_> {
    /// Determines the type of an open file.
    pub(crate) fn new(fd: BorrowedFd<'_>) -> Stream<'_> {
        // If fstat(2) fails, the read or write itself reports the error.
        let kind = fstat(fd).map_or(FileType::Unknown, |stat| FileType::from_raw_mode(stat.st_mode));
        Stream { fd, kind }
    }

    /// Enlarges a pipe to the size of one move: with the default of 64 KiB, its two ends mostly wait for each other. If
    /// that is refused (fs.pipe-max-size, the user's limit on pipe pages), the pipe keeps its size.
    pub(crate) fn enlarge(&self) {
        let wanted = PIECE as usize;
        if self.is_pipe() && fcntl_getpipe_size(self.fd).is_ok_and(|size| size < wanted) {
            let _ = fcntl_setpipe_size(self.fd, wanted);
        }
    }

    /// Returns whether it is a pipe or a FIFO.
    pub(crate) fn is_pipe(&self) -> bool {
        self.kind == FileType::Fifo
    }

    pub(super) fn is_regular(&self) -> bool {
        self.kind == FileType::RegularFile
    }

    /// Reads up to `buffer.len()` bytes with read(2). Returns 0 at the end.
    pub(crate) fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        uninterrupted(|| rustix::io::read(self.fd, &mut *buffer))
    }

    pub(super) fn write_all(&self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            match uninterrupted(|| rustix::io::write(self.fd, bytes))? {
                0 => return Err(Errno::EIO.into()),
                count => bytes = &bytes[count..],
            }
        }
        Ok(())
    }
}

impl AsFd for Stream<'_> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd
    }
}
