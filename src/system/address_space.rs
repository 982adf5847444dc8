//! The address space of this process.

use std::fs;
use std::io;

/// Returns the size of the largest range of addresses below the stack in which nothing is mapped.
///
/// # Errors
/// Those of reading `/proc/self/maps`.
pub(crate) fn largest_free_range() -> io::Result<u64> {
    Ok(largest_gap(&fs::read("/proc/self/maps")?))
}

/// Returns the largest gap between mappings. Each line begins with `START-END ` (proc_pid_maps(5)).
fn largest_gap(maps: &[u8]) -> u64 {
    let range = |line: &[u8]| {
        let word = str::from_utf8(line.split(|byte| *byte == b' ').next()?).ok()?;
        let (start, end) = word.split_once('-')?;
        Some((u64::from_str_radix(start, 16).ok()?, u64::from_str_radix(end, 16).ok()?))
    };
    let (mut last, mut largest) = (0, 0);
    // The kernel's own page [vsyscall] lies in the upper half of the addresses.
    for (start, end) in maps.split(|byte| *byte == b'\n').filter_map(range).filter(|(_, end)| *end <= 1 << 63) {
        largest = largest.max(start.saturating_sub(last));
        last = end;
    }
    largest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_gap_is_below_the_stack() {
        let maps =
            b"400000-401000 r-xp 0 0:0 0 /a\n500000-600000 rw-p 0 0:0 0\n7ffffffde000-7ffffffff000 rw-p [stack]\n\
                     ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0 [vsyscall]\n";
        assert_eq!(largest_gap(maps), 0x7fff_fffd_e000 - 0x60_0000);
        assert!(largest_free_range().unwrap() > 1 << 30);
    }
}
