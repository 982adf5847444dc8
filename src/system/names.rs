//! Names of users and groups, through the system's name services (NSS): each number is looked up once.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use nix::unistd::{Gid, Group, Uid, User};

use crate::error::{Error, Result};
use crate::values::visible;

/// The names met so far, made visible. A machine has many segments and few owners: such a map is small, and quick to ask.
#[derive(Debug, Default)]
pub struct Names {
    users: RefCell<BTreeMap<u32, Option<Rc<str>>>>,
    groups: RefCell<BTreeMap<u32, Option<Rc<str>>>>,
}

impl Names {
    /// A user's name; `None` where the number has none, or the name service fails: a list goes on without it.
    pub fn user(&self, uid: u32) -> Option<Rc<str>> {
        let look_up = || User::from_uid(Uid::from_raw(uid)).ok()?.map(|user| visible(user.name.as_bytes()).into());
        self.users.borrow_mut().entry(uid).or_insert_with(look_up).clone()
    }

    /// A group's name; `None` where the number has none, or the name service fails.
    pub fn group(&self, gid: u32) -> Option<Rc<str>> {
        let look_up = || Group::from_gid(Gid::from_raw(gid)).ok()?.map(|group| visible(group.name.as_bytes()).into());
        self.groups.borrow_mut().entry(gid).or_insert_with(look_up).clone()
    }

    /// A user's name, or else the number.
    pub fn user_or_uid(&self, uid: u32) -> Rc<str> {
        self.user(uid).unwrap_or_else(|| uid.to_string().into())
    }

    /// A group's name, or else the number.
    pub fn group_or_gid(&self, gid: u32) -> Rc<str> {
        self.group(gid).unwrap_or_else(|| gid.to_string().into())
    }
}

/// The number of a user that is named, or written as a number.
pub(crate) fn uid_of(word: &str) -> Result<u32> {
    let named = User::from_name(word).map_err(|errno| Error::io(format!("look up user {word:?}"), &errno.into()))?;
    named
        .map(|user| user.uid.as_raw())
        .or_else(|| id_number(word))
        .ok_or_else(|| Error::usage(format!("there is no user {word:?}; name one of `getent passwd`, or a uid")))
}

/// The number of a group that is named, or written as a number.
pub(crate) fn gid_of(word: &str) -> Result<u32> {
    let named = Group::from_name(word).map_err(|errno| Error::io(format!("look up group {word:?}"), &errno.into()))?;
    named
        .map(|group| group.gid.as_raw())
        .or_else(|| id_number(word))
        .ok_or_else(|| Error::usage(format!("there is no group {word:?}; name one of `getent group`, or a gid")))
}

/// A uid or gid in digits. The last number of 32 bits is none: it means "leave as it is" to the kernel.
fn id_number(word: &str) -> Option<u32> {
    let digits = !word.is_empty() && word.bytes().all(|b| b.is_ascii_digit());
    word.parse().ok().filter(|number| digits && *number != u32::MAX)
}
