//! kernel.shm_rmid_forced (proc_sys_kernel(5)): with 1, the kernel destroys each segment with its last detach.

use crate::error::{Error, Result};
use crate::segments::lookup;
use crate::values::ShmId;

/// Whether the kernel destroys each segment with its last detach (kernel.shm_rmid_forced, proc_sys_kernel(5)). The sysctl
/// belongs to the IPC namespace; where /proc does not show it, it is taken not to be set.
pub(crate) fn is_rmid_forced() -> bool {
    std::fs::read_to_string("/proc/sys/kernel/shm_rmid_forced").is_ok_and(|value| value.trim() == "1")
}

/// What to say of a new segment that does not outlive us.
pub(crate) fn fleeting() -> Option<&'static str> {
    is_rmid_forced().then_some(
        "warning: kernel.shm_rmid_forced is 1: the kernel destroys this segment as shmadm exits, unless another \
         process is attached by then",
    )
}

/// Refuses to attach an existing segment that our own detach would destroy, with all that is in it.
pub(crate) fn outlives_a_detach(id: ShmId, name: &str, verb: &str) -> Result<()> {
    let is_attached = || lookup::look(id).is_ok_and(|segment| segment.is_none_or(|segment| segment.nattch > 0));
    if !is_rmid_forced() || is_attached() {
        return Ok(());
    }
    Err(Error::failed(format!(
        "cannot {verb} {name}: nobody has it attached and kernel.shm_rmid_forced is 1, so that the kernel would destroy it \
         when shmadm detaches it; attach it elsewhere, or set the sysctl to 0"
    )))
}
