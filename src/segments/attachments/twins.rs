//! Processes that share one address space, as a child of vfork(2) and its parent do. Each process shows the same
//! attachments, but the kernel counts them once.

use std::cmp::Ordering;

use nix::unistd::Pid;

use crate::linux::compare_memory;

/// A process with the inode of its IPC namespace.
pub(super) type Member = (i32, u64);

/// The processes of one address space: for each IPC namespace the first one found.
pub(super) type Twins = Vec<Member>;

/// Groups processes by their address spaces, with about n log n comparisons. If the kernel cannot compare a process,
/// that process forms its own group.
pub(super) fn distinct(processes: &[Member]) -> Vec<Twins> {
    // Sorted by the kernel's order, which is not that of the pids.
    let mut ordered: Vec<Twins> = Vec::new();
    let mut incomparable = Vec::new();
    for &(pid, namespace) in processes {
        match place(&ordered, pid) {
            Some(Ok(place)) => {
                if !ordered[place].iter().any(|(_, other)| *other == namespace) {
                    ordered[place].push((pid, namespace));
                }
            }
            Some(Err(place)) => ordered.insert(place, vec![(pid, namespace)]),
            None => incomparable.push(vec![(pid, namespace)]),
        }
    }
    ordered.append(&mut incomparable);
    ordered
}

/// Returns the position of a process, or where to insert it, as a binary search does; `None` if the kernel cannot
/// compare.
fn place(ordered: &[Twins], pid: i32) -> Option<Result<usize, usize>> {
    let (mut low, mut high) = (0, ordered.len());
    while low < high {
        let middle = low.midpoint(high);
        let (other, _) = *ordered[middle].first()?;
        match compare_memory(Pid::from_raw(other), Pid::from_raw(pid))? {
            Ordering::Equal => return Some(Ok(middle)),
            Ordering::Less => low = middle + 1,
            Ordering::Greater => high = middle,
        }
    }
    Some(Err(low))
}
