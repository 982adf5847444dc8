//! Checks of kernel limits, and of when the kernel destroys segments.

use super::{Check, Health};
use crate::error::advice;
use crate::segments::lookup;
use crate::segments::rmid_forced::sysctl;
use crate::sysv::{Limits, page_size};
use crate::values::{counted, human};

/// The usage of a limit from which the check is a warning, in percent.
const WARNING_PERCENT: u64 = 80;

/// Checks SHMMNI, SHMALL and SHMMAX, and their usage.
pub(super) fn limits() -> Check {
    let (limits, usage) = match lookup::limits() {
        Ok(known) => known,
        Err(error) => return Check::new("limits", Health::Unknown, error.to_string()),
    };
    let finding = format!(
        "{} (SHMMNI allows {}) of {} (SHMALL: {}); SHMMAX: {}",
        counted(usage.segments, "segment"),
        limits.max_segments,
        counted(usage.pages, "page"),
        bound(limits.max_pages, |pages| pages.to_string()),
        bound(limits.max_bytes, |bytes| human(bytes.into()).to_string())
    );
    let share = |used: u64, limit: u64| used.saturating_mul(100).checked_div(limit).unwrap_or(100);
    let (segments, pages) = (share(usage.segments, limits.max_segments), share(usage.pages, limits.max_pages));
    let status = match segments.max(pages) {
        100.. => Health::Problem,
        WARNING_PERCENT.. => Health::Warning,
        _ if limits.max_bytes < page_size() => Health::Problem,
        _ => Health::Ok,
    };
    let finding = match status {
        Health::Ok => finding,
        _ if segments >= WARNING_PERCENT => format!("SHMMNI is used to {segments} %: {finding}"),
        _ if pages >= WARNING_PERCENT => format!("SHMALL is used to {pages} %: {finding}"),
        _ => format!("SHMMAX allows no segment of a page: {finding}"),
    };
    let check = Check::new("limits", status, finding);
    let raise = |name, limit, used| {
        let (list, raise) = (advice::command("list --orphaned", None), advice::raise(name, limit, used, None));
        format!("remove segments that were left behind ({list}), or {raise}")
    };
    match status {
        Health::Ok => check,
        _ if segments >= WARNING_PERCENT => check.remedy(raise("kernel.shmmni", limits.max_segments, usage.segments)),
        _ if pages >= WARNING_PERCENT => check.remedy(raise("kernel.shmall", limits.max_pages, usage.pages)),
        _ => check.remedy(format!("root can raise it: {}", advice::sysctl("kernel.shmmax", Limits::UNLIMITED, None))),
    }
}

fn bound(limit: u64, show: impl FnOnce(u64) -> String) -> String {
    if limit >= Limits::UNLIMITED { "unlimited".into() } else { show(limit) }
}

/// Checks kernel.shm_rmid_forced.
pub(super) fn rmid_forced() -> Check {
    let name = "rmid-forced";
    let set = advice::sysctl("kernel.shm_rmid_forced", 0, None);
    match sysctl() {
        Some(false) => Check::new(
            name,
            Health::Ok,
            "kernel.shm_rmid_forced is 0: the kernel keeps segments that nobody has attached",
        ),
        Some(true) => {
            let finding = "kernel.shm_rmid_forced is 1: the kernel destroys a segment with its last detach, and a segment \
                           that was never attached when its creator exits";
            Check::new(name, Health::Warning, finding).remedy(format!("root can set it to 0: {set}"))
        }
        None => {
            let finding = "/proc does not show kernel.shm_rmid_forced: if it is 1, the kernel destroys segments that \
                           nobody has attached";
            Check::new(name, Health::Unknown, finding).remedy("run shmadm where /proc/sys is not hidden")
        }
    }
}
