//! How this process handles a signal: sigaction(2), without handlers.

use std::mem::MaybeUninit;
use std::ptr;

use nix::errno::Errno;
use nix::sys::signal::{SigHandler, Signal, signal};

/// Ignores a signal: sigaction(2) with `SIG_IGN`. Programs that this process executes ignore it too.
///
/// # Errors
/// `EINVAL` for SIGKILL and SIGSTOP.
pub(crate) fn ignore(number: Signal) -> Result<(), Errno> {
    // SAFETY: SIG_IGN runs no code of ours, and this program installs no handler that it could replace.
    unsafe { signal(number, SigHandler::SigIgn) }.map(drop)
}

/// Restores a signal's default action: sigaction(2) with `SIG_DFL`.
///
/// # Errors
/// `EINVAL` for SIGKILL and SIGSTOP.
pub(crate) fn restore_default(number: Signal) -> Result<(), Errno> {
    // SAFETY: SIG_DFL runs no code of ours, and this program installs no handler that it could replace. That of the
    // standard library for SIGSEGV only reports a stack overflow.
    unsafe { signal(number, SigHandler::SigDfl) }.map(drop)
}

/// Returns whether a signal is ignored. nohup(1) ignores SIGHUP, and a shell may ignore signals for its background
/// jobs.
pub(crate) fn is_ignored(number: Signal) -> bool {
    let mut action = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: without a new action, sigaction only fills in `action`, which has room for it.
    let ret = unsafe { libc::sigaction(number as libc::c_int, ptr::null(), action.as_mut_ptr()) };
    // SAFETY: all zeros is a valid sigaction, even if the kernel has not written to it.
    let action = unsafe { action.assume_init() };
    ret == 0 && action.sa_sigaction == libc::SIG_IGN
}
