//! kernel.shm_rmid_forced (proc_sys_kernel(5)): if it is 1, the kernel destroys each segment with its last detach. The
//! sysctl belongs to the IPC namespace.

use std::fs;

use crate::error::{Error, Result, advice};
use crate::segments::create::{self, Undoer};
use crate::segments::lookup;
use crate::sysv::{self, Access, NewSegment, Placement};
use crate::values::{Key, Mode, ShmId};

/// Returns whether the kernel destroys each segment with its last detach. If that is unknown, returns true, because a
/// wrong `false` would lose a segment.
pub(crate) fn is_rmid_forced() -> bool {
    sysctl().unwrap_or_else(|| by_trial().unwrap_or(true))
}

/// Returns the value of the sysctl; `None` if /proc does not show it.
pub(crate) fn sysctl() -> Option<bool> {
    fs::read_to_string("/proc/sys/kernel/shm_rmid_forced").ok().map(|value| value.trim() != "0")
}

/// Finds the value without /proc/sys: creates a private segment, attaches and detaches it, and checks whether it still
/// exists.
///
/// # Errors
/// Those of [`create::create`], shmat(2) and shmctl(2). The value is unknown then.
fn by_trial() -> Result<bool> {
    let new = NewSegment::new(Key::PRIVATE, 1, Mode::from_raw(0o600));
    let undoer = Undoer::none();
    let created = create::create(&new, &undoer).map_err(|_| Error::failed("no segment can be created to test it"))?;
    created.finish(|segment| {
        let action = "try kernel.shm_rmid_forced";
        let attachment = sysv::attach(segment.id, Access::Read, Placement::default());
        drop(attachment.map_err(|error| Error::call(action, error))?);
        let is_gone = lookup::current(segment.id).map_err(|error| Error::call(action, error))?.is_none();
        if !is_gone {
            sysv::remove(segment.id).map_err(|error| Error::call(action, error))?;
        }
        Ok(is_gone)
    })
}

/// Returns a warning that the kernel will destroy a new segment when this process exits.
pub(crate) fn fleeting() -> Option<&'static str> {
    is_rmid_forced().then_some(
        "warning: kernel.shm_rmid_forced is 1: the kernel destroys this segment as shmadm exits, unless another \
         process has attached it by then",
    )
}

/// Checks that detaching an existing segment does not destroy it and its contents.
///
/// # Errors
/// Nobody has the segment attached, and kernel.shm_rmid_forced is 1 or unknown.
pub(crate) fn outlives_a_detach(id: ShmId, name: &str, verb: &str) -> Result<()> {
    let is_attached = || lookup::current(id).is_ok_and(|segment| segment.is_none_or(|segment| segment.nattch > 0));
    // Usually the file contains 0, which decides it.
    if sysctl() == Some(false) || is_attached() || !is_rmid_forced() {
        return Ok(());
    }
    Err(Error::cannot(
        format_args!("{verb} {name}"),
        "nobody has it attached and kernel.shm_rmid_forced is 1 or cannot be read, so the kernel would destroy it when \
         shmadm detaches it",
    )
    .hint(format_args!(
        "attach it elsewhere first, or root can set the sysctl to 0: {}",
        advice::sysctl("kernel.shm_rmid_forced", 0, None)
    )))
}
