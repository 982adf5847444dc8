//! The meaning of a System V call's errno.

use std::fmt;

use nix::errno::Errno;

use crate::linux::cause;

/// The meaning of an errno for the call that returned it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reason {
    /// `EEXIST`: the key is taken.
    Exists,
    /// `EINVAL` or `EIDRM` of a call with an identifier, `ENOENT` of a call with a key.
    NoSuchSegment,
    /// `EACCES`: the mode does not allow it.
    PermissionDenied,
    /// `EPERM` of shmctl(2): neither owner nor creator, nor privileged.
    NotPermitted,
    /// `EPERM` of shmget(2) with `SHM_HUGETLB`: neither `CAP_IPC_LOCK` nor in the group of vm.hugetlb_shm_group.
    HugePagesDenied,
    /// `EINVAL` of an IPC_SET on a segment that exists: no such uid or gid in this user namespace.
    InvalidOwner,
    /// `EINVAL` of shmget(2): less than one byte, or more than SHMMAX.
    SizeOutOfRange,
    /// `ENOSPC`: SHMMNI or SHMALL is reached.
    LimitReached,
    /// `ENOMEM`.
    NoMemory,
    /// RLIMIT_MEMLOCK is reached: `ENOMEM` of SHM_LOCK, or `EPERM` for the owner or creator if the limit is 0.
    LockLimitReached,
    /// shmat(2) with an address, on a segment that exists. `EINVAL`: misaligned, or something is mapped there; `EPERM`:
    /// below vm.mmap_min_addr; `ENOMEM`: beyond the address space.
    BadAddress,
    /// `ENOSYS`: the kernel has no System V IPC.
    NotSupported,
    /// Anything else. The errno says which.
    Other,
}

/// The failure of a call, with its meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Error {
    /// The meaning.
    pub reason: Reason,
    /// The bare errno.
    pub errno: Errno,
}

impl Error {
    pub(super) fn new(errno: Errno, translate: impl FnOnce(Errno) -> Reason) -> Error {
        let reason = match errno {
            Errno::ENOSYS => Reason::NotSupported,
            Errno::EACCES => Reason::PermissionDenied,
            _ => translate(errno),
        };
        Error { reason, errno }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.reason {
            Reason::Exists => "it exists already",
            Reason::NoSuchSegment => "there is no such segment",
            Reason::PermissionDenied => "permission denied",
            Reason::NotPermitted => "only its owner, its creator or root may do that",
            Reason::HugePagesDenied => "you may not use huge pages",
            Reason::InvalidOwner => "that user or group does not exist in this user namespace",
            Reason::SizeOutOfRange => "the kernel does not allow a segment of that size",
            Reason::LimitReached => "a limit on shared memory is reached",
            Reason::NoMemory => "there is not enough memory",
            Reason::LockLimitReached => "the limit on locked memory (ulimit -l) is reached",
            Reason::BadAddress => match self.errno {
                Errno::EPERM => "the kernel forbids mappings there (sysctl vm.mmap_min_addr)",
                Errno::ENOMEM => "the segment would end beyond the address space",
                _ => "the address is misaligned, or something is mapped there",
            },
            Reason::NotSupported => "this kernel has no System V shared memory",
            Reason::Other => return f.write_str(&cause(&self.errno.into())),
        })
    }
}

impl std::error::Error for Error {}

/// Translates an errno of a call that was given a segment's identifier.
pub(super) fn by_id(errno: Errno) -> Error {
    Error::new(errno, |errno| match errno {
        Errno::EINVAL | Errno::EIDRM => Reason::NoSuchSegment,
        Errno::EPERM => Reason::NotPermitted,
        _ => Reason::Other,
    })
}
