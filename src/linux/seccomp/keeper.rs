//! Who answers when we have ended: descendants of the command live on, and without a listener their calls would fail.

use std::os::fd::{AsFd, AsRawFd};

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;
use nix::unistd::{ForkResult, chdir, fork, setsid};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::listener::Listener;

impl Listener {
    /// Whether a process is left whose calls come in here. Before Linux 5.9 the kernel does not tell, and it is true.
    pub(crate) fn has_callers(&self) -> bool {
        let mut polled = [PollFd::from_borrowed_fd(self.as_fd(), PollFlags::IN)];
        poll(&mut polled, Some(&Timespec::default())).is_err() || !polled[0].revents().contains(PollFlags::HUP)
    }

    /// fork(2): leaves a process behind that lets every call go on, until no process is left that could make one. It is
    /// in a session of its own and has none of our files open, so that nobody waits for its end.
    ///
    /// # Errors
    /// Those of fork(2).
    pub(crate) fn keep_answering(self) -> Result<(), Errno> {
        // SAFETY: the child makes system calls only: it allocates nothing, takes no lock that another thread may hold, and
        // leaves by _exit, so that nothing of ours is flushed or dropped twice.
        match unsafe { fork() }? {
            ForkResult::Parent { .. } => Ok(()),
            ForkResult::Child => {
                self.answer_detached();
                // SAFETY: _exit ends this process and returns to nobody.
                unsafe { libc::_exit(0) }
            }
        }
    }

    fn answer_detached(&self) {
        // Each of these can fail only where it changes nothing for anybody.
        let _ = setsid();
        let _ = chdir("/");
        let listener = self.as_fd().as_raw_fd();
        if let Ok(null) = open("/dev/null", OFlag::O_RDWR, Mode::empty()) {
            for standard in 0..=2 {
                if standard != listener {
                    // SAFETY: dup2 replaces a standard stream, which nothing in this process uses any more.
                    let _ = unsafe { libc::dup2(null.as_raw_fd(), standard) };
                }
            }
        }
        let others = listener.cast_unsigned();
        for (first, last) in [(3, others.saturating_sub(1)), (others.saturating_add(1).max(3), u32::MAX)] {
            if first <= last {
                // SAFETY: nothing in this process uses a descriptor but the listener, which is in neither range.
                let _ = unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) };
            }
        }
        loop {
            let mut polled = [PollFd::from_borrowed_fd(self.as_fd(), PollFlags::IN)];
            let waited = poll(&mut polled, None);
            if polled[0].revents().contains(PollFlags::IN) {
                if let Ok(Some(notification)) = self.receive() {
                    self.let_go(notification.id);
                }
            } else if waited != Err(rustix::io::Errno::INTR) {
                return;
            }
        }
    }
}
