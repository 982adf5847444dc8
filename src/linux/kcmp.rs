//! Which resources two processes share.

use nix::unistd::Pid;

// include/uapi/linux/kcmp.h
const KCMP_VM: libc::c_long = 1;

/// kcmp(2) with `KCMP_VM`: returns whether two processes have one address space, as a child of vfork(2) and its parent.
///
/// `false` also where the kernel does not say: a process that ended, or one that this process may not inspect.
pub(crate) fn share_memory(one: Pid, other: Pid) -> bool {
    let (one, other) = (libc::c_long::from(one.as_raw()), libc::c_long::from(other.as_raw()));
    // SAFETY: KCMP_VM takes numbers only and touches no memory of ours.
    let ret = unsafe { libc::syscall(libc::SYS_kcmp, one, other, KCMP_VM, 0 as libc::c_long, 0 as libc::c_long) };
    ret == 0
}
