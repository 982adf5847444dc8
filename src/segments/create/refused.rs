//! Why the kernel did not create a segment, and advice.

use nix::unistd::geteuid;

use crate::error::{Error, advice};
use crate::segments::cache::Lookups;
use crate::segments::holders::Holders;
use crate::segments::lookup::Named;
use crate::system::names::Names;
use crate::sysv::{self, Errno, Limits, NewSegment, Reason, Segment};
use crate::values::{Key, counted, human};

/// Returns the error for a failed shmget(2): the limit that was reached, its value, and how to raise it.
pub(crate) fn cannot_create(new: &NewSegment, error: sysv::Error) -> Error {
    let &NewSegment { key, size, .. } = new;
    let failure = if key.is_private() {
        Error::call(format_args!("create a private segment of {}", counted(size, "byte")), error)
    } else {
        Error::call(format_args!("create segment {key} of {}", counted(size, "byte")), error)
    };
    let limits = sysv::limits().ok();
    match (error.reason, limits) {
        (Reason::SizeOutOfRange, _) if size == 0 => failure.hint("a segment has at least 1 byte"),
        (Reason::SizeOutOfRange, Some(limits)) if size > limits.max_bytes => failure.hint(format_args!(
            "SHMMAX allows {}; root can raise it: {}",
            counted(limits.max_bytes, "byte"),
            advice::sysctl("kernel.shmmax", size, None)
        )),
        (Reason::LimitReached, Some(limits)) => match limit_reached(size, &limits) {
            Some(hint) => failure.hint(hint),
            None => failure,
        },
        (Reason::NoMemory, _) if new.huge.is_some() => failure.hint(
            "too few huge pages of that size are free; sysctl vm.nr_hugepages reserves them, and `shmadm doctor` shows \
             how many are free",
        ),
        (Reason::HugePagesDenied, _) => {
            failure.hint("they need root, or membership in the group of sysctl vm.hugetlb_shm_group")
        }
        (Reason::NoMemory, _) if !new.no_reserve => {
            failure.hint("--no-reserve creates it without reserving memory for all of it")
        }
        _ => failure,
    }
}

/// Returns which of the two limits that cause `ENOSPC` was reached, and advice.
fn limit_reached(size: u64, limits: &Limits) -> Option<String> {
    let usage = sysv::usage().ok()?;
    if usage.segments >= limits.max_segments {
        let remove = if usage.segments > 0 { "remove some (`shmadm list`), or " } else { "" };
        return Some(format!(
            "SHMMNI allows {} and there are {}; {remove}{}",
            counted(limits.max_segments, "segment"),
            usage.segments,
            advice::raise("kernel.shmmni", limits.max_segments, usage.segments, None)
        ));
    }
    let pages = size.div_ceil(sysv::page_size());
    let raise = advice::sysctl("kernel.shmall", usage.pages.saturating_add(pages), None);
    let in_bytes = |pages: u64| human(u128::from(pages) * u128::from(sysv::page_size()));
    let (allowed, all) = (counted(limits.max_pages, "page"), in_bytes(limits.max_pages));
    Some(if pages > limits.max_pages {
        format!(
            "SHMALL allows {allowed} ({all}) and this segment alone has {}; ask for less, or root can raise it: {raise}",
            counted(pages, "page")
        )
    } else {
        format!(
            "SHMALL allows {allowed} ({all}), of which {} are in use; remove some segments (`shmadm list`), or root can \
             raise it: {raise}",
            usage.pages
        )
    })
}

/// Returns the error for a key that is taken.
pub(crate) fn exists(key: Key, existing: Option<&Segment>, wanted: u64) -> Error {
    let failure = |cause| Error::cannot(format_args!("create segment {key}"), cause).errno(Errno::EEXIST);
    match existing {
        Some(existing) if existing.size < wanted => {
            let cause =
                format!("{}, too small for the {} that are wanted", taken(Some(existing)), counted(wanted, "byte"));
            failure(cause).hint(make_room(existing))
        }
        _ => failure(taken(existing)).hint("use --exist-ok to take it as it is"),
    }
}

/// Returns a text saying that a key is taken, and by which segment.
pub(crate) fn taken(existing: Option<&Segment>) -> String {
    let details = existing.map(|existing| {
        let owner = Names::default().user_or_uid(existing.uid);
        format!(" (id {}, {}, owner {owner})", existing.id, counted(existing.size, "byte"))
    });
    format!("it exists already{}", details.unwrap_or_default())
}

/// Returns the error for an existing segment that is smaller than requested.
pub(crate) fn too_small(verb: &str, existing: &Segment, wanted: u64) -> Error {
    let size = counted(existing.size, "byte");
    Error::cannot(
        format_args!("{verb} {}", Named::from(existing)),
        format!("it exists and has {size}, fewer than the {} that are wanted", counted(wanted, "byte")),
    )
    .hint(format_args!("ask for at most {size}, or {}", make_room(existing)))
}

/// Returns whether this user may remove a segment.
pub(crate) fn may_remove(segment: &Segment) -> bool {
    let user = geteuid();
    user.is_root() || segment.is_controlled_by(user.as_raw())
}

/// Returns advice on how to replace a segment that is too small by a larger one, and who still uses it.
fn make_room(existing: &Segment) -> String {
    if !may_remove(existing) {
        return format!("ask {} to remove it, or use another key", Names::default().user_or_uid(existing.uid));
    }
    let remove = format!("`shmadm remove id:{}`", existing.id);
    match existing.nattch {
        0 => format!("{remove} makes room for a larger one: nobody has it attached"),
        count => {
            let holders = Holders::of(existing, &Lookups::default());
            let who = if holders.is_empty() { "its users".into() } else { holders.to_string() };
            format!(
                "stop what has it attached ({who}, {}), and then {remove} makes room for a larger one",
                counted(count, "attachment")
            )
        }
    }
}
