//! Whose privileges this process has: its caller's, or more than that through a bit on the program's own file.

use nix::unistd::{Uid, geteuid, getresgid, getresuid};
use rustix::thread::{CapabilitySet, capabilities, capability_is_in_ambient_set};

use crate::error::{Error, Result};

/// Refuses to run setuid, setgid or with file capabilities (execve(2), capabilities(7)): whoever may run this program
/// would then have the rights of its file's owner, and no command here is made to keep its caller from using them.
///
/// The kernel's own word, `AT_SECURE`, is no good here: under SELinux and AppArmor it is also set where a program is
/// started by a service manager and has gained nothing.
pub(crate) fn refuse_foreign() -> Result<()> {
    let refuse = |how: &str, whose: String, bit: &str| {
        Err(Error::failed(format!(
            "cannot run {how}: {whose}, and shmadm does not guard them against its caller; \
             {bit} its file, and use sudo"
        )))
    };
    // Neither call fails: the kernel writes into variables of ours.
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

/// Whether execve(2) gave capabilities to a user who is not root, other than those that the caller passed on: those are
/// ambient, and a file that has capabilities of its own clears these.
fn has_file_capabilities(user: Uid) -> bool {
    let permitted = capabilities(None).map_or(CapabilitySet::empty(), |sets| sets.permitted);
    !user.is_root() && permitted.iter().any(|capability| !capability_is_in_ambient_set(capability).unwrap_or(true))
}
