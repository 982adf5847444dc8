//! Processes that share one address space, as a child of vfork(2) and its parent do. Each process shows the same
//! attachments, but the kernel counts them once.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::io;

use nix::unistd::Pid;

use crate::linux::compare_memory;
use crate::system::namespace::Identity;
use crate::system::patience::{ask_all, note_missed};
use crate::system::process::all_pids;

/// A process with the inode of its IPC namespace.
pub(crate) type Member = (i32, u64);

/// The processes of one address space: for each IPC namespace the first one found.
pub(crate) type Twins = Vec<Member>;

/// Groups processes by their address spaces. This blocks if a process is stuck: see [`crate::system::patience`].
pub(super) fn distinct(processes: &[Member]) -> Vec<Twins> {
    let namespaces: BTreeMap<i32, u64> = processes.iter().copied().collect();
    let pids: Vec<i32> = processes.iter().map(|(pid, _)| *pid).collect();
    let groups = by_memory(&pids).into_iter();
    let first_of_each = |pids: Vec<i32>| {
        let mut twins: Twins = Vec::new();
        for (pid, namespace) in pids.iter().filter_map(|pid| Some((*pid, *namespaces.get(pid)?))) {
            if !twins.iter().any(|(_, other)| *other == namespace) {
                twins.push((pid, namespace));
            }
        }
        twins
    };
    groups.map(first_of_each).collect()
}

/// Returns whether the process shares its address space with one in another IPC namespace, which may have attached a
/// segment of that namespace. A process that does not answer may be one.
pub(super) fn has_twin_elsewhere(pid: i32) -> bool {
    let Ok(mut others) = all_pids() else { return true };
    others.retain(|other| *other != pid);
    let is_elsewhere = move |other| {
        let shares = compare_memory(Pid::from_raw(pid), Pid::from_raw(other)) == Some(Ordering::Equal);
        shares && may_differ(Identity::of_process(other), Identity::of_process(pid))
    };
    // kcmp(2) waits for a process that is stuck in execve(2).
    let answers = ask_all(&others, is_elsewhere);
    let silent: Vec<i32> =
        others.iter().zip(&answers).filter(|(_, answer)| answer.is_none()).map(|(other, _)| *other).collect();
    note_missed(&silent);
    answers.into_iter().any(|answer| answer.unwrap_or(true))
}

/// Returns whether two processes are in different IPC namespaces, or may be because one cannot be read.
fn may_differ(one: io::Result<Identity>, other: io::Result<Identity>) -> bool {
    !matches!((one, other), (Ok(one), Ok(other)) if one == other)
}

/// Groups processes by their address spaces, with about n log n comparisons; each group is in the order of `pids`. If
/// the kernel cannot compare a process, that process forms its own group.
///
/// This blocks if a process is stuck in execve(2): kcmp(2) waits for it. See [`crate::system::patience`].
pub(crate) fn by_memory(pids: &[i32]) -> Vec<Vec<i32>> {
    // Sorted by the kernel's order, which is not that of the pids.
    let mut ordered: Vec<Vec<i32>> = Vec::new();
    let mut incomparable = Vec::new();
    for &pid in pids {
        match place(&ordered, pid) {
            Some(Ok(place)) => ordered[place].push(pid),
            Some(Err(place)) => ordered.insert(place, vec![pid]),
            None => incomparable.push(vec![pid]),
        }
    }
    ordered.append(&mut incomparable);
    ordered
}

/// Returns the position of a process, or where to insert it, as a binary search does; `None` if the kernel cannot
/// compare.
fn place(ordered: &[Vec<i32>], pid: i32) -> Option<Result<usize, usize>> {
    let (mut low, mut high) = (0, ordered.len());
    while low < high {
        let middle = low.midpoint(high);
        let other = *ordered[middle].first()?;
        match compare_memory(Pid::from_raw(other), Pid::from_raw(pid))? {
            Ordering::Equal => return Some(Ok(middle)),
            Ordering::Less => low = middle + 1,
            Ordering::Greater => high = middle,
        }
    }
    Some(Err(low))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unreadable_namespaces_may_differ() {
        let (ours, unreadable) = (Identity::ours, || Err(io::ErrorKind::PermissionDenied.into()));
        assert!(!may_differ(ours(), ours()));
        assert!(may_differ(unreadable(), ours()));
        assert!(may_differ(ours(), unreadable()));
        assert!(may_differ(unreadable(), unreadable()));
    }
}
