//! Whether there is memory for what is about to be written: the kernel does not refuse a page, it kills.

use std::fmt;
use std::fs;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use procfs::ProcResult;
use procfs::process::{MountInfo, Process};

use crate::sysv::Contents;
use crate::values::{human, visible_path};

/// So much is always to be had, or else nothing goes any more: it is not worth asking for.
const LITTLE: u64 = 1 << 20;

/// A warning, where writing to a part of a segment takes more memory than is left. `None` also where that cannot be
/// known: /proc or the cgroups are not to be seen.
pub(crate) fn shortage(contents: &Contents<'_>, name: &str, part: Range<u64>) -> Option<String> {
    let length = part.end - part.start;
    if length <= LITTLE {
        return None;
    }
    let left = machine().into_iter().chain(cgroups().unwrap_or_default()).min_by_key(|left| left.bytes)?;
    // Most often this settles it, and the segment need not be looked through.
    if length <= left.bytes || !has_holes_for_more(contents, part, left.bytes).ok()? {
        return None;
    }
    let (length, bytes) = (human(length.into()), human(left.bytes.into()));
    Some(format!(
        "warning: writing {length} to {name} takes more new memory than the {bytes} that {}; write less, or make room \
         first: `shmadm list --sort rss` shows what segments take",
        left.bound
    ))
}

/// How much memory can still be taken, and what bounds it.
#[derive(Debug)]
struct Left {
    bytes: u64,
    bound: Bound,
}

#[derive(Debug)]
enum Bound {
    Machine,
    /// A file of a cgroup's directory.
    Cgroup(PathBuf, &'static str),
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Machine => f.write_str(
                "the machine has left (MemAvailable): it may swap, and the kernel may kill this process or others",
            ),
            Self::Cgroup(path, "memory.high") => {
                write!(f, "cgroup {} has left (memory.high): the kernel slows this process down", visible_path(path))
            }
            Self::Cgroup(path, file) => write!(
                f,
                "cgroup {} has left ({file}): the kernel kills this process when it is full, and the segment keeps it \
                 full until it is removed",
                visible_path(path)
            ),
        }
    }
}

/// Whether more than `left` bytes of a part of the segment have no page yet.
fn has_holes_for_more(contents: &Contents<'_>, part: Range<u64>, left: u64) -> io::Result<bool> {
    let (mut at, mut holes) = (part.start, 0);
    while at < part.end && holes <= left {
        let extent = contents.extent(at..part.end)?;
        holes += if extent.is_hole { extent.end - at } else { 0 };
        at = extent.end;
    }
    Ok(holes > left)
}

fn machine() -> Option<Left> {
    // procfs reads all sixty fields of the file, which is much program for one.
    let meminfo = fs::read_to_string("/proc/meminfo").ok()?;
    let available = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kibibytes: u64 = available.trim().strip_suffix(" kB")?.parse().ok()?;
    let bytes = kibibytes.saturating_mul(1024);
    Some(Left { bytes, bound: Bound::Machine })
}

/// What is left in our memory cgroup and those that it is in, of either version (cgroups(7)).
fn cgroups() -> ProcResult<Vec<Left>> {
    let me = Process::myself()?;
    let mounts: Vec<_> = me.mountinfo()?.into_iter().collect();
    let mut all = Vec::new();
    for cgroup in me.cgroups()? {
        let limits: &[_] = match cgroup.hierarchy {
            0 => &V2,
            _ if cgroup.controllers.iter().any(|name| name == "memory") => &V1,
            _ => continue,
        };
        let is_its = |mount: &&MountInfo| match cgroup.hierarchy {
            0 => mount.fs_type == "cgroup2",
            _ => mount.fs_type == "cgroup" && mount.super_options.contains_key("memory"),
        };
        let Some(mount) = mounts.iter().find(is_its) else { continue };
        // A container sees its own cgroup as the root of the mount, but not always in the path.
        let below = Path::new(&cgroup.pathname);
        let below = below.strip_prefix(&mount.root).or_else(|_| below.strip_prefix("/")).unwrap_or(below);
        let own = mount.mount_point.join(below);
        for directory in own.ancestors().take_while(|directory| directory.starts_with(&mount.mount_point)) {
            all.extend(limits.iter().filter_map(|limit| limit.left(directory)));
        }
    }
    Ok(all)
}

/// Where a version of cgroups has a limit, and what counts against it.
struct Limit {
    limit: &'static str,
    usage: &'static str,
    /// In memory.stat: cached files, which go when memory is wanted.
    cached: &'static str,
}

const V2: [Limit; 2] = [
    Limit { limit: "memory.max", usage: "memory.current", cached: "inactive_file" },
    Limit { limit: "memory.high", usage: "memory.current", cached: "inactive_file" },
];
const V1: [Limit; 1] =
    [Limit { limit: "memory.limit_in_bytes", usage: "memory.usage_in_bytes", cached: "total_inactive_file" }];

impl Limit {
    /// `None` where there is no such limit, which is `max` in version 2 and a number near 2^63 in version 1.
    fn left(&self, directory: &Path) -> Option<Left> {
        let limit = number(&directory.join(self.limit))?;
        let usage = number(&directory.join(self.usage))?;
        let stat = fs::read_to_string(directory.join("memory.stat")).unwrap_or_default();
        let cached = stat.lines().find_map(|line| line.strip_prefix(self.cached)?.trim().parse().ok()).unwrap_or(0);
        let bytes = limit.saturating_sub(usage.saturating_sub(cached));
        Some(Left { bytes, bound: Bound::Cgroup(directory.into(), self.limit) })
    }
}

fn number(path: &Path) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}
