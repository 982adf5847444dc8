//! shmctl(2): reading and changing a segment's state. One function for each command of the call.

use std::mem::MaybeUninit;
use std::ptr;

use nix::errno::Errno;
use nix::sys::resource::{Resource, getrlimit};
use nix::unistd::geteuid;

use super::error::{Error, Reason, by_id};
use super::uapi::{SHM_STAT, SHM_STAT_ANY};
use super::{Segment, trace};
use crate::values::{Mode, ShmId};

/// The commands that read a `struct shmid_ds`.
#[derive(Debug, Clone, Copy)]
#[repr(i32)]
pub(super) enum Read {
    /// One segment, by its identifier. Needs read permission.
    IpcStat = libc::IPC_STAT,
    /// One segment, by its index. Needs read permission.
    ShmStat = SHM_STAT,
    /// One segment, by its index. Needs no permission (Linux 4.17).
    ShmStatAny = SHM_STAT_ANY,
}

/// The commands that use no buffer.
#[derive(Debug, Clone, Copy)]
#[repr(i32)]
enum Change {
    IpcRmid = libc::IPC_RMID,
    ShmLock = libc::SHM_LOCK,
    ShmUnlock = libc::SHM_UNLOCK,
}

/// Returns one segment's state: shmctl(2) `IPC_STAT`. Needs read permission.
///
/// [`Segment::rss`] and [`Segment::swap`] are `None`: only the kernel's table has them.
///
/// # Errors
/// `EACCES` is [`Reason::PermissionDenied`], `EINVAL` and `EIDRM` are [`Reason::NoSuchSegment`].
pub(crate) fn stat(id: ShmId) -> Result<Segment, Error> {
    let (_, ds) = read(id.as_raw(), Read::IpcStat).map_err(by_id)?;
    Ok(Segment::from_status(id, &ds))
}

/// Returns one segment's state without any permission on it: shmctl(2) `SHM_STAT_ANY` (Linux 4.17).
///
/// The call takes an index, and uses only the low bits of its argument (ipc/util.c, `ipc_obtain_object_idr`). The low
/// bits of an identifier are its index. The call returns the identifier found there, which distinguishes the requested
/// segment from a later one at the same index.
///
/// # Errors
/// `EINVAL` and `EIDRM` are [`Reason::NoSuchSegment`], and so is an older kernel's `EINVAL`; `EACCES` of a security
/// module is [`Reason::PermissionDenied`].
pub(crate) fn stat_any(id: ShmId) -> Result<Segment, Error> {
    match read(id.as_raw(), Read::ShmStatAny) {
        Ok((found, ds)) if found == id.as_raw() => Ok(Segment::from_status(id, &ds)),
        Ok(_) => Err(by_id(Errno::EINVAL)),
        Err(errno) => Err(by_id(errno)),
    }
}

/// Removes a segment: shmctl(2) `IPC_RMID`. An attached segment is marked for destruction, and its last detach destroys
/// it. The key is free at once. A second call on a marked segment succeeds.
///
/// # Errors
/// `EINVAL` and `EIDRM` are [`Reason::NoSuchSegment`], `EPERM` is [`Reason::NotPermitted`].
pub(crate) fn remove(id: ShmId) -> Result<(), Error> {
    change(id, Change::IpcRmid).map_err(by_id)
}

/// Sets a segment's owner, group and mode, and updates its ctime: shmctl(2) `IPC_SET`.
///
/// # Errors
/// `EPERM` is [`Reason::NotPermitted`]. `EINVAL` and `EIDRM` are [`Reason::NoSuchSegment`], or [`Reason::InvalidOwner`]
/// if the segment exists.
pub(crate) fn set(id: ShmId, uid: u32, gid: u32, mode: Mode) -> Result<(), Error> {
    let mut ds = empty_status();
    ds.shm_perm.uid = uid;
    ds.shm_perm.gid = gid;
    ds.shm_perm.mode = mode.bits();
    // SAFETY: `ds` is a complete shmid_ds, of which IPC_SET reads three fields and writes none.
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

/// Keeps a segment's pages from being swapped out, including those that become resident later: shmctl(2) `SHM_LOCK`.
///
/// # Errors
/// `EINVAL` and `EIDRM` are [`Reason::NoSuchSegment`], `ENOMEM` is [`Reason::LockLimitReached`]. `EPERM` is
/// [`Reason::NotPermitted`], or [`Reason::LockLimitReached`] if RLIMIT_MEMLOCK is 0 for the owner or creator.
pub(crate) fn lock(id: ShmId) -> Result<(), Error> {
    change(id, Change::ShmLock).map_err(|errno| match errno {
        Errno::ENOMEM => Error { reason: Reason::LockLimitReached, errno },
        // ipc/shm.c returns EPERM to the owner too, if RLIMIT_MEMLOCK is 0.
        Errno::EPERM if getrlimit(Resource::RLIMIT_MEMLOCK).is_ok_and(|(limit, _)| limit == 0) && is_ours(id) => {
            Error { reason: Reason::LockLimitReached, errno }
        }
        errno => by_id(errno),
    })
}

/// Allows a segment's pages to be swapped out again: shmctl(2) `SHM_UNLOCK`.
///
/// # Errors
/// `EINVAL` and `EIDRM` are [`Reason::NoSuchSegment`], `EPERM` is [`Reason::NotPermitted`].
pub(crate) fn unlock(id: ShmId) -> Result<(), Error> {
    change(id, Change::ShmUnlock).map_err(by_id)
}

/// Returns whether a segment exists. This resolves an `EINVAL` that can mean its identifier or another argument. A
/// segment that may not be read exists.
pub(super) fn exists(id: ShmId) -> bool {
    !matches!(stat(id), Err(Error { reason: Reason::NoSuchSegment, .. }))
}

/// Returns whether this process has the effective uid of the owner or the creator.
fn is_ours(id: ShmId) -> bool {
    stat_any(id).is_ok_and(|segment| segment.is_controlled_by(geteuid().as_raw()))
}

fn change(id: ShmId, command: Change) -> Result<(), Errno> {
    let command = command as libc::c_int;
    // SAFETY: no command of this type uses the buffer.
    let ret = unsafe { libc::shmctl(id.as_raw(), command, ptr::null_mut()) };
    let result = Errno::result(ret);
    trace::returned(&result, |f| write!(f, "shmctl({id}, {}, NULL)", trace::control_command(command)));
    result.map(drop)
}

/// Makes a call that reads a state. Returns the result of the call, and the state.
pub(super) fn read(id: libc::c_int, command: Read) -> Result<(libc::c_int, libc::shmid_ds), Errno> {
    let mut ds = empty_status();
    let command = command as libc::c_int;
    // SAFETY: each command of this type writes one shmid_ds; `ds` is one, and ours.
    let ret = unsafe { libc::shmctl(id, command, &raw mut ds) };
    let result = Errno::result(ret);
    trace::returned(&result, |f| match result {
        Ok(_) => write!(f, "shmctl({id}, {}, {})", trace::control_command(command), trace::Status(&ds)),
        Err(_) => write!(f, "shmctl({id}, {}, {:p})", trace::control_command(command), &raw const ds),
    });
    result.map(|ret| (ret, ds))
}

fn empty_status() -> libc::shmid_ds {
    // SAFETY: shmid_ds consists of numbers and padding, for which all zeros is valid.
    unsafe { MaybeUninit::zeroed().assume_init() }
}
