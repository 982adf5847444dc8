//! What namespaces want from the kernel that has no safe name yet: ioctl_ns(2).

use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};

use nix::errno::Errno;

nix::ioctl_none!(
    /// include/uapi/linux/nsfs.h
    ns_get_userns,
    0xb7,
    1
);

/// ioctl_ns(2) `NS_GET_USERNS`: the user namespace that owns a namespace.
///
/// Errors: `EPERM` where it is no descendant of our own user namespace, `ENOTTY` where this is no namespace.
pub fn owner_of(namespace: impl AsFd) -> Result<OwnedFd, Errno> {
    // SAFETY: NS_GET_USERNS takes no argument and touches no memory of ours; another file's driver that takes the number
    // for its own finds no argument either. The descriptor is open as long as it is borrowed.
    let owner = unsafe { ns_get_userns(namespace.as_fd().as_raw_fd()) }?;
    // SAFETY: a call that succeeded returned a new descriptor, which nobody else knows.
    Ok(unsafe { OwnedFd::from_raw_fd(owner) })
}
