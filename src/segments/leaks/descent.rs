//! Which living processes descend from us, where their calls cannot be traced.

use nix::unistd::Pid;
use procfs::process::Process;

/// The longest line of ancestors that is followed.
const MOST_ANCESTORS: usize = 4096;

/// prctl(2) `PR_SET_CHILD_SUBREAPER`: descendants whose parents end become our children, instead of those of the first
/// process. So they remain descendants.
pub(crate) fn adopt_orphans(adopt: bool) {
    // Known since Linux 3.4. Without it a daemon of the command counts as a stranger.
    let _ = nix::sys::prctl::set_child_subreaper(adopt);
}

/// Whether a process descends from us; `None` where there is no such process, or it cannot be seen.
pub(crate) fn is_descendant(pid: i32) -> Option<bool> {
    let us = Pid::this().as_raw();
    let mut current = pid;
    for _ in 0..MOST_ANCESTORS {
        if current == us {
            return Some(true);
        }
        if current <= 1 {
            return Some(false);
        }
        // An ancestor that ends meanwhile is no longer one: it is begun again with the process that adopted its child.
        current = Process::new(current).and_then(|process| process.stat()).ok()?.ppid;
    }
    Some(false)
}
