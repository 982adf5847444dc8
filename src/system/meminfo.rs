//! Memory of the whole machine: `/proc/meminfo` (proc_meminfo(5)).

use std::fs;

/// The contents of the file.
///
/// The procfs crate is not used: it fails if one of 17 fields is missing, as in a sandbox that imitates the file.
#[derive(Debug)]
pub(crate) struct Meminfo(String);

impl Meminfo {
    /// Reads the file; `None` if /proc does not show it.
    pub(crate) fn read() -> Option<Meminfo> {
        fs::read_to_string("/proc/meminfo").ok().map(Meminfo)
    }

    /// Returns a field: a number of bytes, or of pages for those that the kernel prints without a unit.
    pub(crate) fn field(&self, name: &str) -> Option<u64> {
        let mut fields = self.0.lines().filter_map(|line| line.split_once(':'));
        let (_, value) = fields.find(|(field, _)| *field == name)?;
        match value.trim().strip_suffix(" kB") {
            Some(kibibytes) => Some(kibibytes.parse::<u64>().ok()?.saturating_mul(1024)),
            None => value.trim().parse().ok(),
        }
    }
}

/// Returns the bytes of shared memory (`Shmem`), which include all segments. `None` if /proc does not show it.
pub(crate) fn shmem() -> Option<u64> {
    Meminfo::read()?.field("Shmem")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_with_and_without_a_unit() {
        let text = "MemTotal:       16342324 kB\nShmem:             10508 kB\nShmemHugePages:        0 kB\n\
                    HugePages_Total:       4\nHugepagesize:       2048 kB\nHugetlb:  18446744073709551615 kB\n";
        let meminfo = Meminfo(text.into());
        let fields = ["Shmem", "HugePages_Total", "Hugepagesize", "Hugetlb", "HugePages_Free"];
        let expected = [Some(10508 << 10), Some(4), Some(2 << 20), Some(u64::MAX), None];
        assert_eq!(fields.map(|name| meminfo.field(name)), expected);
    }
}
