//! Signals that ask for an end: waiting for one, and what is undone by one.

mod undo;

use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::low_level::{emulate_default_handler, pipe};

pub(crate) use self::undo::{HeldOff, Undo};
use crate::linux;
use crate::linux::uninterrupted;

/// The signals that this process ignores, and a command that it runs shall not: the standard library ignores SIGPIPE
/// before `main`, [`ignore_file_size_limit`] the other.
pub(crate) const IGNORED: [Signal; 2] = [Signal::SIGPIPE, Signal::SIGXFSZ];

/// Ignores SIGXFSZ: a write past RLIMIT_FSIZE then fails with `EFBIG` instead of ending the process, so that the error
/// is reported and what was begun is undone.
pub(crate) fn ignore_file_size_limit() {
    // It can only fail for a signal that cannot be ignored.
    let _ = linux::ignore(Signal::SIGXFSZ);
}

/// What a wait ended with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Woken {
    /// A signal came.
    Signal(i32),
    /// The source with this index can be read, or has lost its other end.
    Source(usize),
}

/// SIGINT, SIGTERM and SIGHUP, but not those that our parent has set to be ignored, as nohup(1) does, and a shell for what
/// it starts in the background.
fn ending_signals() -> impl Iterator<Item = i32> {
    [SIGINT, SIGTERM, SIGHUP]
        .into_iter()
        .filter(|number| Signal::try_from(*number).is_ok_and(|signal| !linux::is_ignored(signal)))
}

/// These signals, caught from the moment that this is made. The second one of a kind ends the process at once: whatever
/// keeps it from asking for the first.
#[derive(Debug)]
pub(crate) struct Ending {
    woken: UnixStream,
    signal: Arc<AtomicUsize>,
}

impl Ending {
    /// Begins to catch.
    pub(crate) fn catch() -> io::Result<Ending> {
        let (woken, waker) = UnixStream::pair()?;
        let signal = Arc::new(AtomicUsize::new(0));
        for number in ending_signals() {
            let has_come = Arc::new(AtomicBool::new(false));
            signal_hook::flag::register_conditional_default(number, Arc::clone(&has_come))?;
            signal_hook::flag::register(number, has_come)?;
            // The flag first: whoever is woken finds it set.
            signal_hook::flag::register_usize(number, Arc::clone(&signal), number.cast_unsigned() as usize)?;
            pipe::register(number, waker.try_clone()?)?;
        }
        Ok(Ending { woken, signal })
    }

    /// Waits until a signal comes, which it returns, or until `limit` is over.
    pub(crate) fn wait(&self, limit: Option<Duration>) -> io::Result<Option<i32>> {
        // A limit too long for the clock is none.
        let deadline = limit.and_then(|limit| Instant::now().checked_add(limit));
        loop {
            if let Some(signal) = self.signal() {
                return Ok(Some(signal));
            }
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            if left.is_some_and(|left| left.is_zero()) {
                return Ok(None);
            }
            self.woken.set_read_timeout(left)?;
            match (&self.woken).read(&mut [0]) {
                Ok(_) => {}
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Waits until a signal comes, or until one of these can be read or has lost its other end.
    pub(crate) fn wait_or_read(&self, sources: &[BorrowedFd<'_>]) -> io::Result<Woken> {
        let polled = |fd| PollFd::new(fd, PollFlags::POLLIN);
        let mut fds: Vec<_> = sources.iter().copied().chain([self.woken.as_fd()]).map(polled).collect();
        loop {
            // Asked after each wait: whoever is woken by a signal finds it set.
            if let Some(signal) = self.signal() {
                return Ok(Woken::Signal(signal));
            }
            uninterrupted(|| poll(&mut fds, PollTimeout::NONE))?;
            let ready = fds[..sources.len()].iter().position(|fd| fd.any() == Some(true));
            if let (None, Some(source)) = (self.signal(), ready) {
                return Ok(Woken::Source(source));
            }
        }
    }

    /// Waits until this can be written to, or has lost its other end: `None`; else, while it cannot, for a signal.
    ///
    /// A pipe that can be written to takes 4096 bytes (pipe(7), `PIPE_BUF`).
    pub(crate) fn wait_to_write(&self, sink: BorrowedFd<'_>) -> io::Result<Option<i32>> {
        let sink = PollFd::new(sink, PollFlags::POLLOUT);
        let mut fds = [sink, PollFd::new(self.woken.as_fd(), PollFlags::POLLIN)];
        loop {
            let limit = if self.signal().is_some() { PollTimeout::ZERO } else { PollTimeout::NONE };
            uninterrupted(|| poll(&mut fds, limit))?;
            match self.signal() {
                _ if fds[0].any() == Some(true) => return Ok(None),
                Some(signal) => return Ok(Some(signal)),
                None => {}
            }
        }
    }

    /// The signal that has come, if one has.
    pub(crate) fn signal(&self) -> Option<i32> {
        match self.signal.load(Ordering::SeqCst) {
            0 => None,
            number => i32::try_from(number).ok(),
        }
    }
}

/// Ends the process as the signal does where nobody catches it, so that whoever waits for it sees why it ended.
/// Returns only where the signal cannot end it (to the first process of a pid namespace).
pub(crate) fn end_by(signal: i32) {
    // An unknown signal is the only error, and these are not.
    let _ = emulate_default_handler(signal);
}
