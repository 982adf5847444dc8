//! Descriptors that were inherited from the parent process, such as the one that `3> file` of a shell opens.

use std::os::fd::{FromRawFd, OwnedFd, RawFd};

use nix::errno::Errno;

/// fcntl(2) `F_DUPFD_CLOEXEC`: duplicates a descriptor that this process inherited. Both share one file position.
///
/// # Errors
/// `EBADF` where it is not open, or was opened by this program itself: those are all marked `FD_CLOEXEC`.
pub(crate) fn duplicate_inherited(number: RawFd) -> Result<OwnedFd, Errno> {
    // SAFETY: F_GETFD takes a number only; one that is no open descriptor is an error.
    let flags = Errno::result(unsafe { libc::fcntl(number, libc::F_GETFD) })?;
    if flags & libc::FD_CLOEXEC != 0 {
        return Err(Errno::EBADF);
    }
    // SAFETY: F_DUPFD_CLOEXEC takes a number only.
    let copy = Errno::result(unsafe { libc::fcntl(number, libc::F_DUPFD_CLOEXEC, 0) })?;
    // SAFETY: the kernel returned this descriptor just now, so nothing else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(copy) })
}
