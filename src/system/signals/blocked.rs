//! Signals that wait until they are read.

use std::io;

use nix::sys::signal::{SigSet, SigmaskHow, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use super::UndoOnSignal;
use crate::linux;

/// Signals that are blocked in this thread, and in those that it starts, until this is dropped. Those that arrived
/// meanwhile and were not read take effect then.
#[derive(Debug)]
pub(crate) struct BlockedSignals {
    signals: SigSet,
    before: SigSet,
}

impl BlockedSignals {
    /// sigprocmask(2): blocks these signals.
    ///
    /// The thread that calls this must be the only one: another thread would still take them.
    pub(crate) fn block(signals: impl IntoIterator<Item = Signal>) -> BlockedSignals {
        let signals: SigSet = signals.into_iter().collect();
        // It fails for an unknown `how` alone.
        let before = signals.thread_swap_mask(SigmaskHow::SIG_BLOCK).unwrap_or_else(|_| SigSet::empty());
        BlockedSignals { signals, before }
    }

    /// Blocks SIGINT, SIGTERM and SIGHUP, except those that the parent has set to be ignored, as nohup(1) does, and a
    /// shell for its background jobs.
    pub(crate) fn shutdown() -> BlockedSignals {
        let all = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP];
        BlockedSignals::block(all.into_iter().filter(|signal| !linux::is_ignored(*signal)))
    }

    /// signalfd(2): opens a descriptor that is readable when one of the signals has arrived. Reading it never blocks.
    ///
    /// # Errors
    /// `EMFILE`, `ENFILE`, `ENOMEM`.
    pub(crate) fn descriptor(&self) -> io::Result<SignalFd> {
        Ok(SignalFd::with_flags(&self.signals, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?)
    }

    /// The mask before, which a command that is run starts with.
    pub(crate) fn before(&self) -> &SigSet {
        &self.before
    }

    /// Runs `undo` if one of the signals arrives before the result is dropped, and then ends by that signal. If one
    /// arrived already, that happens at once.
    pub(crate) fn undo_with(self, undo: impl FnOnce() + Send + 'static) -> UndoOnSignal {
        UndoOnSignal::new(self, undo)
    }
}

impl Drop for BlockedSignals {
    fn drop(&mut self) {
        // It fails for an unknown `how` alone.
        let _ = self.before.thread_set_mask();
    }
}
