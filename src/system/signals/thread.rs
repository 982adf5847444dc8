//! A thread that reads signals while other threads work, or wait for a reader or writer that may never come.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::thread::{Builder, JoinHandle};

use rustix::event::{PollFd, PollFlags, poll};

use crate::linux::uninterrupted;

/// A thread that reads signals until dropped.
#[derive(Debug)]
pub(super) struct SignalThread {
    /// Closed to end the thread.
    alive: Option<UnixStream>,
    thread: Option<JoinHandle<()>>,
}

impl SignalThread {
    /// Starts a thread that calls `act`, which reads a signal, whenever one has arrived.
    ///
    /// # Errors
    /// `EAGAIN` if no more threads are allowed, `EMFILE`, `ENFILE`.
    pub(super) fn start(arrived: OwnedFd, mut act: impl FnMut() + Send + 'static) -> io::Result<SignalThread> {
        let (alive, ended) = UnixStream::pair()?;
        let read = move || {
            let mut fds = [ended.as_fd(), arrived.as_fd()].map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN));
            while uninterrupted(|| poll(&mut fds, None)).is_ok() && fds[0].revents().is_empty() {
                act();
            }
        };
        let thread = Builder::new().name("signals".into()).spawn(read)?;
        Ok(SignalThread { alive: Some(alive), thread: Some(thread) })
    }
}

impl Drop for SignalThread {
    fn drop(&mut self) {
        drop(self.alive.take());
        if let Some(thread) = self.thread.take() {
            // If the thread is already acting, this waits until it has finished. A panic in it was reported.
            let _ = thread.join();
        }
    }
}
