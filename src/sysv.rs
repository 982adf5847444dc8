//! The kernel: System V shared memory, one function a verb.
//!
//! This module and the files below `src/sysv/` are the only ones with `unsafe`. shmctl(2) is split into its
//! commands, and each errno is given its meaning here, where the call is known: `EINVAL` alone means three things.

#![allow(unsafe_code)]

mod attachment;
mod contents;
mod ftok;
mod limits;
mod maps;
mod namespace;
mod procmap;
mod segment;
mod trace;

use std::fmt;
use std::io;
use std::mem::MaybeUninit;
use std::ptr;

pub(crate) use nix::errno::Errno;
use nix::sys::resource::{Resource, getrlimit};
use nix::unistd::geteuid;

pub(crate) use attachment::{Access, Attachment, Placement, attach};
pub(crate) use contents::{Contents, Extent, MoveError, Stream};
pub(crate) use ftok::ftok;
pub(crate) use limits::{Limits, Usage, limits, usage};
pub(crate) use maps::SegmentMapping;
pub use maps::{KernelMounts, Mapping};
pub(crate) use namespace::{owner_of, written_by_child};
pub(crate) use procmap::{MapsReader, share_memory};
pub(crate) use segment::Identity;
pub use segment::{Segment, Segments, Table};
pub(crate) use trace::{is_traced, trace_to};

use crate::values::{Key, Mode, ShmId};

// Linux's values (include/uapi/linux/shm.h), which libc does not have.
const SHM_STAT_ANY: libc::c_int = 15;
const SHM_HUGE_SHIFT: libc::c_int = 26;

/// What an errno means for the call that gave it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reason {
    /// `EEXIST`: the key is taken.
    Exists,
    /// `EINVAL` or `EIDRM` where an identifier was given, `ENOENT` where a key was.
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
    /// `ENOMEM` of a lock, or `EPERM` of the owner's or creator's where it is 0: RLIMIT_MEMLOCK is reached.
    LockLimitReached,
    /// shmat(2) with an address, on a segment that exists. `EINVAL`: misaligned, or something is mapped there; `EPERM`:
    /// below vm.mmap_min_addr; `ENOMEM`: beyond the address space.
    BadAddress,
    /// `ENOSYS`: a kernel without System V IPC.
    NotSupported,
    /// Anything else; the errno says it.
    Other,
}

/// A call that failed, and what that means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Error {
    /// The meaning.
    pub reason: Reason,
    /// The bare errno.
    pub errno: Errno,
}

impl Error {
    fn new(errno: Errno, translate: impl FnOnce(Errno) -> Reason) -> Error {
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
            Reason::SizeOutOfRange => "the kernel does not make a segment of that size",
            Reason::LimitReached => "a limit on shared memory is reached",
            Reason::NoMemory => "there is not enough memory",
            Reason::LockLimitReached => "the limit on locked memory (ulimit -l) is reached",
            Reason::BadAddress => match self.errno {
                Errno::EPERM => "the kernel lets nothing be mapped there (sysctl vm.mmap_min_addr)",
                Errno::ENOMEM => "the segment would end beyond the address space",
                _ => "the address is misaligned, or something is mapped there",
            },
            Reason::NotSupported => "this kernel has no System V shared memory",
            Reason::Other => return f.write_str(&cause(&self.errno.into())),
        })
    }
}

impl std::error::Error for Error {}

/// An error's own words: for an errno those of strerror(3), which are strace's and everybody's. nix has others for some
/// ("Try again").
pub(crate) fn cause(error: &io::Error) -> String {
    match error.raw_os_error() {
        // Rust adds the number.
        Some(errno) => error.to_string().replace(&format!(" (os error {errno})"), ""),
        None => error.to_string(),
    }
}

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

/// What a new segment shall be.
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

/// shmget(2): finds the segment of a key. Needs no permission on it.
///
/// `None` (`ENOENT`) where there is none. [`Key::PRIVATE`] finds nothing, and is not to be asked for: it would create.
///
/// Errors: `EACCES` of a security module is [`Reason::PermissionDenied`], `ENOSYS` (as of every call here)
/// [`Reason::NotSupported`].
pub(crate) fn find(key: Key) -> Result<Option<ShmId>, Error> {
    debug_assert!(!key.is_private(), "shmget(IPC_PRIVATE) always creates");
    match shmget(key, 0, 0) {
        Ok(id) => Ok(Some(id)),
        Err(Errno::ENOENT) => Ok(None),
        Err(errno) => Err(Error::new(errno, |_| Reason::Other)),
    }
}

/// shmget(2) with `IPC_CREAT|IPC_EXCL`: makes a segment, and never takes one that exists.
///
/// Errors: `EEXIST` is [`Reason::Exists`], `EINVAL` [`Reason::SizeOutOfRange`], `ENOSPC` [`Reason::LimitReached`],
/// `ENOMEM` [`Reason::NoMemory`] (for huge pages: none are free), `EPERM` [`Reason::HugePagesDenied`] where there were to
/// be huge pages.
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

/// shmctl(2) `IPC_STAT`: one segment's state. Needs read permission.
///
/// The kernel does not tell [`Segment::rss`] and [`Segment::swap`] here: they are `None`.
///
/// Errors: `EACCES` is [`Reason::PermissionDenied`], `EINVAL` and `EIDRM` are [`Reason::NoSuchSegment`].
pub(crate) fn stat(id: ShmId) -> Result<Segment, Error> {
    let (_, ds) = shmctl_read(id.as_raw(), libc::IPC_STAT, "IPC_STAT").map_err(by_id)?;
    Ok(Segment::from_status(id, &ds))
}

/// shmctl(2) `SHM_STAT_ANY` (Linux 4.17): one segment's state, without any permission on it.
///
/// The call wants an index, and takes the low bits of what it is given for one (ipc/util.c, `ipc_obtain_object_idr`): an
/// identifier's are its index, however many they are. It returns the identifier found there, so a reused index is told
/// from the segment that was meant.
///
/// Errors: `EINVAL` and `EIDRM` are [`Reason::NoSuchSegment`], and so is an older kernel's `EINVAL`; `EACCES` of a security
/// module is [`Reason::PermissionDenied`].
pub(crate) fn stat_any(id: ShmId) -> Result<Segment, Error> {
    match shmctl_read(id.as_raw(), SHM_STAT_ANY, "SHM_STAT_ANY") {
        Ok((found, ds)) if found == id.as_raw() => Ok(Segment::from_status(id, &ds)),
        Ok(_) => Err(by_id(Errno::EINVAL)),
        Err(errno) => Err(by_id(errno)),
    }
}

/// shmctl(2) `SHM_STAT_ANY` of each index: all segments of the namespace, in the order of the table and in a third of
/// its time, but without [`Segment::rss`] and [`Segment::swap`].
///
/// `None` where the table is the better way: the indices in use are sparse, the kernel is older than 4.17, or a security
/// module forbids a look at one of them, which the table has nevertheless.
pub(crate) fn stat_all() -> Option<Vec<Segment>> {
    let (highest, usage) = limits::highest_index().ok()?;
    // An empty index costs a third of what a row of the table does.
    if u64::from(highest.cast_unsigned()) > 4 * usage.segments {
        return None;
    }
    let mut found = Vec::new();
    for index in 0..=highest {
        match shmctl_read(index, SHM_STAT_ANY, "SHM_STAT_ANY") {
            Ok((id, ds)) => found.push(Segment::from_status(ShmId::from_kernel(id), &ds)),
            // Nothing has this index.
            Err(Errno::EINVAL | Errno::EIDRM) => {}
            Err(_) => return None,
        }
    }
    (usage.segments == 0 || !found.is_empty()).then_some(found)
}

/// shmctl(2) `IPC_RMID`: removes a segment; one that is attached is marked for destruction, and goes with its last
/// detach. The key is free again at once. A second call on a marked segment succeeds.
///
/// Errors: `EINVAL` and `EIDRM` are [`Reason::NoSuchSegment`], `EPERM` is [`Reason::NotPermitted`].
pub(crate) fn remove(id: ShmId) -> Result<(), Error> {
    shmctl_plain(id, libc::IPC_RMID, "IPC_RMID").map_err(by_id)
}

/// shmctl(2) `IPC_SET`: gives a segment this owner, group and mode, and moves its ctime.
///
/// Errors: `EPERM` is [`Reason::NotPermitted`], `EINVAL` and `EIDRM` are [`Reason::NoSuchSegment`], or
/// [`Reason::InvalidOwner`] where the segment is there.
pub(crate) fn set(id: ShmId, uid: u32, gid: u32, mode: Mode) -> Result<(), Error> {
    let mut ds = empty_status();
    ds.shm_perm.uid = uid;
    ds.shm_perm.gid = gid;
    ds.shm_perm.mode = mode.bits();
    // SAFETY: `ds` is a whole shmid_ds, of which IPC_SET reads three fields and which it does not write.
    let ret = unsafe { libc::shmctl(id.as_raw(), libc::IPC_SET, &raw mut ds) };
    let result = Errno::result(ret);
    trace::returned(&result, |f| {
        write!(f, "shmctl({id}, IPC_SET, {{shm_perm={{uid={uid}, gid={gid}, mode={}}}}})", trace::ModeBits(mode.bits()))
    });
    result.map(drop).map_err(|errno| match errno {
        Errno::EINVAL if exists(id) => Error { reason: Reason::InvalidOwner, errno },
        errno => by_id(errno),
    })
}

/// shmctl(2) `SHM_LOCK`: the pages that are resident, or become so, are not swapped out.
///
/// Errors: `EINVAL` and `EIDRM` are [`Reason::NoSuchSegment`], `ENOMEM` is [`Reason::LockLimitReached`], `EPERM`
/// [`Reason::NotPermitted`], or [`Reason::LockLimitReached`] where RLIMIT_MEMLOCK is 0 for its owner or creator.
pub(crate) fn lock(id: ShmId) -> Result<(), Error> {
    shmctl_plain(id, libc::SHM_LOCK, "SHM_LOCK").map_err(|errno| match errno {
        Errno::ENOMEM => Error { reason: Reason::LockLimitReached, errno },
        // ipc/shm.c answers like this to those who may lock it, too, where they may lock nothing at all.
        Errno::EPERM if getrlimit(Resource::RLIMIT_MEMLOCK).is_ok_and(|(limit, _)| limit == 0) && is_ours(id) => {
            Error { reason: Reason::LockLimitReached, errno }
        }
        errno => by_id(errno),
    })
}

/// shmctl(2) `SHM_UNLOCK`: pages may be swapped out again.
///
/// Errors: `EINVAL` and `EIDRM` are [`Reason::NoSuchSegment`], `EPERM` is [`Reason::NotPermitted`].
pub(crate) fn unlock(id: ShmId) -> Result<(), Error> {
    shmctl_plain(id, libc::SHM_UNLOCK, "SHM_UNLOCK").map_err(by_id)
}

/// A page's size, in bytes: sysconf(3) `_SC_PAGESIZE`.
pub(crate) fn page_size() -> u64 {
    procfs::page_size()
}

/// The meaning of an errno where a segment was named by its identifier.
fn by_id(errno: Errno) -> Error {
    Error::new(errno, |errno| match errno {
        Errno::EINVAL | Errno::EIDRM => Reason::NoSuchSegment,
        Errno::EPERM => Reason::NotPermitted,
        _ => Reason::Other,
    })
}

/// Whether a segment is there, after an `EINVAL` that can mean its identifier or another argument. What may not be
/// read is there, too.
fn exists(id: ShmId) -> bool {
    !matches!(stat(id), Err(Error { reason: Reason::NoSuchSegment, .. }))
}

/// Whether the caller is the owner or the creator.
fn is_ours(id: ShmId) -> bool {
    let euid = geteuid().as_raw();
    stat_any(id).is_ok_and(|segment| segment.uid == euid || segment.cuid == euid)
}

fn shmget(key: Key, size: u64, flags: libc::c_int) -> Result<ShmId, Errno> {
    // A size is a size_t, which has 64 bits wherever this crate builds (src/lib.rs asserts it).
    #[expect(clippy::cast_possible_truncation)]
    // SAFETY: shmget takes three numbers and touches no memory of ours.
    let ret = unsafe { libc::shmget(key.as_raw(), size as libc::size_t, flags) };
    let result = Errno::result(ret);
    trace::returned(&result, |f| write!(f, "shmget({}, {size}, {})", trace::key(key), trace::GetFlags(flags)));
    result.map(ShmId::from_kernel)
}

fn shmctl_plain(id: ShmId, command: libc::c_int, name: &str) -> Result<(), Errno> {
    // SAFETY: called with IPC_RMID, SHM_LOCK and SHM_UNLOCK only, which look at no buffer.
    let ret = unsafe { libc::shmctl(id.as_raw(), command, ptr::null_mut()) };
    let result = Errno::result(ret);
    trace::returned(&result, |f| write!(f, "shmctl({id}, {name}, NULL)"));
    result.map(drop)
}

fn shmctl_read(id: libc::c_int, command: libc::c_int, name: &str) -> Result<(libc::c_int, libc::shmid_ds), Errno> {
    let mut ds = empty_status();
    // SAFETY: called with IPC_STAT and SHM_STAT_ANY only, which write one shmid_ds; `ds` is one, and ours.
    let ret = unsafe { libc::shmctl(id, command, &raw mut ds) };
    let result = Errno::result(ret);
    trace::returned(&result, |f| match result {
        Ok(_) => write!(f, "shmctl({id}, {name}, {})", trace::Status(&ds)),
        Err(_) => write!(f, "shmctl({id}, {name}, {:p})", &raw const ds),
    });
    result.map(|ret| (ret, ds))
}

fn empty_status() -> libc::shmid_ds {
    // SAFETY: shmid_ds is numbers and padding, for which all zeros is a value.
    unsafe { MaybeUninit::zeroed().assume_init() }
}

/// Makes a call again where a signal came between (`EINTR`, signal(7)).
pub(crate) fn uninterrupted<T, E: Into<io::Error>>(mut call: impl FnMut() -> Result<T, E>) -> io::Result<T> {
    loop {
        match call().map_err(E::into) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}
