//! A process that answers after we have ended. Descendants of the command may live on, and without a listener their
//! calls would fail.

use std::os::fd::AsFd;

use nix::errno::Errno;
use nix::unistd::{ForkResult, fork};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::listener::Listener;
use crate::linux::detach::detach;
use crate::linux::fork::exit_now;

/// The number of failed calls in a row after which the process gives up.
const MAX_FAILURES: usize = 1000;

impl Listener {
    /// Returns whether a process with the filter is left. Before Linux 5.9 the kernel does not report it, and this
    /// returns true.
    pub(crate) fn has_callers(&self) -> bool {
        let mut polled = [PollFd::from_borrowed_fd(self.as_fd(), PollFlags::IN)];
        poll(&mut polled, Some(&Timespec::default())).is_err() || !polled[0].revents().contains(PollFlags::HUP)
    }

    /// Leaves a process behind with fork(2) that lets every call continue, until no process with the filter is left. It
    /// runs in its own session and has none of our files open, so that nothing waits for its end.
    ///
    /// # Errors
    /// Those of fork(2).
    pub(crate) fn keep_answering(self) -> Result<(), Errno> {
        // SAFETY: the child makes system calls only: it allocates nothing and takes no lock that another thread may
        // hold. It leaves by exit_now, so that nothing of ours is flushed or dropped twice.
        match unsafe { fork() }? {
            ForkResult::Parent { .. } => Ok(()),
            ForkResult::Child => {
                self.answer_detached();
                exit_now(0)
            }
        }
    }

    fn answer_detached(&self) {
        // SAFETY: this process uses no descriptor except the listener.
        unsafe { detach(self.as_fd()) };
        // After too many failures in a row the listener closes, so that no call waits for ever.
        let mut failures = 0;
        while failures < MAX_FAILURES {
            let mut polled = [PollFd::from_borrowed_fd(self.as_fd(), PollFlags::IN)];
            let waited = poll(&mut polled, None);
            if polled[0].revents().contains(PollFlags::IN) {
                let answered = self.receive().and_then(|call| self.resume(call.id));
                failures = if answered.is_ok() { 0 } else { failures + 1 };
            } else if waited == Err(rustix::io::Errno::INTR) {
                failures += 1;
            } else {
                return;
            }
        }
    }
}
