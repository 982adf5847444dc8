//! Finding the name of a cgroup from the inode of its directory, or that the cgroup was removed.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::Charge;
use crate::system::memory_cgroups::{Directories, MemoryCgroups, Shared};
use crate::system::units::Unit;
use crate::values::visible;

/// The kernel updates memory.stat every two seconds (mm/memcontrol.c, FLUSH_TIME).
const UPDATED_WITHIN: Duration = Duration::from_millis(2500);
/// The interval of reading it until then.
const PAUSE: Duration = Duration::from_millis(50);

/// Returns whether this machine charges huge pages of hugetlbfs to memory cgroups: cgroup2 mounted with
/// memory_hugetlb_accounting, since Linux 6.6.
///
/// # Errors
/// Those of reading `/proc/self/mountinfo`.
pub(super) fn charges_huge_pages() -> io::Result<bool> {
    let mounts = fs::read_to_string("/proc/self/mountinfo")?;
    Ok(mounts.lines().any(|line| line.contains(" - cgroup2 ") && line.contains("memory_hugetlb_accounting")))
}

/// Returns the charged cgroups with their names, the largest amount first.
///
/// # Errors
/// Those of reading the hierarchy's topmost directory.
pub(super) fn named(bytes: &HashMap<u64, u64>) -> io::Result<Vec<Charge>> {
    let mut charges = Vec::new();
    let hierarchy = MemoryCgroups::find();
    let directories = match &hierarchy {
        Ok(hierarchy) => hierarchy.directories(&bytes.keys().copied().collect())?,
        // If the hierarchy is not mounted, no name is available.
        Err(_) => Directories::default(),
    };
    for (&inode, &bytes) in bytes {
        let unnamed = |removed| Charge { cgroup: None, unit: None, bytes, removed };
        match (inode, directories.found.get(&inode), &hierarchy) {
            (0, ..) => charges.push(unnamed(Some(false))),
            (_, Some(directory), Ok(hierarchy)) => {
                charges.extend(of_directory(hierarchy, directory, bytes, directories.any_removed));
            }
            // Shortly after a cgroup is removed, the kernel reports its parent.
            _ => charges.push(unnamed(directories.is_whole.then_some(true))),
        }
    }
    charges.sort_by(|a, b| b.bytes.cmp(&a.bytes).then_with(|| (&a.cgroup, a.removed).cmp(&(&b.cgroup, b.removed))));
    Ok(charges)
}

/// Returns the charges behind a directory's inode. The kernel reports the nearest cgroup that was not removed, so part
/// of the amount may be charged to removed cgroups below it.
fn of_directory(hierarchy: &MemoryCgroups, directory: &Path, bytes: u64, any_removed: bool) -> Vec<Charge> {
    let path = hierarchy.shown(directory);
    let path = path.as_os_str().as_bytes();
    let (cgroup, unit) = (visible(path).into_owned(), Unit::of_cgroup(path));
    let shares = if any_removed && !hierarchy.none_removed_below(directory) {
        shares(hierarchy, directory, bytes)
    } else {
        Shares { own: bytes, removed: 0 }
    };
    let charge = |bytes, removed| Charge { cgroup: Some(cgroup.clone()), unit: unit.clone(), bytes, removed };
    let either = bytes - shares.own - shares.removed;
    let all = [(shares.own, Some(false)), (shares.removed, Some(true)), (either, None)];
    all.into_iter().filter(|(bytes, _)| *bytes > 0).map(|(bytes, removed)| charge(bytes, removed)).collect()
}

/// The bytes that certainly belong to the cgroup itself, and those that certainly belong to removed ones below it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Shares {
    own: u64,
    removed: u64,
}

fn shares(hierarchy: &MemoryCgroups, directory: &Path, bytes: u64) -> Shares {
    let deadline = Instant::now() + UPDATED_WITHIN;
    loop {
        let shared = hierarchy.shared(directory);
        match shared.and_then(|shared| bounds(shared, bytes)) {
            Some(_) if !hierarchy.may_have_processes(directory) => return Shares { own: 0, removed: bytes },
            Some(shares) => return shares,
            // The kernel updates its statistics later than its charges.
            None if shared.is_some() && Instant::now() < deadline => sleep(PAUSE),
            None => return Shares { own: 0, removed: 0 },
        }
    }
}

/// Derives bounds from the amount charged to the cgroup; `None` if that is less than what was found.
fn bounds(shared: Shared, bytes: u64) -> Option<Shares> {
    let own_at_most = shared.own.unwrap_or(shared.removed).min(bytes);
    let removed_at_most = shared.removed.min(bytes);
    match shared.own {
        Some(_) if own_at_most + removed_at_most < bytes => None,
        None if shared.removed < bytes => None,
        _ => Some(Shares { own: bytes - removed_at_most, removed: bytes - own_at_most }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_counts_bound_the_shares() {
        for (own, removed, bytes, shares) in [
            // Version 1: everything is the cgroup's own, or everything was removed.
            (Some(100), 0, 100, Some((100, 0))),
            (Some(0), 100, 100, Some((0, 100))),
            (Some(0), 500, 100, Some((0, 100))),
            // Some of each is certain; the rest can be either.
            (Some(60), 40, 100, Some((60, 40))),
            (Some(80), 30, 100, Some((70, 20))),
            (Some(500), 500, 100, Some((0, 0))),
            // The statistics are outdated.
            (Some(10), 20, 100, None),
            // Version 2 has only the sum of both.
            (None, 100, 100, Some((0, 0))),
            (None, 20, 100, None),
        ] {
            let found = bounds(Shared { own, removed }, bytes);
            assert_eq!(found, shares.map(|(own, removed)| Shares { own, removed }), "{own:?} {removed} {bytes}");
        }
    }
}
