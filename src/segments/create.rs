//! How a segment's life begins, or does not: why it could not be made, what is taken back where its making fails, and what
//! the kernel destroys before others hold it.

use crate::error::{Error, Kind, Result};
use crate::segments::lookup;
use crate::sysv::{self, Reason};
use crate::values::{Key, ShmId, human};

/// Why a segment could not be made: the limit that was hit, with its value and the sysctl that sets it.
pub(crate) fn cannot_create(key: Key, size: u64, huge: bool, error: sysv::Error) -> Error {
    let told = if key.is_private() {
        Error::call(format_args!("create a private segment of {size} bytes"), error)
    } else {
        Error::call(format_args!("create segment {key} of {size} bytes"), error)
    };
    let limits = sysv::limits().ok();
    match (error.reason, limits) {
        (Reason::SizeOutOfRange, _) if size == 0 => told.hint("a segment has at least one byte"),
        (Reason::SizeOutOfRange, Some(limits)) if size > limits.max_bytes => told.hint(format_args!(
            "SHMMAX allows {} bytes; sysctl kernel.shmmax sets it",
            limits.max_bytes
        )),
        (Reason::LimitReached, Some(limits)) => match sysv::usage() {
            Ok(usage) if usage.segments >= limits.max_segments => told.hint(format_args!(
                "SHMMNI allows {} segments and there are {}; remove some (`shmadm list`), or raise sysctl kernel.shmmni",
                limits.max_segments, usage.segments
            )),
            Ok(usage) => told.hint(format_args!(
                "SHMALL allows {} pages ({}), of which {} are taken; remove some segments (`shmadm list`), or raise \
                 sysctl kernel.shmall",
                limits.max_pages,
                human(u128::from(limits.max_pages) * u128::from(sysv::page_size())),
                usage.pages
            )),
            Err(_) => told,
        },
        (Reason::NoMemory, _) if huge => told.hint(
            "too few huge pages of that size are free; sysctl vm.nr_hugepages reserves them, and \
             /proc/meminfo shows how many there are",
        ),
        (Reason::HugePagesDenied, _) => {
            told.hint("they need root, or membership in the group of sysctl vm.hugetlb_shm_group")
        }
        (Reason::NoMemory, _) => told.hint("--no-reserve makes it without reserving memory for all of it"),
        _ => told,
    }
}

/// Takes back what a failed call has made. That it does not exist any longer is no answer to who asked for its making.
pub(crate) fn remove_again(id: ShmId, error: Error) -> Error {
    let error = if error.kind == Kind::Missing { Error { kind: Kind::Failed, ..error } } else { error };
    match sysv::remove(id) {
        Ok(()) => error.hint("the new segment was removed again"),
        Err(gone) if gone.reason == Reason::NoSuchSegment => error.hint("the new segment is gone, too"),
        Err(removal) => error.hint(format_args!("and the new segment id:{id} could not be removed: {removal}")),
    }
}

/// Whether the kernel destroys each segment with its last detach (kernel.shm_rmid_forced, proc_sys_kernel(5)). The sysctl
/// belongs to the IPC namespace; where /proc does not show it, it is taken not to be set.
pub(crate) fn is_rmid_forced() -> bool {
    std::fs::read_to_string("/proc/sys/kernel/shm_rmid_forced").is_ok_and(|value| value.trim() == "1")
}

/// What to say of a new segment that does not outlive us.
pub(crate) fn fleeting() -> Option<&'static str> {
    is_rmid_forced().then_some(
        "warning: kernel.shm_rmid_forced is 1: the kernel destroys this segment as shmadm exits, unless another \
         process is attached by then",
    )
}

/// Refuses to attach an existing segment that our own detach would destroy, with all that is in it.
pub(crate) fn outlives_a_detach(id: ShmId, name: &str, verb: &str) -> Result<()> {
    let is_attached = || lookup::look(id).is_ok_and(|segment| segment.is_none_or(|segment| segment.nattch > 0));
    if !is_rmid_forced() || is_attached() {
        return Ok(());
    }
    Err(Error::failed(format!(
        "cannot {verb} {name}: nobody has it attached and kernel.shm_rmid_forced is 1, so that the kernel would destroy it \
         when shmadm detaches it; attach it elsewhere, or set the sysctl to 0"
    )))
}
