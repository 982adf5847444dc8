//! How much memory can still be allocated: what the machine has available, and what the memory cgroups allow.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use procfs::process::{MountInfo, Process};
use procfs::{ProcError, ProcResult};

use super::meminfo::Meminfo;

/// How much memory can still be allocated, and what limits it.
#[derive(Debug)]
pub(crate) struct MemoryLeft {
    /// The amount in bytes.
    pub bytes: u64,
    /// The limit.
    pub bound: Bound,
}

/// The limit that is reached first.
#[derive(Debug)]
pub(crate) enum Bound {
    /// MemAvailable of the machine.
    Machine,
    /// A file of a cgroup's directory.
    Cgroup(PathBuf, &'static str),
}

/// Returns the tightest limit; `None` if neither /proc nor the cgroups can be read.
pub(crate) fn memory_left() -> Option<MemoryLeft> {
    machine().into_iter().chain(memory_left_in_cgroups().unwrap_or_default()).min_by_key(|left| left.bytes)
}

/// Returns what is left in our memory cgroup and in its ancestors, for both cgroup versions (cgroups(7)). Cgroups
/// without a limit are skipped.
///
/// # Errors
/// A limit cannot be read, or the hierarchy with the memory controller is not mounted here.
pub(crate) fn memory_left_in_cgroups() -> io::Result<Vec<MemoryLeft>> {
    match cgroups() {
        // A kernel without cgroups does not have the file.
        Err(ProcError::NotFound(Some(path))) if path.ends_with("cgroup") && Path::new("/proc/self").exists() => {
            Ok(Vec::new())
        }
        Err(ProcError::Io(error, _)) => Err(error),
        result => result.map_err(io::Error::other),
    }
}

fn machine() -> Option<MemoryLeft> {
    Some(MemoryLeft { bytes: Meminfo::read()?.field("MemAvailable")?, bound: Bound::Machine })
}

fn cgroups() -> ProcResult<Vec<MemoryLeft>> {
    let me = Process::myself()?;
    let mounts: Vec<_> = me.mountinfo()?.into_iter().collect();
    let mut all = Vec::new();
    let cgroups = me.cgroups()?;
    let has_memory = |controllers: &[String]| controllers.iter().any(|name| name == "memory");
    let is_version_one = cgroups.0.iter().any(|cgroup| has_memory(&cgroup.controllers));
    for cgroup in cgroups {
        let limits: &[_] = match cgroup.hierarchy {
            0 => &V2,
            _ if has_memory(&cgroup.controllers) => &V1,
            _ => continue,
        };
        let is_its = |mount: &&MountInfo| match cgroup.hierarchy {
            0 => mount.fs_type == "cgroup2",
            _ => mount.fs_type == "cgroup" && mount.super_options.contains_key("memory"),
        };
        let Some(mount) = mounts.iter().find(is_its) else {
            if cgroup.hierarchy == 0 && is_version_one {
                continue;
            }
            return Err(io::Error::other("the cgroup hierarchy is not mounted here").into());
        };
        // A container sees its own cgroup as the root of the mount, but its path may still be the host's.
        let below = Path::new(&cgroup.pathname);
        let below = below.strip_prefix(&mount.root).or_else(|_| below.strip_prefix("/")).unwrap_or(below);
        let own = mount.mount_point.join(below);
        for directory in own.ancestors().take_while(|directory| directory.starts_with(&mount.mount_point)) {
            for limit in limits {
                all.extend(limit.left(directory)?);
            }
        }
    }
    Ok(all)
}

/// The files in which a cgroup version keeps a limit and the usage counted against it.
struct Limit {
    limit: &'static str,
    usage: &'static str,
    /// Field of memory.stat: cached files, which the kernel can reclaim.
    cached: &'static str,
}

const V2: [Limit; 2] = [
    Limit { limit: "memory.max", usage: "memory.current", cached: "inactive_file" },
    Limit { limit: "memory.high", usage: "memory.current", cached: "inactive_file" },
];
const V1: [Limit; 1] =
    [Limit { limit: "memory.limit_in_bytes", usage: "memory.usage_in_bytes", cached: "total_inactive_file" }];

impl Limit {
    /// Returns what this directory's limit leaves. `None` if there is no limit: `max` in version 2, a number near 2^63
    /// in version 1.
    ///
    /// # Errors
    /// Those of reading the files. A cgroup without the memory controller has none.
    fn left(&self, directory: &Path) -> io::Result<Option<MemoryLeft>> {
        let Some(limit) = number(&directory.join(self.limit))? else { return Ok(None) };
        let Some(usage) = number(&directory.join(self.usage))? else { return Ok(None) };
        let stat = fs::read_to_string(directory.join("memory.stat")).unwrap_or_default();
        let cached = stat.lines().find_map(|line| line.strip_prefix(self.cached)?.trim().parse().ok()).unwrap_or(0);
        let bytes = limit.saturating_sub(usage.saturating_sub(cached));
        Ok(Some(MemoryLeft { bytes, bound: Bound::Cgroup(directory.into(), self.limit) }))
    }
}

/// Reads a number; `None` if the file contains another word, or there is none.
fn number(path: &Path) -> io::Result<Option<u64>> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(text.trim().parse().ok()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}
