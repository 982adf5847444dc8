//! Users and groups without an id in this user namespace (user_namespaces(7)).

use std::fs;

/// The id that the kernel shows for a user or group without an id here, by default.
const OVERFLOW: u32 = 65534;

/// Returns whether this uid may stand for a user without an id in this user namespace.
pub(crate) fn may_be_unmapped_uid(uid: u32) -> bool {
    may_be_unmapped(uid, "/proc/sys/kernel/overflowuid", "/proc/self/uid_map")
}

/// Returns whether this gid may stand for a group without an id in this user namespace.
pub(crate) fn may_be_unmapped_gid(gid: u32) -> bool {
    may_be_unmapped(gid, "/proc/sys/kernel/overflowgid", "/proc/self/gid_map")
}

/// Returns whether this id may be the overflow id. The kernel shows that id for all users without one, but it can also
/// be a real id. It is certainly real only if the map covers all ids.
fn may_be_unmapped(id: u32, overflow: &str, map: &str) -> bool {
    let overflow = fs::read_to_string(overflow).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(OVERFLOW);
    id == overflow && !fs::read_to_string(map).is_ok_and(|map| maps_all(&map))
}

/// Returns whether a map covers all ids, as in the initial user namespace.
fn maps_all(map: &str) -> bool {
    let mut count = 0_u64;
    for line in map.lines() {
        count += line.split_whitespace().nth(2).and_then(|count| count.parse().ok()).unwrap_or(0);
    }
    count == u64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_map_of_the_initial_namespace_covers_all_ids() {
        for (map, all) in [
            ("         0          0 4294967295\n", true),
            ("0 0 65536\n65536 65536 4294901759\n", true),
            ("0 1234 1\n65534 65534 1\n", false),
            ("", false),
        ] {
            assert_eq!(maps_all(map), all, "{map:?}");
        }
    }
}
