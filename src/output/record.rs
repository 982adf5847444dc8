//! A segment as scripts get it, in JSON.

use std::cell::OnceCell;
use std::fmt::Display;
use std::rc::Rc;

use jiff::Timestamp;
use serde::{Serialize, Serializer};

use super::time::{Clock, TimeFormat, timestamp};
use crate::segments::attachments::Attachments;
use crate::system::names::Names;
use crate::system::process::{Creator, Processes};
use crate::sysv::Segment;
use crate::values::{Key, Mode};

/// What was looked up so far, each thing once and only when something shows it.
#[derive(Debug, Default)]
pub struct Lookups {
    /// Users and groups.
    pub names: Names,
    attachments: OnceCell<Attachments>,
    processes: OnceCell<Processes>,
    clock: OnceCell<Clock>,
}

impl Lookups {
    /// What these attachments were found to be, rather than a look of its own.
    pub fn with_attachments(attachments: Attachments) -> Lookups {
        Lookups { attachments: attachments.into(), ..Lookups::default() }
    }

    /// Who has what attached: a look at the memory map of every process.
    pub fn attachments(&self) -> &Attachments {
        self.attachments.get_or_init(Attachments::look)
    }

    /// Creators.
    pub fn processes(&self) -> &Processes {
        self.processes.get_or_init(Processes::new)
    }

    /// The time now.
    pub fn clock(&self) -> &Clock {
        self.clock.get_or_init(Clock::now)
    }
}

/// How a segment is shown as text.
#[derive(Debug, Clone, Copy)]
pub struct View<'a> {
    /// The names and processes behind its numbers.
    pub lookups: &'a Lookups,
    /// How times are written.
    pub time_format: TimeFormat,
    /// Whether sizes and ages are for people, `1.5M` and `5m`, or numbers of bytes and seconds.
    pub human_sizes: bool,
}

/// A segment with all that is known of it. Only for the key of a marked one does it look into other processes' memory maps.
#[derive(Debug, Serialize)]
pub struct SegmentRecord {
    #[serde(serialize_with = "text")]
    key: Key,
    original_key: Option<String>,
    id: i32,
    size: u64,
    #[serde(serialize_with = "text")]
    mode: Mode,
    status: Vec<&'static str>,
    nattch: u64,
    uid: u32,
    user: Option<Rc<str>>,
    gid: u32,
    group: Option<Rc<str>>,
    cuid: u32,
    cuser: Option<Rc<str>>,
    cgid: u32,
    cgroup: Option<Rc<str>>,
    cpid: i32,
    creator: Creator,
    command: Option<Rc<str>>,
    lpid: i32,
    #[serde(serialize_with = "utc")]
    atime: Option<Timestamp>,
    #[serde(serialize_with = "utc")]
    dtime: Option<Timestamp>,
    #[serde(serialize_with = "utc")]
    ctime: Option<Timestamp>,
    rss: Option<u64>,
    swap: Option<u64>,
    /// Where one namespace is looked at, everybody knows which.
    #[serde(skip_serializing_if = "Option::is_none")]
    ns: Option<u64>,
}

impl SegmentRecord {
    /// The same, of a marked segment whose key is known from before.
    pub fn with_original_key(mut self, key: Option<Key>) -> SegmentRecord {
        self.original_key = key.map(|key| key.to_string()).or(self.original_key);
        self
    }

    /// The record of a segment.
    pub fn new(segment: &Segment, lookups: &Lookups) -> SegmentRecord {
        let (names, processes) = (&lookups.names, lookups.processes());
        SegmentRecord {
            key: segment.key,
            original_key: original_key(segment, lookups).map(|key| key.to_string()),
            id: segment.id.as_raw(),
            size: segment.size,
            mode: segment.mode(),
            status: status_words(segment, processes).collect(),
            nattch: segment.nattch,
            uid: segment.uid,
            user: names.user(segment.uid),
            gid: segment.gid,
            group: names.group(segment.gid),
            cuid: segment.cuid,
            cuser: names.user(segment.cuid),
            cgid: segment.cgid,
            cgroup: names.group(segment.cgid),
            cpid: segment.cpid,
            creator: processes.creator(segment),
            command: processes.command(segment),
            lpid: segment.lpid,
            atime: timestamp(segment.atime),
            dtime: timestamp(segment.dtime),
            ctime: timestamp(segment.ctime),
            rss: segment.believable_rss(),
            swap: segment.swap,
            ns: segment.namespace,
        }
    }
}

/// The key that a marked segment had. Nobody need be looked at for the others.
pub(super) fn original_key(segment: &Segment, lookups: &Lookups) -> Option<Key> {
    if segment.is_marked() { lookups.attachments().original_key(segment) } else { None }
}

/// What is special about a segment: `dest`, `locked`, `orphan`.
pub(super) fn status_words(segment: &Segment, processes: &Processes) -> impl Iterator<Item = &'static str> + use<> {
    let words =
        [(segment.is_marked(), "dest"), (segment.is_locked(), "locked"), (is_orphan(segment, processes), "orphan")];
    words.into_iter().filter_map(|(holds, word)| holds.then_some(word))
}

/// Whether a segment is left behind for sure: nobody is attached, and its creator has exited.
pub(crate) fn is_orphan(segment: &Segment, processes: &Processes) -> bool {
    segment.nattch == 0 && processes.creator(segment) == Creator::Exited
}

fn text<S: Serializer>(value: &impl Display, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

fn utc<S: Serializer>(time: &Option<Timestamp>, serializer: S) -> Result<S::Ok, S::Error> {
    match time {
        // jiff writes RFC 3339 with a Z.
        Some(time) => serializer.collect_str(time),
        None => serializer.serialize_none(),
    }
}
