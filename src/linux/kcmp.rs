//! Which resources two processes share.

use std::cmp::Ordering;

use nix::unistd::Pid;

// include/uapi/linux/kcmp.h
const KCMP_VM: libc::c_long = 1;
const KCMP_FILES: libc::c_long = 2;

/// Compares the address spaces of two processes: kcmp(2) with `KCMP_VM`. They are equal if the processes share one, as
/// a child of vfork(2) and its parent do. Otherwise they have an order that is stable until the next boot.
///
/// Returns `None` if the kernel does not answer: a process has ended, or this process may not inspect it.
pub(crate) fn compare_memory(one: Pid, other: Pid) -> Option<Ordering> {
    compare(one, other, KCMP_VM)
}

/// Compares the tables of open files of two processes, like [`compare_memory`]: kcmp(2) with `KCMP_FILES`.
pub(crate) fn compare_files(one: Pid, other: Pid) -> Option<Ordering> {
    compare(one, other, KCMP_FILES)
}

fn compare(one: Pid, other: Pid, resource: libc::c_long) -> Option<Ordering> {
    let (one, other) = (libc::c_long::from(one.as_raw()), libc::c_long::from(other.as_raw()));
    // SAFETY: for these two resources the call takes only numbers, and does not access our memory.
    let ret = unsafe { libc::syscall(libc::SYS_kcmp, one, other, resource, 0 as libc::c_long, 0 as libc::c_long) };
    match ret {
        0 => Some(Ordering::Equal),
        1 => Some(Ordering::Less),
        2 => Some(Ordering::Greater),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_shares_memory_with_itself_alone() {
        let (own, first) = (Pid::this(), Pid::from_raw(1));
        assert!(matches!(compare_memory(own, own), Some(Ordering::Equal) | None));
        assert_ne!(compare_memory(own, first), Some(Ordering::Equal));
    }
}
