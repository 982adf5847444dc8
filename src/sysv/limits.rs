//! The limits of an IPC namespace, and their use.

use std::fs;
use std::mem::MaybeUninit;

use nix::errno::Errno;

use super::error::{Error, Reason};
use super::uapi::SHM_INFO;
use super::{Segments, page_size, trace};

/// The limits of the IPC namespace, as `IPC_INFO` returns them (Linux, ipc/shm.c).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limits {
    /// SHMMAX: the largest size of a segment, in bytes.
    pub max_bytes: u64,
    /// SHMMIN: the smallest size of a segment, in bytes.
    pub min_bytes: u64,
    /// SHMMNI: the largest number of segments.
    pub max_segments: u64,
    /// SHMALL: the largest number of pages of all segments.
    pub max_pages: u64,
}

impl Limits {
    /// The kernel's default for SHMMAX and SHMALL, ULONG_MAX - 2^24 (include/uapi/linux/shm.h). It means no limit.
    pub(crate) const UNLIMITED: u64 = u64::MAX - (1 << 24);
}

/// Returns the namespace's limits: shmctl(2) `IPC_INFO`. Needs no permission. If a security module denies the call,
/// returns the limits in /proc/sys/kernel (proc_sys_kernel(5)).
///
/// # Errors
/// `ENOSYS` is [`Reason::NotSupported`]; `EACCES` [`Reason::PermissionDenied`], if /proc/sys does not show them either.
pub(crate) fn limits() -> Result<Limits, Error> {
    match ipc_info() {
        Ok((_, limits)) => Ok(limits),
        Err(error) => by_sysctl().filter(|_| error.reason != Reason::NotSupported).ok_or(error),
    }
}

/// Returns the highest index in use, from `IPC_INFO`.
pub(super) fn highest_index() -> Option<i32> {
    ipc_info().ok().map(|(highest, _)| highest)
}

fn ipc_info() -> Result<(i32, Limits), Error> {
    let mut info = MaybeUninit::<ShmInfo>::zeroed();
    // SAFETY: IPC_INFO writes a struct shminfo, whose layout `ShmInfo` has. It ignores the identifier.
    let ret = unsafe { libc::shmctl(0, libc::IPC_INFO, info.as_mut_ptr().cast()) };
    // SAFETY: all zeros is a valid ShmInfo, even if the kernel has not written to it.
    let info = unsafe { info.assume_init() };
    let result = Errno::result(ret);
    trace::returned(&result, |f| {
        write!(
            f,
            "shmctl(0, IPC_INFO, {{shmmax={}, shmmin={}, shmmni={}, shmseg={}, shmall={}}})",
            info.shmmax, info.shmmin, info.shmmni, info.shmseg, info.shmall
        )
    });
    let highest = result.map_err(|errno| Error::new(errno, |_| Reason::Other))?;
    let limits =
        Limits { max_bytes: info.shmmax, min_bytes: info.shmmin, max_segments: info.shmmni, max_pages: info.shmall };
    Ok((highest, limits))
}

fn by_sysctl() -> Option<Limits> {
    let read = |name| fs::read_to_string(format!("/proc/sys/kernel/{name}")).ok()?.trim().parse().ok();
    // SHMMIN is a constant of the kernel (include/uapi/linux/shm.h).
    Some(Limits { max_bytes: read("shmmax")?, min_bytes: 1, max_segments: read("shmmni")?, max_pages: read("shmall")? })
}

/// The resources that all segments of the namespace use, as `SHM_INFO` counts them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Usage {
    /// Number of segments.
    pub segments: u64,
    /// Pages of all segments, touched or not. SHMALL limits them.
    pub pages: u64,
    /// Resident pages.
    pub resident_pages: u64,
    /// Swapped pages.
    pub swapped_pages: u64,
}

/// Returns what all segments of the namespace use: shmctl(2) `SHM_INFO`. Needs no permission. If a security module
/// denies the call, returns the sums of the kernel's table.
///
/// # Errors
/// `ENOSYS` is [`Reason::NotSupported`]; `EACCES` [`Reason::PermissionDenied`], if the table is also missing.
pub(crate) fn usage() -> Result<Usage, Error> {
    match counted() {
        Ok((_, usage)) => Ok(usage),
        Err(error) => by_table().filter(|_| error.reason != Reason::NotSupported).ok_or(error),
    }
}

/// Returns the highest index in use and what all segments use, from `SHM_INFO`.
pub(super) fn counted() -> Result<(i32, Usage), Error> {
    let mut info = MaybeUninit::<ShmUsage>::zeroed();
    // SAFETY: SHM_INFO writes a struct shm_info, whose layout `ShmUsage` has. It ignores the identifier.
    let ret = unsafe { libc::shmctl(0, SHM_INFO, info.as_mut_ptr().cast()) };
    // SAFETY: all zeros is a valid ShmUsage, even if the kernel has not written to it.
    let info = unsafe { info.assume_init() };
    let result = Errno::result(ret);
    trace::returned(&result, |f| {
        write!(
            f,
            "shmctl(0, SHM_INFO, {{used_ids={}, shm_tot={}, shm_rss={}, shm_swp={}, swap_attempts={}, \
             swap_successes={}}})",
            info.used_ids, info.shm_tot, info.shm_rss, info.shm_swp, info.swap_attempts, info.swap_successes
        )
    });
    let highest = result.map_err(|errno| Error::new(errno, |_| Reason::Other))?;
    let usage = Usage {
        segments: u64::from(info.used_ids.cast_unsigned()),
        pages: info.shm_tot,
        resident_pages: info.shm_rss,
        swapped_pages: info.shm_swp,
    };
    Ok((highest, usage))
}

fn by_table() -> Option<Usage> {
    let mut usage = Usage { segments: 0, pages: 0, resident_pages: 0, swapped_pages: 0 };
    for row in Segments::open().ok()? {
        let row = row.ok()?;
        usage.segments += 1;
        usage.pages = usage.pages.saturating_add(row.size.div_ceil(page_size()));
        usage.resident_pages = usage.resident_pages.saturating_add(row.rss? / page_size());
        usage.swapped_pages = usage.swapped_pages.saturating_add(row.swap? / page_size());
    }
    Some(usage)
}

/// `struct shminfo` of include/uapi/linux/shm.h.
#[repr(C)]
struct ShmInfo {
    shmmax: libc::c_ulong,
    shmmin: libc::c_ulong,
    shmmni: libc::c_ulong,
    shmseg: libc::c_ulong,
    shmall: libc::c_ulong,
    unused: [libc::c_ulong; 4],
}

/// `struct shm_info` of include/uapi/linux/shm.h.
#[repr(C)]
struct ShmUsage {
    used_ids: libc::c_int,
    shm_tot: libc::c_ulong,
    shm_rss: libc::c_ulong,
    shm_swp: libc::c_ulong,
    swap_attempts: libc::c_ulong,
    swap_successes: libc::c_ulong,
}
