//! The columns of a list: their titles, and what each says of a segment.

use std::cmp::Ordering;
use std::fmt::{self, Write as _};
use std::str::FromStr;

use super::record::{Lookups, View, original_key, status_words};
use super::time::{TimeFormat, compact, timestamp};
use crate::sysv::Segment;
use crate::values::human;

/// A column of `list`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is its title, and its help line says what it holds")]
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
pub(super) const EXPENDABLE: &[Column] = &[Column::Command, Column::Rss, Column::Idle, Column::Perms, Column::Owner];

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

    /// Appends what it says of a segment; nothing where there is nothing to say.
    pub fn write(self, segment: &Segment, view: &View<'_>, text: &mut String) {
        let (lookups, names) = (view.lookups, &view.lookups.names);
        match self {
            Self::Key => put(text, segment.key),
            Self::Id => put(text, segment.id),
            Self::Size => put_bytes(text, Some(segment.size), view),
            Self::Rss => match (segment.believable_rss(), segment.rss) {
                (None, Some(_)) if view.human_sizes => text.push('?'),
                (rss, _) => put_bytes(text, rss, view),
            },
            Self::Swap => put_bytes(text, segment.swap, view),
            Self::Perms => text.extend(segment.mode().words()),
            Self::Mode => put(text, segment.mode()),
            // A list has many rows, and a number needs no text of its own.
            Self::Owner => match names.user(segment.uid) {
                Some(user) => text.push_str(&user),
                None => put(text, segment.uid),
            },
            Self::User => text.push_str(names.user(segment.uid).as_deref().unwrap_or_default()),
            Self::Uid => put(text, segment.uid),
            Self::Group => text.push_str(names.group(segment.gid).as_deref().unwrap_or_default()),
            Self::Gid => put(text, segment.gid),
            Self::Cuser => text.push_str(names.user(segment.cuid).as_deref().unwrap_or_default()),
            Self::Cuid => put(text, segment.cuid),
            Self::Cgroup => text.push_str(names.group(segment.cgid).as_deref().unwrap_or_default()),
            Self::Cgid => put(text, segment.cgid),
            Self::Nattch => put(text, segment.nattch),
            Self::Status => {
                for (place, word) in status_words(segment, lookups.processes()).enumerate() {
                    text.push_str(if place > 0 { "," } else { "" });
                    text.push_str(word);
                }
            }
            Self::Atime => put_time(text, segment.atime, view),
            Self::Dtime => put_time(text, segment.dtime, view),
            Self::Ctime => put_time(text, segment.ctime, view),
            Self::Age => put_since(text, segment.ctime, view),
            Self::Idle => put_since(text, segment.last_used(), view),
            Self::Cpid => put(text, segment.cpid),
            Self::Lpid => put(text, segment.lpid),
            Self::Command => text.push_str(lookups.processes().command(segment).as_deref().unwrap_or_default()),
            Self::Creator => text.push_str(lookups.processes().creator(segment).as_str()),
            Self::Pids => put_pids(text, segment, lookups),
            Self::Origkey => {
                if let Some(key) = original_key(segment, lookups) {
                    put(text, key);
                }
            }
            Self::Ns => {
                if let Some(inode) = segment.namespace {
                    put(text, inode);
                }
            }
        }
    }

    /// What it says of a segment. Empty where there is nothing to say.
    pub fn text(self, segment: &Segment, view: &View<'_>) -> String {
        let mut text = String::new();
        self.write(segment, view, &mut text);
        text
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

fn put(text: &mut String, value: impl fmt::Display) {
    // Writing to a String does not fail.
    let _ = write!(text, "{value}");
}

fn put_bytes(text: &mut String, bytes: Option<u64>, view: &View<'_>) {
    match bytes {
        Some(bytes) if view.human_sizes => text.push_str(&human(bytes.into())),
        Some(bytes) => put(text, bytes),
        None => {}
    }
}

fn put_time(text: &mut String, seconds: i64, view: &View<'_>) {
    if let Some(time) = timestamp(seconds) {
        text.push_str(&view.lookups.clock().show(time, view.time_format));
    }
}

fn put_since(text: &mut String, seconds: i64, view: &View<'_>) {
    let elapsed = view.lookups.clock().seconds_since(seconds);
    if view.human_sizes { text.push_str(&compact(elapsed)) } else { put(text, elapsed) }
}

/// The processes that have a segment attached, as far as they can be seen, each once.
fn put_pids(text: &mut String, segment: &Segment, lookups: &Lookups) {
    // Nobody need be looked at where nobody is.
    if segment.nattch == 0 {
        return;
    }
    let mut pids: Vec<_> = lookups.attachments().of(segment).iter().map(|attached| attached.pid).collect();
    pids.dedup();
    for (place, pid) in pids.iter().enumerate() {
        text.push_str(if place > 0 { "," } else { "" });
        put(text, pid);
    }
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
