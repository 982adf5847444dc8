//! The names that this machine has for the numbers of a test. Any number can have one.

use nix::unistd::{Gid, Group, Uid, User};

/// Returns the name of a user as getpwuid(3) knows it, or its number.
pub(crate) fn user_name(uid: u32) -> String {
    let user = User::from_uid(Uid::from_raw(uid)).expect("the users");
    user.map_or_else(|| uid.to_string(), |user| user.name)
}

/// Returns the name of a group as getgrgid(3) knows it, or its number.
pub(crate) fn group_name(gid: u32) -> String {
    let group = Group::from_gid(Gid::from_raw(gid)).expect("the groups");
    group.map_or_else(|| gid.to_string(), |group| group.name)
}
