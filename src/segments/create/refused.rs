//! Why the kernel made no segment, and what to do about it.

use crate::error::Error;
use crate::segments::lookup::Named;
use crate::system::names::Names;
use crate::sysv::{self, Errno, Reason, Segment};
use crate::values::{Key, counted, human};

/// Returns the error of a failed shmget(2): the limit that was reached, with its value and the sysctl that sets it.
pub(crate) fn cannot_create(key: Key, size: u64, huge: bool, error: sysv::Error) -> Error {
    let told = if key.is_private() {
        Error::call(format_args!("create a private segment of {}", counted(size, "byte")), error)
    } else {
        Error::call(format_args!("create segment {key} of {}", counted(size, "byte")), error)
    };
    let limits = sysv::limits().ok();
    match (error.reason, limits) {
        (Reason::SizeOutOfRange, _) if size == 0 => told.hint("a segment has at least one byte"),
        (Reason::SizeOutOfRange, Some(limits)) if size > limits.max_bytes => {
            told.hint(format_args!("SHMMAX allows {}; sysctl kernel.shmmax sets it", counted(limits.max_bytes, "byte")))
        }
        (Reason::LimitReached, Some(limits)) => match sysv::usage() {
            Ok(usage) if usage.segments >= limits.max_segments => told.hint(format_args!(
                "SHMMNI allows {} and there are {}; remove some (`shmadm list`), or raise sysctl kernel.shmmni",
                counted(limits.max_segments, "segment"),
                usage.segments
            )),
            Ok(usage) => told.hint(format_args!(
                "SHMALL allows {} ({}), of which {} are taken; remove some segments (`shmadm list`), or raise \
                 sysctl kernel.shmall",
                counted(limits.max_pages, "page"),
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

/// Returns the error of a key that is taken.
pub(crate) fn exists(key: Key, existing: Option<&Segment>, wanted: u64) -> Error {
    let told =
        |cause| Error { errno: Some(Errno::EEXIST), ..Error::cannot(format_args!("create segment {key}"), cause) };
    let told = told(taken(existing));
    if let Some(existing) = existing
        && existing.size < wanted
    {
        return told.hint(format_args!(
            "it is smaller than the size that is wanted, {}; remove it first, or ask for less",
            counted(wanted, "byte")
        ));
    }
    told.hint("use --exist-ok to take it as it is")
}

/// Says that a key is taken, and by which segment.
pub(crate) fn taken(existing: Option<&Segment>) -> String {
    let details = existing.map(|existing| {
        let owner = Names::default().user_or_uid(existing.uid);
        format!(" (id {}, {}, owner {owner})", existing.id, counted(existing.size, "byte"))
    });
    format!("it exists already{}", details.unwrap_or_default())
}

/// Returns the error of an existing segment that has fewer bytes than are wanted.
pub(crate) fn too_small(verb: &str, existing: &Segment, wanted: u64) -> Error {
    Error::cannot(
        format_args!("{verb} {}", Named::from(existing)),
        format!("it exists and has {}, fewer than the {wanted} that are wanted", counted(existing.size, "byte")),
    )
    .hint("remove it first, or ask for less")
}
