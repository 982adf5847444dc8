//! The executable mappings of a process: `/proc/PID/maps` (proc_pid_maps(5)).

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;

use memchr::memchr;

/// An executable mapping of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CodeMapping {
    pub start: u64,
    pub end: u64,
    /// The file offset at which it starts.
    pub offset: u64,
    /// Major and minor number of the file's device.
    pub device: (u32, u32),
    /// 0 if no file is mapped.
    pub inode: u64,
    /// As the kernel writes it: ` (deleted)` follows the name of a deleted file.
    pub path: Vec<u8>,
}

/// All executable mappings of a process, in ascending order of addresses.
#[derive(Debug, Clone, Default)]
pub(crate) struct Mappings {
    mappings: Vec<CodeMapping>,
    /// The indices of the mappings found. `missed` is set if an address was in no mapping.
    found: RefCell<BTreeSet<usize>>,
    missed: Cell<bool>,
}

impl Mappings {
    /// Parses the lines of executable mappings. A malformed line is skipped.
    pub(crate) fn parse(maps: &[u8]) -> Mappings {
        let mappings = maps.split(|byte| *byte == b'\n').filter_map(parse_line).collect();
        Mappings { mappings, ..Mappings::default() }
    }

    /// Returns the mapping that contains this address.
    pub(crate) fn find(&self, address: u64) -> Option<&CodeMapping> {
        let behind = self.mappings.partition_point(|mapping| mapping.start <= address);
        let found = self.mappings[..behind].last().filter(|mapping| address < mapping.end);
        match found {
            Some(_) => drop(self.found.borrow_mut().insert(behind - 1)),
            None => self.missed.set(true),
        }
        found
    }

    /// Returns the mappings in ascending order of addresses.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &CodeMapping> {
        self.mappings.iter()
    }

    /// Clears the record of the mappings found.
    pub(crate) fn forget_found(&self) {
        self.found.borrow_mut().clear();
        self.missed.set(false);
    }

    /// Returns whether every address looked up since then was in a mapping, and `holds` is true for each of these
    /// mappings.
    pub(crate) fn all_found(&self, holds: impl Fn(&CodeMapping) -> Option<bool>) -> bool {
        let found = self.found.borrow();
        !self.missed.get() && !found.is_empty() && found.iter().all(|index| holds(&self.mappings[*index]) == Some(true))
    }
}

fn parse_line(line: &[u8]) -> Option<CodeMapping> {
    let mut rest = line;
    let mut word = || {
        rest = rest.trim_ascii_start();
        let (word, behind) = rest.split_at(memchr(b' ', rest).unwrap_or(rest.len()));
        rest = behind;
        str::from_utf8(word).ok()
    };
    let hexadecimal = |word: &str| u64::from_str_radix(word, 16).ok();
    let (start, end) = word()?.split_once('-')?;
    if word()?.as_bytes().get(2) != Some(&b'x') {
        return None;
    }
    let offset = hexadecimal(word()?)?;
    let (major, minor) = word()?.split_once(':')?;
    let device = (u32::from_str_radix(major, 16).ok()?, u32::from_str_radix(minor, 16).ok()?);
    let inode = word()?.parse().ok()?;
    let path = rest.trim_ascii_start().to_vec();
    Some(CodeMapping { start: hexadecimal(start)?, end: hexadecimal(end)?, offset, device, inode, path })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_executable_mappings_are_found() {
        let mappings = Mappings::parse(
            b"00400000-00401000 r--p 00000000 fe:01 42         /srv/a case\n\
              00401000-00402000 r-xp 00001000 fe:01 42         /srv/a case\n\
              nonsense\n\
              7ffd1000-7ffd2000 r-xp 00000000 00:00 0          [vdso]\n\
              7ffe1000-7ffe2000 r-xp 00000000 00:00 0 \n",
        );
        let found = mappings.find(0x40_1fff).unwrap();
        assert_eq!(
            (found.offset, found.device, found.inode, &found.path[..]),
            (0x1000, (0xfe, 1), 42, &b"/srv/a case"[..])
        );
        assert_eq!(mappings.find(0x7ffe_1000).map(|mapping| &mapping.path[..]), Some(&b""[..]));
        for outside in [0, 0x40_0fff, 0x40_2000, u64::MAX] {
            assert_eq!(mappings.find(outside), None, "{outside:#x}");
        }
    }
}
