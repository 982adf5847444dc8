//! What is begun, and must not be left behind half done should a signal end us.

use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::thread::{Builder, JoinHandle};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, SigmaskHow, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use super::{end_by, ending_signals};
use crate::linux::uninterrupted;

/// SIGINT, SIGTERM and SIGHUP wait, as long as this lives: what is made meanwhile is made, and known, when they come.
#[derive(Debug)]
pub(crate) struct HeldOff {
    signals: SigSet,
    /// The mask of this thread before.
    before: SigSet,
}

/// Something that is begun, and undone where one of the signals comes while this lives; by that signal we end then.
#[derive(Debug)]
pub(crate) struct Undo {
    /// The thread that waits, and what ends it.
    waiting: Option<(UnixStream, JoinHandle<()>)>,
    /// To be dropped last: the thread must have ended.
    _held_off: HeldOff,
}

impl HeldOff {
    /// Holds off those of the signals that are not ignored. To be called by the only thread there is.
    pub(crate) fn until_dropped() -> HeldOff {
        let signals: SigSet = ending_signals().filter_map(|number| Signal::try_from(number).ok()).collect();
        // It fails for an unknown `how` alone.
        let before = signals.thread_swap_mask(SigmaskHow::SIG_BLOCK).unwrap_or_else(|_| SigSet::empty());
        HeldOff { signals, before }
    }

    /// Has `undo` run should a signal come: by a thread of its own, as this one may wait for a reader or a writer that
    /// never comes. Where there is no room for that, signals end us again as they always do.
    pub(crate) fn undoing(self, undo: impl FnOnce() + Send + 'static) -> Undo {
        let waiting = self.wait_for_one(undo).ok();
        if waiting.is_none() {
            let _ = self.before.thread_set_mask();
        }
        Undo { waiting, _held_off: self }
    }

    fn wait_for_one(&self, undo: impl FnOnce() + Send + 'static) -> io::Result<(UnixStream, JoinHandle<()>)> {
        let signals = SignalFd::with_flags(&self.signals, SfdFlags::SFD_CLOEXEC)?;
        let (done, is_done) = UnixStream::pair()?;
        let waiting = Builder::new().spawn(move || {
            let mut fds = [is_done.as_fd(), signals.as_fd()].map(|fd| PollFd::new(fd, PollFlags::POLLIN));
            let polled = uninterrupted(|| poll(&mut fds, PollTimeout::NONE));
            if polled.is_err() || fds[0].any() == Some(true) {
                return;
            }
            if let Ok(Some(signal)) = uninterrupted(|| signals.read_signal()) {
                undo();
                end_by(signal.ssi_signo.cast_signed());
            }
        })?;
        Ok((done, waiting))
    }
}

impl Drop for HeldOff {
    fn drop(&mut self) {
        // Those that have come meanwhile end us here.
        let _ = self.before.thread_set_mask();
    }
}

impl Drop for Undo {
    fn drop(&mut self) {
        if let Some((done, thread)) = self.waiting.take() {
            drop(done);
            // Where it is undoing already, it ends us.
            let _ = thread.join();
        }
    }
}
