//! Leaving what a process shares with its parent, so that nothing waits for its end.

use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use nix::unistd::setsid;
use rustix::fs::{Mode, OFlags, open};
use rustix::process::chdir;
use rustix::stdio::{dup2_stderr, dup2_stdin, dup2_stdout};

/// Moves this process to its own session and to the root directory, replaces its standard streams by /dev/null, and closes
/// all other descriptors except `kept`. Allocates nothing and takes no lock.
///
/// The other descriptors stay open before Linux 5.9.
///
/// # Safety
/// This process must use no descriptor that was opened before, except `kept`.
pub(super) unsafe fn detach(kept: BorrowedFd<'_>) {
    // A failure of any of these calls is harmless.
    let _ = setsid();
    let _ = chdir("/");
    let kept = kept.as_raw_fd();
    if let Ok(null) = open("/dev/null", OFlags::RDWR, Mode::empty()) {
        let replace = [dup2_stdin::<&OwnedFd>, dup2_stdout::<&OwnedFd>, dup2_stderr::<&OwnedFd>];
        for (_, replace) in (0..).zip(replace).filter(|(standard, _)| *standard != kept) {
            let _ = replace(&null);
        }
    }
    let others = kept.cast_unsigned();
    for (first, last) in [(3, others.saturating_sub(1)), (others.saturating_add(1).max(3), u32::MAX)] {
        if first <= last {
            // SAFETY: `kept` is in neither range, and the caller guarantees that nothing uses the others.
            let _ = unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) };
        }
    }
}
