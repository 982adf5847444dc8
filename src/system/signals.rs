//! Signals that request shutdown, read through signalfd(2), and the work that is undone when one arrives.

mod blocked;
mod shutdown;
mod thread;
mod undo;

use nix::sys::signal::{SigSet, Signal, raise};

pub(crate) use blocked::BlockedSignals;
pub(crate) use shutdown::{ShutdownSignals, Woken};
pub(crate) use undo::UndoOnSignal;

use crate::linux;

/// The signals that this process ignores and that a command it runs must not ignore. The standard library ignores
/// SIGPIPE before `main`; [`ignore_file_size_limit`] ignores SIGXFSZ.
pub(crate) const IGNORED: [Signal; 2] = [Signal::SIGPIPE, Signal::SIGXFSZ];

/// Ignores SIGXFSZ. A write past RLIMIT_FSIZE then fails with `EFBIG` instead of ending the process, so that the error
/// is reported and incomplete work is undone.
pub(crate) fn ignore_file_size_limit() {
    // This fails only for signals that cannot be ignored.
    let _ = linux::ignore(Signal::SIGXFSZ);
}

/// Ends the process by a signal's default action, so that its parent sees why it ended. Returns only if the signal
/// cannot end the process: in the first process of a pid namespace.
pub(crate) fn end_by(number: i32) {
    let Ok(signal) = Signal::try_from(number) else { return };
    // Neither call fails for a signal that can be caught. If one did, the exit status would still be 128+N.
    let _ = linux::restore_default(signal);
    let _ = SigSet::from(signal).thread_unblock();
    let _ = raise(signal);
}
