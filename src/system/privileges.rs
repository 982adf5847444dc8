//! Refuses privileges that come from the program's file instead of from the caller.

use nix::unistd::{Uid, geteuid, getresgid, getresuid};
use rustix::thread::{CapabilitySet, capabilities, capability_is_in_ambient_set};

use crate::error::{Error, Result};

/// Refuses to run setuid, setgid or with file capabilities (execve(2), capabilities(7)). Otherwise every user who can run
/// this program would have the rights of its file, because no command protects them from its caller.
///
/// The kernel's `AT_SECURE` is not used. Under SELinux and AppArmor it is also set for programs that a service manager
/// starts, although they have gained no privilege.
///
/// # Errors
/// A failure (exit status 1) that names the foreign privilege and how to remove it.
pub(crate) fn refuse_foreign() -> Result<()> {
    let refuse = |how: &str, whose: String, bit: &str| {
        Err(Error::failed(format!(
            "cannot run {how}: {whose}, and shmadm does not guard them against its caller; \
             {bit} its file, and use sudo"
        )))
    };
    // Neither call can fail: the kernel only writes into local variables.
    if let Ok(user) = getresuid()
        && user.real != user.effective
    {
        let whose = format!("uid {} has the rights of uid {}", user.real, user.effective);
        return refuse("setuid", whose, "chmod u-s");
    }
    if let Ok(group) = getresgid()
        && group.real != group.effective
    {
        let whose = format!("gid {} has the rights of gid {}", group.real, group.effective);
        return refuse("setgid", whose, "chmod g-s");
    }
    if has_file_capabilities(geteuid()) {
        let whose = format!("uid {} has privileges from the file", geteuid());
        return refuse("with file capabilities", whose, "setcap -r");
    }
    Ok(())
}

/// Returns whether an ordinary user got capabilities from the program's file at execve(2). Capabilities that the caller
/// passes on are ambient, and a file with capabilities clears the ambient ones.
fn has_file_capabilities(user: Uid) -> bool {
    if user.is_root() {
        return false;
    }
    // Only a seccomp filter can deny this call. An ordinary user can install one only with no_new_privs, and then a file
    // gives no capabilities (seccomp(2)).
    let permitted = capabilities(None).map_or(CapabilitySet::empty(), |sets| sets.permitted);
    permitted.iter().any(|capability| !capability_is_in_ambient_set(capability).unwrap_or(true))
}
