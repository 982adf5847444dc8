//! Users and groups without an id in this user namespace (user_namespaces(7)).
//!
//! For such a user the kernel shows the overflow id, 65534, which is also the id of the user `nobody`.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::values::UNKNOWN_ID;

/// The inode of the initial user namespace, which is fixed (include/linux/proc_ns.h, `PROC_USER_INIT_INO`).
const INITIAL: u64 = 0xEFFF_FFFD;
/// The overflow id, unless a sysctl changes it.
const OVERFLOW: u32 = 65534;

/// Returns a uid that the kernel has shown to this process; [`UNKNOWN_ID`] if it is the overflow uid and no user here has
/// that uid.
pub(crate) fn known_uid(uid: u32) -> u32 {
    with(&USERS, |ids| ids.known(uid))
}

/// Does the same as [`known_uid`] for a group.
pub(crate) fn known_gid(gid: u32) -> u32 {
    with(&GROUPS, |ids| ids.known(gid))
}

/// Returns whether this uid may stand for a user without an id here.
pub(crate) fn may_be_unmapped_uid(uid: u32) -> bool {
    uid == UNKNOWN_ID || with(&USERS, |ids| ids.may_be_unmapped(uid))
}

/// Returns whether this gid may stand for a group without an id here.
pub(crate) fn may_be_unmapped_gid(gid: u32) -> bool {
    gid == UNKNOWN_ID || with(&GROUPS, |ids| ids.may_be_unmapped(gid))
}

/// Forgets the maps. Call it after this process has entered another user namespace.
pub(crate) fn forget_maps() {
    USERS.ids.store(UNREAD, Relaxed);
    GROUPS.ids.store(UNREAD, Relaxed);
}

/// Returns the overflow uid.
pub(crate) fn overflow_uid() -> u32 {
    overflow(USERS.overflow)
}

/// Returns the overflow gid.
pub(crate) fn overflow_gid() -> u32 {
    overflow(GROUPS.overflow)
}

/// Returns whether a map with these ranges covers an id; each has a first id and a length.
pub(crate) fn covers(ranges: impl IntoIterator<Item = (u32, u32)>, id: u32) -> bool {
    ranges.into_iter().any(|(first, length)| id.checked_sub(first).is_some_and(|offset| offset < length))
}

/// Returns whether a map with these ranges covers all ids, as in the initial user namespace.
pub(crate) fn covers_all(ranges: impl IntoIterator<Item = (u32, u32)>) -> bool {
    ranges.into_iter().map(|(_, length)| u64::from(length)).sum::<u64>() == u64::from(u32::MAX)
}

/// Users or groups.
struct Kind {
    overflow: &'static str,
    map: &'static str,
    /// [`Ids::to_bits`], or [`UNREAD`]. An atomic number: each segment that a thread reads needs it, and threads that
    /// share a lock would wait for each other.
    ids: AtomicU64,
}

/// The maps were not read yet.
const UNREAD: u64 = 0;

static USERS: Kind =
    Kind { overflow: "/proc/sys/kernel/overflowuid", map: "/proc/self/uid_map", ids: AtomicU64::new(UNREAD) };
static GROUPS: Kind =
    Kind { overflow: "/proc/sys/kernel/overflowgid", map: "/proc/self/gid_map", ids: AtomicU64::new(UNREAD) };

/// The meaning of the overflow id here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ids {
    /// All users have an id.
    All,
    /// The id belongs to a user, but other users may have none.
    Ambiguous(u32),
    /// No user has this id.
    Nobody(u32),
}

impl Ids {
    fn read(kind: &Kind) -> Ids {
        let Ok(map) = fs::read_to_string(kind.map) else { return Ids::Ambiguous(overflow(kind.overflow)) };
        Ids::of_map(&map, || overflow(kind.overflow))
    }

    fn of_map(map: &str, overflow: impl FnOnce() -> u32) -> Ids {
        let ranges = || map.lines().filter_map(range);
        if covers_all(ranges()) {
            return Ids::All;
        }
        let overflow = overflow();
        if covers(ranges(), overflow) { Ids::Ambiguous(overflow) } else { Ids::Nobody(overflow) }
    }

    /// Returns the tag in the upper half, and the overflow id in the lower one.
    fn to_bits(self) -> u64 {
        match self {
            Ids::All => 1 << 32,
            Ids::Ambiguous(overflow) => (2 << 32) | u64::from(overflow),
            Ids::Nobody(overflow) => (3 << 32) | u64::from(overflow),
        }
    }

    /// Does the inverse of [`Ids::to_bits`]; `None` for [`UNREAD`].
    fn from_bits(bits: u64) -> Option<Ids> {
        let overflow = bits as u32;
        match bits >> 32 {
            1 => Some(Ids::All),
            2 => Some(Ids::Ambiguous(overflow)),
            3 => Some(Ids::Nobody(overflow)),
            _ => None,
        }
    }

    fn known(self, id: u32) -> u32 {
        if self == Ids::Nobody(id) { UNKNOWN_ID } else { id }
    }

    fn may_be_unmapped(self, id: u32) -> bool {
        self == Ids::Nobody(id) || self == Ids::Ambiguous(id)
    }
}

fn with<T>(kind: &Kind, act: impl FnOnce(Ids) -> T) -> T {
    act(Ids::from_bits(kind.ids.load(Relaxed)).unwrap_or_else(|| {
        // Saves reading the maps: nearly every process is in the initial user namespace, where all users have an id.
        if is_initial() {
            USERS.ids.store(Ids::All.to_bits(), Relaxed);
            GROUPS.ids.store(Ids::All.to_bits(), Relaxed);
            return Ids::All;
        }
        let ids = Ids::read(kind);
        kind.ids.store(ids.to_bits(), Relaxed);
        ids
    }))
}

/// Returns whether this process is in the initial user namespace; `false` if that cannot be read.
fn is_initial() -> bool {
    fs::metadata("/proc/self/ns/user").is_ok_and(|namespace| namespace.ino() == INITIAL)
}

fn overflow(path: &str) -> u32 {
    fs::read_to_string(path).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(OVERFLOW)
}

/// Parses the first id and the length of the line `inside outside length`.
fn range(line: &str) -> Option<(u32, u32)> {
    let mut fields = line.split_ascii_whitespace().map(|field| field.parse().ok());
    let (first, _, length) = (fields.next()??, fields.next()?, fields.next()??);
    Some((first, length))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_map_gives_the_meaning_of_the_overflow_id() {
        let (nobody, ambiguous) = (Ids::Nobody(OVERFLOW), Ids::Ambiguous(OVERFLOW));
        for (map, ids) in [
            ("         0          0 4294967295\n", Ids::All),
            ("0 0 65536\n65536 65536 4294901759\n", Ids::All),
            ("0 1234 1\n65534 65534 1\n", ambiguous),
            ("0 100000 65536\n", ambiguous),
            ("0 100000 65534\n", nobody),
            ("0 1234 1\n", nobody),
            ("65535 1234 1\n", nobody),
            // The outer user namespace has no id for it either.
            ("65534 4294967295 1\n", ambiguous),
            ("", nobody),
        ] {
            assert_eq!(Ids::of_map(map, || OVERFLOW), ids, "{map:?}");
            assert_eq!(Ids::from_bits(ids.to_bits()), Some(ids), "{map:?}");
        }
        assert_eq!(Ids::from_bits(UNREAD), None);
        let id = 65534;
        assert_eq!([Ids::All, ambiguous, nobody].map(|ids| ids.known(id)), [id, id, UNKNOWN_ID]);
        assert_eq!([Ids::All, ambiguous, nobody].map(|ids| ids.may_be_unmapped(id)), [false, true, true]);
        assert_eq!((nobody.known(0), nobody.may_be_unmapped(0)), (0, false));
    }
}
