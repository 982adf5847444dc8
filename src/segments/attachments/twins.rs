//! Processes that share one address space, as a child of vfork(2) and its parent do. Each of them shows the same
//! attachments, but the kernel counts them once.

use std::cmp::Ordering;

use nix::unistd::Pid;

use crate::linux::compare_memory;

/// A process with the inode of its IPC namespace.
pub(super) type Member = (i32, u64);

/// Processes of one address space: of those in one IPC namespace the one that came first.
pub(super) type Twins = Vec<Member>;

/// Sorts processes by their address spaces. It compares about n log n of them. Where the kernel does not compare, each
/// process stands for itself.
pub(super) fn distinct(processes: &[Member]) -> Vec<Twins> {
    // In the kernel's order, which is no order of pids.
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

/// Returns where a process is or belongs, as a binary search does; `None` if the kernel does not tell.
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
