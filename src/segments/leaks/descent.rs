//! Which living processes are our descendants, if their calls cannot be traced.

use nix::unistd::Pid;

use crate::system::process::parent_of;

/// The maximum number of ancestors that are followed.
const MAX_ANCESTORS: usize = 4096;

/// Makes descendants whose parents exit our children, instead of children of the first process: prctl(2)
/// `PR_SET_CHILD_SUBREAPER`. So they remain our descendants.
pub(crate) fn adopt_orphans(adopt: bool) {
    // Available since Linux 3.4. Without it a daemon of the command counts as unrelated.
    let _ = nix::sys::prctl::set_child_subreaper(adopt);
}

/// Returns whether a process is our descendant; `None` if there is no such process, or it is not visible.
pub(crate) fn is_descendant(pid: i32) -> Option<bool> {
    let us = Pid::this().as_raw();
    let mut current = pid;
    for _ in 0..MAX_ANCESTORS {
        if current == us {
            return Some(true);
        }
        if current <= 1 {
            return Some(false);
        }
        // If an ancestor has exited, continue with the process that adopted its child.
        current = parent_of(current)?;
    }
    Some(false)
}
