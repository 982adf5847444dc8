//! Signals, taken from signalfd(2): those that ask for an end, and what is undone or forwarded when they come.

mod blocked;
mod shutdown;
mod thread;
mod undo;

use nix::sys::signal::{SigSet, Signal, raise};

pub(crate) use blocked::BlockedSignals;
pub(crate) use shutdown::{ShutdownSignals, Woken};
pub(crate) use undo::UndoOnSignal;

use crate::linux;

/// The signals that this process ignores, and a command that it runs shall not: the standard library ignores SIGPIPE
/// before `main`, [`ignore_file_size_limit`] the other.
pub(crate) const IGNORED: [Signal; 2] = [Signal::SIGPIPE, Signal::SIGXFSZ];

/// Ignores SIGXFSZ: a write past RLIMIT_FSIZE then fails with `EFBIG` instead of ending the process, so that the error
/// is reported and what was begun is undone.
pub(crate) fn ignore_file_size_limit() {
    // It can only fail for a signal that cannot be ignored.
    let _ = linux::ignore(Signal::SIGXFSZ);
}

/// Ends the process by a signal's default action, so that whoever waits for it sees why it ended. Returns only where the
/// signal cannot end the process: the first one of a pid namespace.
pub(crate) fn end_by(number: i32) {
    let Ok(signal) = Signal::try_from(number) else { return };
    // Neither fails for a signal that can be caught; where one did, the exit status would still say 128+N.
    let _ = linux::restore_default(signal);
    let _ = SigSet::from(signal).thread_unblock();
    let _ = raise(signal);
}
