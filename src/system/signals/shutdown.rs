//! Waiting until an event occurs or a signal requests shutdown.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use nix::sys::signalfd::SignalFd;
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};

use super::thread::SignalThread;
use super::{BlockedSignals, end_by};
use crate::linux::uninterrupted;

/// What ended a wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Woken {
    /// A signal arrived.
    Signal(i32),
    /// The source with this index is readable, or its other end was closed.
    Source(usize),
}

/// Receives SIGINT, SIGTERM and SIGHUP from creation until dropped. A second signal of the same kind ends the process
/// at once, even if the process is too busy to answer the first.
#[derive(Debug)]
pub(crate) struct ShutdownSignals {
    /// Also reads the signals while this thread does something else; `None` if no thread could be started.
    // Dropped before the signals are unblocked.
    thread: Option<SignalThread>,
    arrived: Arc<Arrived>,
    _blocked: BlockedSignals,
}

impl ShutdownSignals {
    /// Starts receiving the signals. Call this while the process has one thread.
    ///
    /// # Errors
    /// `EMFILE`, `ENFILE`, `ENOMEM`.
    pub(crate) fn catch() -> io::Result<ShutdownSignals> {
        let caught = ShutdownSignals::without_thread()?;
        let (arrived, signals) = (Arc::clone(&caught.arrived), caught.arrived.signals.as_fd().try_clone_to_owned()?);
        let read = move || {
            arrived.first();
        };
        let thread = SignalThread::start(signals, read).ok();
        Ok(ShutdownSignals { thread, ..caught })
    }

    /// Starts receiving the signals without a thread, for a process that forks. A signal then takes effect only in the
    /// functions of this type: the process must not block elsewhere.
    ///
    /// # Errors
    /// `EMFILE`, `ENFILE`, `ENOMEM`.
    pub(crate) fn without_thread() -> io::Result<ShutdownSignals> {
        let blocked = BlockedSignals::shutdown();
        let arrived = Arrived {
            signals: blocked.descriptor()?,
            seen: Mutex::default(),
            woken: eventfd(0, EventfdFlags::CLOEXEC)?,
        };
        Ok(ShutdownSignals { thread: None, arrived: Arc::new(arrived), _blocked: blocked })
    }

    /// Waits until a signal arrives and returns it, or until `limit` has passed.
    ///
    /// # Errors
    /// Those of poll(2): `ENOMEM`.
    pub(crate) fn wait(&self, limit: Option<Duration>) -> io::Result<Option<i32>> {
        // A limit beyond the range of the clock means no limit.
        let deadline = limit.and_then(|limit| Instant::now().checked_add(limit));
        loop {
            if let Some(signal) = self.signal() {
                return Ok(Some(signal));
            }
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            if left.is_some_and(|left| left.is_zero()) {
                return Ok(None);
            }
            let left = left.and_then(|left| Timespec::try_from(left).ok());
            let mut fds = [self.poll_fd()];
            match poll(&mut fds, left.as_ref()) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    }

    /// Waits until a signal arrives, or until one of the sources is readable or its other end is closed.
    ///
    /// # Errors
    /// Those of poll(2): `ENOMEM`.
    pub(crate) fn wait_readable(&self, sources: &[BorrowedFd<'_>]) -> io::Result<Woken> {
        let sources = sources.iter().map(|fd| PollFd::from_borrowed_fd(*fd, PollFlags::IN));
        // The signal descriptor comes last.
        let mut fds: Vec<_> = sources.chain([self.poll_fd()]).collect();
        loop {
            // Checked after each wait as well: a signal has priority over a source.
            if let Some(signal) = self.signal() {
                return Ok(Woken::Signal(signal));
            }
            uninterrupted(|| poll(&mut fds, None))?;
            let ready = fds.iter().take(fds.len() - 1).position(|fd| !fd.revents().is_empty());
            if let (None, Some(source)) = (self.signal(), ready) {
                return Ok(Woken::Source(source));
            }
        }
    }

    /// Waits until `sink` is writable or its other end is closed, and returns `None`. If a signal arrives first,
    /// returns the signal.
    ///
    /// A pipe that is writable accepts 4096 bytes without blocking (pipe(7), `PIPE_BUF`).
    ///
    /// # Errors
    /// Those of poll(2): `ENOMEM`.
    pub(crate) fn wait_writable(&self, sink: BorrowedFd<'_>) -> io::Result<Option<i32>> {
        let mut fds = [PollFd::from_borrowed_fd(sink, PollFlags::OUT), self.poll_fd()];
        loop {
            let limit = self.signal().map(|_| Timespec::default());
            uninterrupted(|| poll(&mut fds, limit.as_ref()))?;
            match self.signal() {
                _ if !fds[0].revents().is_empty() => return Ok(None),
                Some(signal) => return Ok(Some(signal)),
                None => {}
            }
        }
    }

    /// Returns the first signal that has arrived, if any.
    pub(crate) fn signal(&self) -> Option<i32> {
        self.arrived.first()
    }

    fn poll_fd(&self) -> PollFd<'_> {
        let fd = if self.thread.is_some() { self.arrived.woken.as_fd() } else { self.arrived.signals.as_fd() };
        PollFd::from_borrowed_fd(fd, PollFlags::IN)
    }
}

/// The signals that have arrived. Two threads read them.
#[derive(Debug)]
struct Arrived {
    signals: SignalFd,
    /// In the order of arrival, without duplicates.
    seen: Mutex<Vec<i32>>,
    /// Readable once a signal has arrived: the other thread may already have read it from the signal descriptor.
    woken: OwnedFd,
}

impl Arrived {
    /// Reads the pending signals, and returns the first signal ever received. A signal sent before this call is never
    /// missed, because the lock makes reading and recording it one step.
    fn first(&self) -> Option<i32> {
        // A poisoned lock is safe to use: no code inside panics between two changes.
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        while let Ok(Some(signal)) = self.signals.read_signal() {
            let number = signal.ssi_signo.cast_signed();
            if seen.contains(&number) {
                end_by(number);
            }
            seen.push(number);
            // This fails only if the counter overflows, after 2^64 signals.
            let _ = rustix::io::write(&self.woken, &1_u64.to_ne_bytes());
        }
        seen.first().copied()
    }
}
