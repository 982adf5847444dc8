//! Checks of the memory available for segments.

use std::io;

use nix::sys::resource::{Resource, getrlimit};
use rustix::thread::{CapabilitySet, capabilities};

use super::{Check, Health};
use crate::error::advice;
use crate::linux::cause;
use crate::system::meminfo::Meminfo;
use crate::system::memory_left::{Bound, MemoryLeft, memory_left_in_cgroups};
use crate::values::{human, visible_path};

/// The memory left in a memory cgroup below which the check is a warning, in bytes.
const LITTLE: u64 = 64 << 20;

/// In version 1 of cgroups, a limit near 2^63 means no limit.
const UNLIMITED: u64 = 1 << 60;

/// Checks how much memory the memory cgroup leaves. Pages of a segment are charged to the process that first touches
/// them.
pub(super) fn cgroup() -> Check {
    let name = "memory";
    let left = match memory_left_in_cgroups() {
        Ok(left) => left.into_iter().filter(|left| left.bytes < UNLIMITED),
        Err(error) => {
            let finding =
                format!("it cannot be seen whether a memory cgroup limits what segments take: {}", cause(&error));
            return Check::new(name, Health::Unknown, finding);
        }
    };
    let Some(MemoryLeft { bytes, bound }) = left.min_by_key(|left| left.bytes) else {
        return Check::new(name, Health::Ok, "no memory cgroup limits what segments take");
    };
    let Bound::Cgroup(path, file) = bound else {
        return Check::new(name, Health::Ok, format!("the machine has {} available", human(bytes.into())));
    };
    let left = human(bytes.into());
    if bytes >= LITTLE {
        return Check::new(name, Health::Ok, format!("memory cgroup {} has {left} left ({file})", visible_path(&path)));
    }
    let finding = format!(
        "memory cgroup {} has {left} left ({file}): a process that touches more of a segment is killed or slowed down, and the \
         segment keeps the cgroup full until it is removed",
        visible_path(&path)
    );
    let list = advice::command("list --sort rss --reverse", None);
    let remedy =
        format!("raise the limit (MemoryMax= of the unit, --memory of the container), or remove segments: {list}");
    let status = if bytes == 0 { Health::Problem } else { Health::Warning };
    Check::new(name, status, finding).remedy(remedy)
}

/// Checks huge pages for `create --huge`.
pub(super) fn huge_pages() -> Check {
    let name = "huge-pages";
    let meminfo = Meminfo::read();
    let field = |name: &str| meminfo.as_ref()?.field(name);
    let (Some(total), Some(free), Some(size)) =
        (field("HugePages_Total"), field("HugePages_Free"), field("Hugepagesize"))
    else {
        return Check::new(name, Health::Note, "this kernel has no huge pages, or /proc/meminfo does not show them");
    };
    let size = human(size.into());
    if total == 0 {
        let finding = format!("no huge pages of {size} are reserved: create --huge fails");
        return Check::new(name, Health::Note, finding).remedy(reserve(64));
    }
    let check = Check::new(name, Health::Ok, format!("{free} of {total} huge pages of {size} are free"));
    match free {
        0 => Check { status: Health::Warning, ..check }.remedy(reserve(total * 2)),
        _ => check,
    }
}

/// Returns how to reserve huge pages. They belong to the machine, not to a namespace.
fn reserve(count: u64) -> String {
    format!("root of the machine, not of a container, can reserve them: `sysctl -w vm.nr_hugepages={count}`")
}

/// Checks RLIMIT_MEMLOCK, which limits SHM_LOCK and segments of huge pages.
pub(super) fn lock_limit() -> Check {
    let name = "memlock";
    match capabilities(None) {
        Ok(sets) if sets.effective.contains(CapabilitySet::IPC_LOCK) => {
            return Check::new(name, Health::Ok, "no limit on locked memory applies to you (CAP_IPC_LOCK)");
        }
        Ok(_) => {}
        Err(errno) => {
            let finding = format!(
                "it cannot be seen whether a limit on locked memory applies to you: {}",
                cause(&io::Error::from(errno))
            );
            return Check::new(name, Health::Unknown, finding);
        }
    }
    match getrlimit(Resource::RLIMIT_MEMLOCK) {
        Ok((u64::MAX, _)) => Check::new(name, Health::Ok, "the limit on locked memory is unlimited"),
        Ok((limit, _)) => {
            let finding = format!(
                "you may lock {} (ulimit -l): set --lock and create --lock fail beyond that",
                human(limit.into())
            );
            let remedy = "raise it in /etc/security/limits.conf, or with LimitMEMLOCK= of the unit";
            Check::new(name, Health::Note, finding).remedy(remedy)
        }
        Err(errno) => Check::new(name, Health::Unknown, format!("the limit on locked memory cannot be read: {errno}")),
    }
}
