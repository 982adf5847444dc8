//! Acting as another user.

use nix::errno::Errno;
use nix::unistd::{Gid, Uid, geteuid, setgroups, setresgid, setresuid};

use crate::linux::written_by_child;

/// Becomes this user with setresuid(2), permanently, with no group but the one of the same number.
///
/// # Errors
/// `EPERM` without the right to do so, `EINVAL` if this user namespace has no such user.
pub(super) fn become_user(uid: u32) -> Result<(), Errno> {
    let (user, group) = (Uid::from_raw(uid), Gid::from_raw(uid));
    setgroups(&[])?;
    setresgid(group, group, group)?;
    setresuid(user, user, user)
}

/// Tries in a child whether this process can become this user. It must have one thread.
pub(super) fn can_become_user(uid: u32) -> bool {
    geteuid().is_root() && written_by_child(|_| Ok(become_user(uid)?), |_| Ok(())).is_ok()
}
