//! IPC namespaces (ipc_namespaces(7)): creating one, entering one, and finding all of them.

mod all;
mod cut;
mod descriptors;
mod identity;
mod inside;
mod keeper;
mod mounts;
mod named;
mod opened;
mod owners;
mod representative;

use std::fmt;
use std::fs;

use nix::errno::Errno;
use nix::sched::{CloneFlags, unshare};
use nix::unistd::{getegid, geteuid};

use crate::linux::{cause, forget_maps};

pub(crate) use all::{LiveNamespace, Survey, survey};
pub(crate) use cut::read_in_part;
pub(crate) use identity::Identity;
pub(crate) use inside::{Rows, limits, rows};
pub(crate) use keeper::Keeper;
pub(crate) use named::{NamespaceRef, enter};
pub(crate) use opened::Namespace;

/// The failure to create a namespace.
#[derive(Debug)]
pub(crate) struct Refused {
    /// The kernel's error.
    pub errno: Errno,
    what: &'static str,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hint = match self.errno {
            // AppArmor permits creating the namespace, but then denies opening the map.
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

/// Moves this process into a new, empty IPC namespace with unshare(2). The kernel destroys the namespace with its last
/// process.
///
/// An unprivileged caller also gets a new user namespace, in which the caller keeps uid and gid. Commands executed
/// there have no privilege. unshare(2) of a user namespace requires a single-threaded process: call this before threads
/// start.
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
    // user_namespaces(7): an unprivileged process may map its own gid only after it has disabled setgroups(2).
    write("/proc/self/setgroups", "deny".into())?;
    write("/proc/self/uid_map", format!("{uid} {uid} 1"))?;
    write("/proc/self/gid_map", format!("{gid} {gid} 1"))?;
    forget_maps();
    Ok(())
}
