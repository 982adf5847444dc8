//! shmget(2): finds and creates segments.

use nix::errno::Errno;

use super::error::{Error, Reason};
use super::trace;
use super::uapi::SHM_HUGE_SHIFT;
use crate::values::{Key, Mode, ShmId};

/// The page sizes that `SHM_HUGETLB` can ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HugePages {
    /// The machine's default (`Hugepagesize` in /proc/meminfo).
    Default,
    /// 2 MiB.
    TwoMiB,
    /// 1 GiB.
    OneGiB,
}

/// The properties of a new segment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NewSegment {
    /// Its key, or [`Key::PRIVATE`].
    pub key: Key,
    /// Bytes, from 1 to SHMMAX.
    pub size: u64,
    /// Its permissions.
    pub mode: Mode,
    /// `SHM_HUGETLB`.
    pub huge: Option<HugePages>,
    /// `SHM_NORESERVE`.
    pub no_reserve: bool,
}

impl NewSegment {
    /// Returns a segment of normal pages, with reserved memory.
    pub(crate) fn new(key: Key, size: u64, mode: Mode) -> NewSegment {
        NewSegment { key, size, mode, huge: None, no_reserve: false }
    }
}

/// Finds the segment of a key: shmget(2). Needs no permission on it.
///
/// Returns `None` if there is none (`ENOENT`).
///
/// # Errors
/// `EACCES` of a security module is [`Reason::PermissionDenied`]; `ENOSYS`, of this and every other call,
/// [`Reason::NotSupported`].
///
/// # Panics
/// In debug builds for [`Key::PRIVATE`], because shmget(2) would create a segment.
pub(crate) fn find(key: Key) -> Result<Option<ShmId>, Error> {
    debug_assert!(!key.is_private(), "shmget(IPC_PRIVATE) always creates");
    match shmget(key, 0, 0) {
        Ok(id) => Ok(Some(id)),
        Err(Errno::ENOENT) => Ok(None),
        Err(errno) => Err(Error::new(errno, |_| Reason::Other)),
    }
}

/// Creates a segment, and never returns an existing one: shmget(2) with `IPC_CREAT|IPC_EXCL`.
///
/// # Errors
/// `EEXIST` is [`Reason::Exists`], `EINVAL` [`Reason::SizeOutOfRange`], `ENOSPC` [`Reason::LimitReached`], `ENOMEM`
/// [`Reason::NoMemory`] (for huge pages: none are free), `EPERM` [`Reason::HugePagesDenied`] if huge pages were
/// requested.
pub(crate) fn create(new: &NewSegment) -> Result<ShmId, Error> {
    let mut flags = libc::IPC_CREAT | libc::IPC_EXCL | libc::c_int::from(new.mode.bits());
    if let Some(pages) = new.huge {
        let log2 = match pages {
            HugePages::Default => 0,
            HugePages::TwoMiB => 21,
            HugePages::OneGiB => 30,
        };
        flags |= libc::SHM_HUGETLB | log2 << SHM_HUGE_SHIFT;
    }
    if new.no_reserve {
        flags |= libc::SHM_NORESERVE;
    }
    shmget(new.key, new.size, flags).map_err(|errno| {
        Error::new(errno, |errno| match errno {
            Errno::EEXIST => Reason::Exists,
            Errno::EINVAL => Reason::SizeOutOfRange,
            Errno::ENOSPC => Reason::LimitReached,
            Errno::ENOMEM => Reason::NoMemory,
            Errno::EPERM if new.huge.is_some() => Reason::HugePagesDenied,
            _ => Reason::Other,
        })
    })
}

/// Asks for the segment of a key as most programs do: shmget(2) with the size and the permissions that the program
/// wants, and with `IPC_CREAT` if `creates` is set. Returns an existing segment or, with `creates`, a new one.
///
/// # Errors
/// `ENOENT` is [`Reason::NoSuchSegment`], `EACCES` [`Reason::PermissionDenied`]: the segment's mode denies what `mode`
/// asks for. `EINVAL` is [`Reason::SizeOutOfRange`]: the existing segment is smaller, or the size is out of range. Those
/// of [`create`].
///
/// # Panics
/// In debug builds for [`Key::PRIVATE`], because shmget(2) would create a segment.
pub(crate) fn get(key: Key, size: u64, mode: Mode, creates: bool) -> Result<ShmId, Error> {
    debug_assert!(!key.is_private(), "shmget(IPC_PRIVATE) always creates");
    let create = if creates { libc::IPC_CREAT } else { 0 };
    shmget(key, size, create | libc::c_int::from(mode.bits())).map_err(|errno| {
        Error::new(errno, |errno| match errno {
            Errno::ENOENT => Reason::NoSuchSegment,
            Errno::EINVAL => Reason::SizeOutOfRange,
            Errno::ENOSPC => Reason::LimitReached,
            Errno::ENOMEM => Reason::NoMemory,
            _ => Reason::Other,
        })
    })
}

fn shmget(key: Key, size: u64, flags: libc::c_int) -> Result<ShmId, Errno> {
    #[expect(clippy::cast_possible_truncation, reason = "a size_t has 64 bits: src/lib.rs asserts it")]
    // SAFETY: shmget takes three numbers and does not access our memory.
    let ret = unsafe { libc::shmget(key.as_raw(), size as libc::size_t, flags) };
    let result = Errno::result(ret);
    trace::returned(&result, |f| write!(f, "shmget({}, {size}, {})", trace::key(key), trace::get_flags(flags)));
    result.map(ShmId::from_kernel)
}
