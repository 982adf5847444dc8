//! Reading a pipe until a deadline.

use std::io::{self, Read};
use std::os::fd::AsFd;
use std::time::Instant;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::linux::uninterrupted;

/// A pipe or socket on which a read fails with `TimedOut` once the deadline has passed.
#[derive(Debug)]
pub(super) struct UntilDeadline<R> {
    pub reader: R,
    pub deadline: Instant,
}

impl<R: Read + AsFd> Read for UntilDeadline<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        // A deadline beyond the range of the clock means none.
        let left = || Timespec::try_from(self.deadline.saturating_duration_since(Instant::now())).ok();
        let mut polled = [PollFd::new(&self.reader, PollFlags::IN)];
        match uninterrupted(|| poll(&mut polled, left().as_ref()))? {
            0 => Err(io::ErrorKind::TimedOut.into()),
            _ => self.reader.read(buffer),
        }
    }
}
