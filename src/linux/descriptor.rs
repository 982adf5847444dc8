//! Descriptors that were inherited from the parent process, such as the one that `3> file` of a shell opens.

use std::os::fd::{FromRawFd, OwnedFd, RawFd};

use nix::errno::Errno;

/// Duplicates a descriptor that this process inherited: fcntl(2) `F_DUPFD_CLOEXEC`. Both share one file position.
///
/// # Errors
/// `EBADF` if the descriptor is not open, or if this program opened it: all of its own descriptors are `FD_CLOEXEC`.
pub(crate) fn duplicate_inherited(number: RawFd) -> Result<OwnedFd, Errno> {
    // SAFETY: F_GETFD takes only a number; for a number that is not an open descriptor it fails.
    let flags = Errno::result(unsafe { libc::fcntl(number, libc::F_GETFD) })?;
    if flags & libc::FD_CLOEXEC != 0 {
        return Err(Errno::EBADF);
    }
    // SAFETY: F_DUPFD_CLOEXEC takes only a number.
    let copy = Errno::result(unsafe { libc::fcntl(number, libc::F_DUPFD_CLOEXEC, 0) })?;
    // SAFETY: the kernel has just returned this descriptor, so nothing else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(copy) })
}
