//! IPC namespaces (ipc_namespaces(7)): a new one, one that is named, and all that there are.

mod all;
mod inside;
mod keeper;
mod named;
mod owners;

use std::fmt;
use std::fs;

use nix::errno::Errno;
use nix::sched::{CloneFlags, unshare};
use nix::unistd::{getegid, geteuid};

use crate::linux::cause;

pub(crate) use all::{Inhabited, Survey, survey};
pub(crate) use keeper::Keeper;
pub(crate) use named::{Identity, Namespace, NamespaceRef, enter};

/// Why no namespace could be made.
#[derive(Debug)]
pub(crate) struct Refused {
    /// What the kernel said.
    pub errno: Errno,
    what: &'static str,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hint = match self.errno {
            // AppArmor lets the namespace be made, and then keeps the map from being opened.
            Errno::EPERM | Errno::EACCES => {
                " (a container's seccomp profile forbids it, or sysctl kernel.unprivileged_userns_clone or \
                 kernel.apparmor_restrict_unprivileged_userns)"
            }
            Errno::ENOSPC | Errno::EUSERS => " (sysctl user.max_ipc_namespaces or user.max_user_namespaces is reached)",
            _ => "",
        };
        write!(f, "{}: {}{hint}", self.what, cause(&self.errno.into()))
    }
}

/// Moves this process into a new IPC namespace, which is empty and goes with its last process.
///
/// Who may not do that gets a user namespace around it, in which the caller keeps uid and gid; what is executed there
/// has no privilege. unshare(2) of a user namespace wants a process of a single thread: to be called before there are more.
pub(crate) fn enter_private() -> Result<(), Refused> {
    match unshare(CloneFlags::CLONE_NEWIPC) {
        Ok(()) => return Ok(()),
        Err(Errno::EPERM) => {}
        Err(errno) => return Err(Refused { errno, what: "unshare(CLONE_NEWIPC)" }),
    }
    let (uid, gid) = (geteuid(), getegid());
    unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWIPC)
        .map_err(|errno| Refused { errno, what: "unshare(CLONE_NEWUSER|CLONE_NEWIPC)" })?;
    let write = |path: &str, text: String| {
        fs::write(path, text).map_err(|error| Refused {
            errno: Errno::from_raw(error.raw_os_error().unwrap_or(0)),
            what: "the map of users to the new user namespace",
        })
    };
    // user_namespaces(7): an unprivileged process maps its own gid only after it gave up setgroups(2).
    write("/proc/self/setgroups", "deny".into())?;
    write("/proc/self/uid_map", format!("{uid} {uid} 1"))?;
    write("/proc/self/gid_map", format!("{gid} {gid} 1"))
}
