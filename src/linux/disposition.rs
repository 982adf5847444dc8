//! What a signal does to this process: sigaction(2), without handlers.

use nix::errno::Errno;
use nix::sys::signal::{SigHandler, Signal, signal};

/// sigaction(2) with `SIG_IGN`: ignores a signal. Programs that this process executes ignore it too.
///
/// # Errors
/// `EINVAL` for SIGKILL and SIGSTOP.
pub(crate) fn ignore(number: Signal) -> Result<(), Errno> {
    // SAFETY: SIG_IGN runs no code of ours, and this program installs no handler that it could replace.
    unsafe { signal(number, SigHandler::SigIgn) }.map(drop)
}
