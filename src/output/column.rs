//! The columns of a list: their titles, and what each says of a segment.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use super::record::{Lookups, View, original_key, status_words};
use super::time::{TimeFormat, compact, timestamp};
use crate::escape::visible;
use crate::size::human;
use crate::sysv::Segment;

/// A column of `list`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is its title, and the manual says what it holds")]
pub enum Column {
    Key,
    Id,
    Size,
    Rss,
    Swap,
    Perms,
    Mode,
    Owner,
    User,
    Uid,
    Group,
    Gid,
    Cuser,
    Cuid,
    Cgroup,
    Cgid,
    Nattch,
    Status,
    Atime,
    Dtime,
    Ctime,
    Age,
    Idle,
    Cpid,
    Lpid,
    Command,
    Creator,
    Pids,
    Origkey,
    Ns,
}

/// All columns, in the manual's order.
pub const ALL: &[Column] = &[
    Column::Key,
    Column::Id,
    Column::Size,
    Column::Rss,
    Column::Swap,
    Column::Perms,
    Column::Mode,
    Column::Owner,
    Column::User,
    Column::Uid,
    Column::Group,
    Column::Gid,
    Column::Cuser,
    Column::Cuid,
    Column::Cgroup,
    Column::Cgid,
    Column::Nattch,
    Column::Status,
    Column::Atime,
    Column::Dtime,
    Column::Ctime,
    Column::Age,
    Column::Idle,
    Column::Cpid,
    Column::Lpid,
    Column::Command,
    Column::Creator,
    Column::Pids,
    Column::Origkey,
    Column::Ns,
];

/// What a table shows where no columns were asked for.
pub const DEFAULT: &[Column] = &[
    Column::Key,
    Column::Id,
    Column::Owner,
    Column::Perms,
    Column::Size,
    Column::Rss,
    Column::Nattch,
    Column::Status,
    Column::Idle,
    Column::Command,
];

/// What a narrow terminal does without, the first of these first.
pub const EXPENDABLE: &[Column] = &[Column::Command, Column::Rss, Column::Idle, Column::Perms, Column::Owner];

impl Column {
    /// The column's title.
    pub fn title(self) -> &'static str {
        match self {
            Self::Key => "KEY",
            Self::Id => "ID",
            Self::Size => "SIZE",
            Self::Rss => "RSS",
            Self::Swap => "SWAP",
            Self::Perms => "PERMS",
            Self::Mode => "MODE",
            Self::Owner => "OWNER",
            Self::User => "USER",
            Self::Uid => "UID",
            Self::Group => "GROUP",
            Self::Gid => "GID",
            Self::Cuser => "CUSER",
            Self::Cuid => "CUID",
            Self::Cgroup => "CGROUP",
            Self::Cgid => "CGID",
            Self::Nattch => "NATTCH",
            Self::Status => "STATUS",
            Self::Atime => "ATIME",
            Self::Dtime => "DTIME",
            Self::Ctime => "CTIME",
            Self::Age => "AGE",
            Self::Idle => "IDLE",
            Self::Cpid => "CPID",
            Self::Lpid => "LPID",
            Self::Command => "COMMAND",
            Self::Creator => "CREATOR",
            Self::Pids => "PIDS",
            Self::Origkey => "ORIGKEY",
            Self::Ns => "NS",
        }
    }

    /// Whether it takes a look into the memory map of every process: only who asks for it gets it.
    pub fn is_dear(self) -> bool {
        matches!(self, Self::Pids | Self::Origkey)
    }

    /// Whether it holds numbers, whose digits stand under each other.
    pub fn is_numeric(self) -> bool {
        matches!(
            self,
            Self::Id
                | Self::Size
                | Self::Rss
                | Self::Swap
                | Self::Uid
                | Self::Gid
                | Self::Cuid
                | Self::Cgid
                | Self::Nattch
                | Self::Age
                | Self::Idle
                | Self::Cpid
                | Self::Lpid
                | Self::Ns
        )
    }

    /// What it says of a segment. Empty where there is nothing to say.
    pub fn text(self, segment: &Segment, view: &View<'_>) -> Cow<'static, str> {
        let bytes = |bytes: u64| if view.human_sizes { human(bytes.into()) } else { bytes.to_string() };
        let time = |seconds| {
            timestamp(seconds).map_or(String::new(), |time| view.lookups.clock().show(time, view.time_format))
        };
        let since = |seconds| {
            let elapsed = view.lookups.clock().seconds_since(seconds);
            if view.human_sizes { compact(elapsed) } else { elapsed.to_string() }
        };
        let name = |name: Option<std::rc::Rc<str>>| name.map_or(String::new(), |name| visible(name.as_bytes()).into());
        match self {
            Self::Key => segment.key.to_string().into(),
            Self::Id => segment.id.to_string().into(),
            Self::Size => bytes(segment.size).into(),
            Self::Rss => match (segment.believable_rss(), segment.rss) {
                (None, Some(_)) if view.human_sizes => "?".into(),
                (rss, _) => rss.map_or(String::new(), bytes).into(),
            },
            Self::Swap => segment.swap.map_or(String::new(), bytes).into(),
            Self::Perms => segment.mode().words().into(),
            Self::Mode => segment.mode().to_string().into(),
            Self::Owner => match view.lookups.names.user(segment.uid) {
                Some(user) => name(Some(user)).into(),
                None => segment.uid.to_string().into(),
            },
            Self::User => name(view.lookups.names.user(segment.uid)).into(),
            Self::Uid => segment.uid.to_string().into(),
            Self::Group => name(view.lookups.names.group(segment.gid)).into(),
            Self::Gid => segment.gid.to_string().into(),
            Self::Cuser => name(view.lookups.names.user(segment.cuid)).into(),
            Self::Cuid => segment.cuid.to_string().into(),
            Self::Cgroup => name(view.lookups.names.group(segment.cgid)).into(),
            Self::Cgid => segment.cgid.to_string().into(),
            Self::Nattch => segment.nattch.to_string().into(),
            Self::Status => status_words(segment, view.lookups.processes()).join(",").into(),
            Self::Atime => time(segment.atime).into(),
            Self::Dtime => time(segment.dtime).into(),
            Self::Ctime => time(segment.ctime).into(),
            Self::Age => since(segment.ctime).into(),
            Self::Idle => since(segment.last_used()).into(),
            Self::Cpid => segment.cpid.to_string().into(),
            Self::Lpid => segment.lpid.to_string().into(),
            Self::Command => view.lookups.processes().command(segment).map_or(String::new(), |c| c.to_string()).into(),
            Self::Creator => view.lookups.processes().creator(segment).as_str().into(),
            Self::Pids => pids(segment, view.lookups).into(),
            Self::Origkey => original_key(segment, view.lookups).map_or(String::new(), |key| key.to_string()).into(),
            Self::Ns => segment.namespace.map_or(String::new(), |inode| inode.to_string()).into(),
        }
    }

    /// The order of two segments by this column: numbers and times by value, ages by age, the rest by text.
    pub fn compare(self, a: &Segment, b: &Segment, view: &View<'_>) -> Ordering {
        match self {
            Self::Key => a.key.cmp(&b.key),
            Self::Id => a.id.cmp(&b.id),
            Self::Size => a.size.cmp(&b.size),
            Self::Rss => a.believable_rss().cmp(&b.believable_rss()),
            Self::Swap => a.swap.cmp(&b.swap),
            Self::Uid => a.uid.cmp(&b.uid),
            Self::Gid => a.gid.cmp(&b.gid),
            Self::Cuid => a.cuid.cmp(&b.cuid),
            Self::Cgid => a.cgid.cmp(&b.cgid),
            Self::Nattch => a.nattch.cmp(&b.nattch),
            Self::Atime => a.atime.cmp(&b.atime),
            Self::Dtime => a.dtime.cmp(&b.dtime),
            Self::Ctime => a.ctime.cmp(&b.ctime),
            Self::Age => b.ctime.cmp(&a.ctime),
            Self::Idle => b.last_used().cmp(&a.last_used()),
            Self::Cpid => a.cpid.cmp(&b.cpid),
            Self::Lpid => a.lpid.cmp(&b.lpid),
            Self::Ns => a.namespace.cmp(&b.namespace),
            Self::Perms | Self::Mode => a.mode().bits().cmp(&b.mode().bits()),
            Self::Owner
            | Self::User
            | Self::Group
            | Self::Cuser
            | Self::Cgroup
            | Self::Status
            | Self::Command
            | Self::Creator
            | Self::Pids
            | Self::Origkey => self.text(a, view).cmp(&self.text(b, view)),
        }
    }

    /// How times are written in this kind of output where nothing was asked for.
    pub fn default_time_format(for_people: bool) -> TimeFormat {
        if for_people { TimeFormat::Short } else { TimeFormat::Iso }
    }
}

/// The processes that have a segment attached, as far as they can be seen, each once.
fn pids(segment: &Segment, lookups: &Lookups) -> String {
    // Nobody need be looked at where nobody is.
    if segment.nattch == 0 {
        return String::new();
    }
    let mut pids: Vec<_> = lookups.attachments().of(segment).iter().map(|attached| attached.pid).collect();
    pids.dedup();
    pids.iter().map(i32::to_string).collect::<Vec<_>>().join(",")
}

/// A word is no column's title.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ParseColumnError;

impl fmt::Display for ParseColumnError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let titles: Vec<_> = ALL.iter().map(|column| column.title()).collect();
        write!(f, "the columns are {}", titles.join(" "))
    }
}

impl std::error::Error for ParseColumnError {}

impl FromStr for Column {
    type Err = ParseColumnError;

    fn from_str(word: &str) -> Result<Column, ParseColumnError> {
        ALL.iter().find(|column| column.title().eq_ignore_ascii_case(word)).copied().ok_or(ParseColumnError)
    }
}
