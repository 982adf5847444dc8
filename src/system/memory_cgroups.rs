//! The memory cgroups of the machine: the directories for the inodes that the kernel reports, and the shared memory
//! charged to each.

use std::collections::{HashMap, HashSet};
use std::fs::{self, DirEntry};
use std::io;
use std::os::unix::fs::{DirEntryExt, MetadataExt};
use std::path::{Path, PathBuf};

use crate::values::unescaped_path;

/// The inode of the root of a complete hierarchy (fs/kernfs).
const ROOT: u64 = 1;

/// The hierarchy with the memory controller, as mounted here.
#[derive(Debug)]
pub(crate) struct MemoryCgroups {
    mounted: PathBuf,
    /// The mounted part of the hierarchy: `/`, or the part that a container sees.
    part: PathBuf,
    version: Version,
    /// Whether the whole hierarchy is mounted.
    is_whole: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Version {
    One,
    Two,
}

/// The result of searching the hierarchy.
#[derive(Debug, Default)]
pub(crate) struct Directories {
    /// The directories found, by inode.
    pub found: HashMap<u64, PathBuf>,
    /// Whether the whole hierarchy was searched. If so, an inode without a directory belongs to a removed cgroup.
    pub is_whole: bool,
    /// Whether memory may still be charged to removed cgroups.
    pub any_removed: bool,
}

/// The shared memory charged to a cgroup and those below it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shared {
    /// Bytes charged to the cgroup itself; `None` in version 2, where the kernel does not show it.
    pub own: Option<u64>,
    /// Bytes charged to removed cgroups below it. In version 2 this includes the cgroup's own bytes.
    pub removed: u64,
}

impl MemoryCgroups {
    /// Finds the mount in `/proc/self/mountinfo` (proc_pid_mountinfo(5)).
    ///
    /// # Errors
    /// `NotFound` if the hierarchy is not mounted. Also those of reading `/proc`: an inode of one hierarchy is another
    /// cgroup in the other.
    pub(crate) fn find() -> io::Result<MemoryCgroups> {
        let mounts = fs::read("/proc/self/mountinfo")?;
        let (mounted, part, version) = mount(&mounts).ok_or(io::ErrorKind::NotFound)?;
        let controllers = fs::read_to_string("/proc/cgroups")?;
        if version == Version::Two && has_memory_in_version_one(&controllers) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let is_whole = fs::metadata(&mounted)?.ino() == ROOT;
        Ok(MemoryCgroups { mounted, part, version, is_whole })
    }

    /// Finds the directories of these inodes. It may miss cgroups that are created or removed during the search.
    ///
    /// # Errors
    /// Those of reading the topmost directory.
    pub(crate) fn directories(&self, wanted: &HashSet<u64>) -> io::Result<Directories> {
        let mut directories = Directories { is_whole: self.is_whole, ..Directories::default() };
        let root = fs::metadata(&self.mounted)?.ino();
        let mut count: u64 = 0;
        let mut open = vec![(root, PathBuf::new())];
        while let Some((inode, path)) = open.pop() {
            count += 1;
            if wanted.contains(&inode) {
                directories.found.insert(inode, path.clone());
            }
            match self.below(&path) {
                Ok(below) => open.extend(below.iter().map(|entry| (entry.ino(), path.join(entry.file_name())))),
                // A cgroup that is gone has no children. The topmost directory was there a moment ago.
                Err(error) if error.kind() == io::ErrorKind::NotFound && !path.as_os_str().is_empty() => {}
                Err(_) => directories.is_whole = false,
            }
        }
        directories.any_removed = !self.is_whole || self.number_with_removed().is_none_or(|number| number != count);
        Ok(directories)
    }

    /// Returns a directory's path in the form of `/proc/PID/cgroup`.
    pub(crate) fn shown(&self, directory: &Path) -> PathBuf {
        self.part.join(directory)
    }

    /// Returns the shared memory charged to a cgroup; `None` if it is gone, or if the kernel does not show it.
    pub(crate) fn shared(&self, directory: &Path) -> Option<Shared> {
        let (own, total) = self.counted(directory)?;
        let below = self.below(directory).ok()?;
        let below = below.iter().filter_map(|entry| self.counted(&directory.join(entry.file_name())));
        let below: u64 = below.map(|(_, total)| total).sum();
        Some(Shared { own, removed: total.saturating_sub(own.unwrap_or(0)).saturating_sub(below) })
    }

    /// Returns whether the kernel reports no removed cgroup below this one that still has memory charged to it (version
    /// 2).
    pub(crate) fn none_removed_below(&self, directory: &Path) -> bool {
        let stat = fs::read_to_string(self.mounted.join(directory).join("cgroup.stat")).unwrap_or_default();
        self.version == Version::Two && stat.lines().any(|line| line == "nr_dying_descendants 0")
    }

    /// Returns whether the cgroup may contain processes. In version 2 a cgroup that distributes memory to its children
    /// may not (Documentation/admin-guide/cgroup-v2.rst, "No Internal Process Constraint"). The root is exempt.
    pub(crate) fn may_have_processes(&self, directory: &Path) -> bool {
        let shared_out =
            || fs::read_to_string(self.mounted.join(directory).join("cgroup.subtree_control")).unwrap_or_default();
        self.version == Version::One
            || directory.as_os_str().is_empty()
            || !shared_out().split_whitespace().any(|controller| controller == "memory")
    }

    /// Returns the bytes of shared memory in `memory.stat`: of the cgroup itself, and including those below it.
    fn counted(&self, directory: &Path) -> Option<(Option<u64>, u64)> {
        let text = fs::read_to_string(self.mounted.join(directory).join("memory.stat")).ok()?;
        let bytes = |name: &str| {
            let mut lines = text.lines().filter_map(|line| line.split_once(' '));
            lines.find(|(field, _)| *field == name)?.1.parse().ok()
        };
        match self.version {
            Version::One => Some((Some(bytes("shmem")?), bytes("total_shmem")?)),
            Version::Two => Some((None, bytes("shmem")?)),
        }
    }

    /// Returns the number of cgroups, including removed ones that still have memory charged to them.
    fn number_with_removed(&self) -> Option<u64> {
        // Format (proc(5)): subsys_name hierarchy num_cgroups enabled
        let cgroups = fs::read_to_string("/proc/cgroups").ok()?;
        cgroups.lines().find_map(|line| line.strip_prefix("memory"))?.split_whitespace().nth(1)?.parse().ok()
    }

    fn below(&self, directory: &Path) -> io::Result<Vec<DirEntry>> {
        let mut below = Vec::new();
        for entry in fs::read_dir(self.mounted.join(directory))? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                below.push(entry);
            }
        }
        Ok(below)
    }
}

/// Returns the mount of the hierarchy with the memory controller: version 1 if it has the controller, else version 2.
fn mount(mounts: &[u8]) -> Option<(PathBuf, PathBuf, Version)> {
    let mut unified = None;
    for line in mounts.split(|byte| *byte == b'\n') {
        // Format: 35 31 0:32 /part /mounted rw,relatime optional - cgroup cgroup rw,memory
        let words: Vec<&[u8]> = line.split(|byte| *byte == b' ').collect();
        let Some(end) = words.iter().position(|word| *word == b"-") else { continue };
        let (Some(part), Some(mounted), [kind, _, options]) = (words.get(3), words.get(4), &words[end + 1..]) else {
            continue;
        };
        let found = |version| Some((unescaped_path(mounted), unescaped_path(part), version));
        match *kind {
            b"cgroup" if options.split(|byte| *byte == b',').any(|option| option == b"memory") => {
                return found(Version::One);
            }
            b"cgroup2" if unified.is_none() => unified = found(Version::Two),
            _ => {}
        }
    }
    unified
}

/// Returns whether /proc/cgroups (cgroups(7)) puts the memory controller into a hierarchy of version 1, where its
/// number is not 0.
fn has_memory_in_version_one(controllers: &str) -> bool {
    let memory = controllers.lines().find_map(|line| line.strip_prefix("memory\t"));
    memory.is_some_and(|fields| fields.split('\t').next() != Some("0"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hierarchy_with_the_memory_controller_is_found() {
        let one = "35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n";
        let two = "41 31 0:38 /docker/ab /sys/fs/cgroup\\040two rw shared:3 master:1 - cgroup2 cgroup2 rw,nsdelegate\n";
        let other = "36 31 0:33 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n";
        for (mounts, found) in [
            (format!("{other}{one}"), Some(("/sys/fs/cgroup/memory", "/", Version::One))),
            (format!("{two}{one}"), Some(("/sys/fs/cgroup/memory", "/", Version::One))),
            (format!("{other}{two}"), Some(("/sys/fs/cgroup two", "/docker/ab", Version::Two))),
            (other.to_owned(), None),
            ("nonsense - \n-".to_owned(), None),
        ] {
            let expected = found.map(|(mounted, part, version)| (mounted.into(), part.into(), version));
            assert_eq!(mount(mounts.as_bytes()), expected, "{mounts}");
        }
    }

    #[test]
    fn the_memory_controller_is_in_one_version() {
        let title = "#subsys_name\thierarchy\tnum_cgroups\tenabled\ncpu\t1\t1\t1\n";
        for (memory, expected) in [("memory\t4\t37\t1\n", true), ("memory\t0\t37\t1\n", false), ("", false)] {
            assert_eq!(has_memory_in_version_one(&format!("{title}{memory}")), expected, "{memory}");
        }
    }
}
