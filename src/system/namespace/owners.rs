//! The users of another user namespace, translated to the ids of our own.

use std::fs;
use std::io;

use crate::linux::{covers_all, overflow_gid, overflow_uid};
use crate::sysv::Segment;
use crate::values::UNKNOWN_ID;

/// The id maps of a user namespace below ours (user_namespaces(7)).
#[derive(Debug)]
pub(super) struct Owners {
    users: Vec<Range>,
    groups: Vec<Range>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Range {
    inside: u32,
    here: u32,
    length: u32,
}

impl Owners {
    /// Reads the maps of a process's user namespace. It must not be ours: only then does the kernel translate the maps
    /// to our ids.
    pub(super) fn of_process(pid: i32) -> io::Result<Owners> {
        let read = |file| fs::read_to_string(format!("/proc/{pid}/{file}")).map(|map| ranges(&map));
        Ok(Owners { users: read("uid_map")?, groups: read("gid_map")? })
    }

    /// Returns a segment that was read in that namespace, with owner and creator translated to our ids. Those without
    /// an id there, or here, are [`UNKNOWN_ID`].
    pub(super) fn as_seen_here(&self, segment: Segment) -> Segment {
        let (no_user, no_group) = (overflow_uid(), overflow_gid());
        let user = |id| translate(&self.users, id, no_user);
        let group = |id| translate(&self.groups, id, no_group);
        Segment {
            uid: user(segment.uid),
            gid: group(segment.gid),
            cuid: user(segment.cuid),
            cgid: group(segment.cgid),
            ..segment
        }
    }
}

/// Parses the lines `inside here length`.
fn ranges(map: &str) -> Vec<Range> {
    let range = |line: &str| {
        let mut fields = line.split_ascii_whitespace().map(str::parse);
        let mut field = || fields.next()?.ok();
        Some(Range { inside: field()?, here: field()?, length: field()? })
    };
    map.lines().filter_map(range).collect()
}

/// Translates an id. In the other namespace the overflow id can be a user's, but it also stands for all users without
/// an id there.
fn translate(ranges: &[Range], inside: u32, overflow: u32) -> u32 {
    if inside == overflow && !covers_all(ranges.iter().map(|range| (range.inside, range.length))) {
        return UNKNOWN_ID;
    }
    let here = |range: &Range| {
        let offset = inside.checked_sub(range.inside).filter(|offset| *offset < range.length)?;
        range.here.checked_add(offset)
    };
    ranges.iter().find_map(here).unwrap_or(UNKNOWN_ID)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_translated_by_the_map() {
        let map = ranges("         0       1000          1\n         1     100000      65536\n");
        let overflow = 65534;
        for (inside, here) in [
            (0, 1000),
            (1, 100_000),
            (33, 100_032),
            (65536, 165_535),
            (65537, UNKNOWN_ID),
            // It has an id here, but others than this user are shown so, too.
            (overflow, UNKNOWN_ID),
        ] {
            assert_eq!(translate(&map, inside, overflow), here, "{inside}");
        }
        let all = ranges("0 0 4294967295\n");
        for id in [overflow, 4_294_967_294] {
            assert_eq!(translate(&all, id, overflow), id);
        }
        assert_eq!(translate(&[], 0, overflow), UNKNOWN_ID);
        // The user in between has no id here.
        assert_eq!(translate(&ranges("0 4294967295 2\n"), 1, overflow), UNKNOWN_ID);
    }
}
