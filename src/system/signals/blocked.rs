//! Signals that stay pending until they are read.

use std::io;

use nix::errno::Errno;
use nix::sys::signal::{SigSet, SigmaskHow, Signal, sigprocmask};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use super::UndoOnSignal;
use crate::linux;

/// Blocks signals in this thread, and in the threads that it starts, until dropped. Signals that arrived before that
/// and were not read take effect on drop.
#[derive(Debug)]
pub(crate) struct BlockedSignals {
    signals: SigSet,
    before: SigSet,
    /// Why the signals could not be blocked.
    failure: Option<Errno>,
}

impl BlockedSignals {
    /// Blocks these signals with sigprocmask(2). If that fails, [`BlockedSignals::descriptor`] returns the error: a
    /// signal that is not blocked never reaches a descriptor, and who waits for it there would wait for ever.
    ///
    /// The caller must be the only thread: another thread would still receive them.
    pub(crate) fn block(signals: impl IntoIterator<Item = Signal>) -> BlockedSignals {
        let signals: SigSet = signals.into_iter().collect();
        let mut before = SigSet::empty();
        // Not `thread_swap_mask`: it does not see the failure of pthread_sigmask(3), which sets no errno.
        let failure = sigprocmask(SigmaskHow::SIG_BLOCK, Some(&signals), Some(&mut before)).err();
        BlockedSignals { signals, before, failure }
    }

    /// Blocks SIGINT, SIGTERM and SIGHUP, except those that the parent ignores for us. nohup(1) does so, and a shell
    /// does for its background jobs.
    pub(crate) fn shutdown() -> BlockedSignals {
        let all = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP];
        BlockedSignals::block(all.into_iter().filter(|signal| !linux::is_ignored(*signal)))
    }

    /// Opens a descriptor with signalfd(2) that is readable when one of the signals has arrived. Reading it never
    /// blocks.
    ///
    /// # Errors
    /// `EMFILE`, `ENFILE`, `ENOMEM`; that of blocking the signals, which a seccomp profile can cause.
    pub(crate) fn descriptor(&self) -> io::Result<SignalFd> {
        if let Some(errno) = self.failure {
            return Err(errno.into());
        }
        Ok(SignalFd::with_flags(&self.signals, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?)
    }

    /// Returns the earlier signal mask, with which a command is started.
    pub(crate) fn before(&self) -> &SigSet {
        &self.before
    }

    /// Runs `undo` if one of the signals arrives before the result is dropped, then ends the process by that signal. If
    /// one has already arrived, that happens at once.
    pub(crate) fn undo_with(self, undo: impl FnOnce() + Send + 'static) -> UndoOnSignal {
        UndoOnSignal::new(self, undo)
    }
}

impl Drop for BlockedSignals {
    fn drop(&mut self) {
        if self.failure.is_none() {
            // What could be blocked can be unblocked.
            let _ = self.before.thread_set_mask();
        }
    }
}
