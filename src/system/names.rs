//! Names of users and groups. Each number is looked up once.
//!
//! A static program cannot use the C library's name services: it would load modules that were built for another version
//! of the library, which crashes. So /etc/passwd and /etc/group answer for the machine's own accounts, and getent(1)
//! asks the name services (LDAP, SSSD, systemd) for the others.

mod account_file;
mod getent;

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use self::account_file::Account;
use crate::error::{Error, Result};
use crate::linux::cause;
use crate::sysv::{self, Segment};
use crate::values::{UNKNOWN_ID, visible};

/// The maximum number of queries to the name services. One query covers every segment of the namespace. More queries
/// mean that a user keeps creating segments with new ids.
const MAX_CALLS: u32 = 16;

/// The two databases of accounts (passwd(5), group(5)).
#[derive(Debug, Clone, Copy)]
enum Database {
    Users,
    Groups,
}

impl Database {
    /// Returns the database's name for getent(1), which is also the name of its file in /etc.
    fn name(self) -> &'static str {
        match self {
            Self::Users => "passwd",
            Self::Groups => "group",
        }
    }

    /// Returns the word for an account of the database.
    fn noun(self) -> &'static str {
        match self {
            Self::Users => "user",
            Self::Groups => "group",
        }
    }

    /// Returns the ids of this kind that a segment has.
    fn numbers_of(self, segment: &Segment) -> [u32; 2] {
        match self {
            Self::Users => [segment.uid, segment.cuid],
            Self::Groups => [segment.gid, segment.cgid],
        }
    }
}

/// The names of users and groups, escaped.
#[derive(Debug)]
pub struct Names {
    users: Accounts,
    groups: Accounts,
}

impl Default for Names {
    fn default() -> Names {
        Names { users: Accounts::new(Database::Users), groups: Accounts::new(Database::Groups) }
    }
}

impl Names {
    /// Returns a user's name; `None` if the number has none, or the name services do not answer.
    pub fn user(&self, uid: u32) -> Option<Rc<str>> {
        self.users.name(uid)
    }

    /// Returns a group's name; `None` if the number has none, or the name services do not answer.
    pub fn group(&self, gid: u32) -> Option<Rc<str>> {
        self.groups.name(gid)
    }

    /// Returns a user's name, or else the number; `?` for [`UNKNOWN_ID`].
    pub(crate) fn user_or_uid(&self, uid: u32) -> Rc<str> {
        self.user(uid).unwrap_or_else(|| number(uid))
    }

    /// Returns a group's name, or else the number; `?` for [`UNKNOWN_ID`].
    pub(crate) fn group_or_gid(&self, gid: u32) -> Rc<str> {
        self.group(gid).unwrap_or_else(|| number(gid))
    }
}

/// Returns an id as text.
fn number(id: u32) -> Rc<str> {
    if id == UNKNOWN_ID { "?".into() } else { id.to_string().into() }
}

/// The accounts of one database looked up so far.
#[derive(Debug)]
struct Accounts {
    database: Database,
    /// The accounts of the file in /etc, read on first use.
    local: OnceCell<BTreeMap<u32, Rc<str>>>,
    /// The answers of the name services; `None` for an id that they do not know.
    asked: RefCell<BTreeMap<u32, Option<Rc<str>>>>,
    calls: Cell<u32>,
}

impl Accounts {
    fn new(database: Database) -> Accounts {
        Accounts { database, local: OnceCell::new(), asked: RefCell::default(), calls: Cell::new(0) }
    }

    fn name(&self, number: u32) -> Option<Rc<str>> {
        if number == UNKNOWN_ID {
            return None;
        }
        if let Some(name) = self.local().get(&number) {
            return Some(Rc::clone(name));
        }
        if let Some(answer) = self.asked.borrow().get(&number) {
            return answer.clone();
        }
        self.ask(number);
        self.asked.borrow().get(&number).cloned().flatten()
    }

    fn local(&self) -> &BTreeMap<u32, Rc<str>> {
        self.local.get_or_init(|| {
            let mut accounts = BTreeMap::new();
            for Account { name, number } in account_file::read(self.database) {
                // As in getpwuid(3), the first line with an id wins.
                accounts.entry(number).or_insert_with(|| visible(&name).into());
            }
            accounts
        })
    }

    /// Asks the name services for an id, and in the same query for all other ids of this namespace's segments: each
    /// query starts a process.
    fn ask(&self, number: u32) {
        let calls = self.calls.get();
        let mut unknown = BTreeSet::from([number]);
        if calls == 0 {
            let all = sysv::stat_all().unwrap_or_default();
            unknown.extend(all.iter().flat_map(|segment| self.database.numbers_of(segment)));
            unknown.retain(|number| *number != UNKNOWN_ID && !self.local().contains_key(number));
        }
        let mut asked = self.asked.borrow_mut();
        asked.extend(unknown.iter().map(|number| (*number, None)));
        if calls >= MAX_CALLS {
            return;
        }
        self.calls.set(calls + 1);
        match getent::by_number(self.database, &unknown) {
            Some(found) => {
                let wanted = found.into_iter().filter(|account| unknown.contains(&account.number));
                asked.extend(wanted.map(|account| (account.number, Some(visible(&account.name).into()))));
            }
            // If getent is missing or does not answer, it will not answer later either.
            None => self.calls.set(MAX_CALLS),
        }
    }
}

/// Returns the uid of a user given by name or number.
///
/// # Errors
/// A usage error for a user who does not exist; a failure if that is unknown.
pub(crate) fn uid_of(word: &str) -> Result<u32> {
    number_of(Database::Users, word)
}

/// Returns the gid of a group given by name or number.
///
/// # Errors
/// A usage error for a group that does not exist; a failure if that is unknown.
pub(crate) fn gid_of(word: &str) -> Result<u32> {
    number_of(Database::Groups, word)
}

/// Returns the uid of a user and, if given, the gid of a group: `USER` or `USER:GROUP`, as for chown(1).
///
/// # Errors
/// Those of [`uid_of`] and [`gid_of`].
pub(crate) fn uid_and_gid_of(words: &str) -> Result<(u32, Option<u32>)> {
    match words.split_once(':') {
        Some((user, group)) => Ok((uid_of(user)?, Some(gid_of(group)?))),
        None => Ok((uid_of(words)?, None)),
    }
}

/// Returns the id for a name or number. As for chown(1), a name in /etc takes precedence over a number: a user can be
/// named `1000`. getent(1) treats digits as a number.
fn number_of(database: Database, word: &str) -> Result<u32> {
    let (noun, name) = (database.noun(), database.name());
    let action = format!("look up {noun} {word:?}");
    let local = account_file::find(database, word.as_bytes());
    if let Ok(Some(account)) = local {
        return Ok(account.number);
    }
    let is_named = |account: &Account| account.name == word.as_bytes();
    let from_services = getent::by_name(database, word).map(|accounts| accounts.into_iter().find(is_named));
    if let Ok(Some(account)) = from_services {
        return Ok(account.number);
    }
    local.map_err(|error| {
        Error::cannot(&action, format!("cannot read {}: {}", account_file::path(database), cause(&error)))
    })?;
    if let Some(number) = id_number(word) {
        return Ok(number);
    }
    from_services.map_err(|error| Error::io(&action, &error))?;
    Err({
        let id = if matches!(database, Database::Users) { "uid" } else { "gid" };
        Error::usage(format!("there is no {noun} {word:?}; name one of `getent {name}`, or a {id}"))
    })
}

/// Parses a uid or gid in digits. The last 32-bit number is not an id: to the kernel it means "leave unchanged".
fn id_number(word: &str) -> Option<u32> {
    let digits = !word.is_empty() && word.bytes().all(|b| b.is_ascii_digit());
    word.parse().ok().filter(|number| digits && *number != u32::MAX)
}
