//! What a signal does to this process: sigaction(2), without handlers.

use std::mem::MaybeUninit;
use std::ptr;

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

/// sigaction(2) with `SIG_DFL`: gives a signal its default action.
///
/// # Errors
/// `EINVAL` for SIGKILL and SIGSTOP.
pub(crate) fn restore_default(number: Signal) -> Result<(), Errno> {
    // SAFETY: SIG_DFL runs no code of ours, and this program installs no handler that it could replace.
    unsafe { signal(number, SigHandler::SigDfl) }.map(drop)
}

/// Returns whether a signal is ignored, as by nohup(1), or by a shell for its background jobs.
pub(crate) fn is_ignored(number: Signal) -> bool {
    let mut action = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: without a new action, sigaction only fills in `action`, which has room for it.
    let ret = unsafe { libc::sigaction(number as libc::c_int, ptr::null(), action.as_mut_ptr()) };
    // SAFETY: all zeros is a valid sigaction, whether the kernel has written over them or not.
    let action = unsafe { action.assume_init() };
    ret == 0 && action.sa_sigaction == libc::SIG_IGN
}
