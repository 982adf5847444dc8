//! A segment as a JSON record, for scripts.

use std::fmt::Display;
use std::rc::Rc;

use jiff::Timestamp;
use serde::{Serialize, Serializer};

use super::time::{TimeFormat, timestamp};
use crate::segments::attachments::Proof;
use crate::segments::cache::Lookups;
use crate::segments::state::{self, Presence};
use crate::system::units::Unit;
use crate::sysv::Segment;
use crate::values::{Key, Mode, known_id};

/// How a segment is shown as text.
#[derive(Debug, Clone, Copy)]
pub struct View<'a> {
    /// The names and processes behind its numbers.
    pub lookups: &'a Lookups,
    /// How times are written.
    pub time_format: TimeFormat,
    /// Whether sizes and ages are for people (`1.5M`, `5m`), or numbers of bytes and seconds.
    pub human_sizes: bool,
}

/// A segment with everything known about it. Other processes' memory maps are read only for the key of a marked
/// segment.
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
    uid: Option<u32>,
    user: Option<Rc<str>>,
    gid: Option<u32>,
    group: Option<Rc<str>>,
    cuid: Option<u32>,
    cuser: Option<Rc<str>>,
    cgid: Option<u32>,
    cgroup: Option<Rc<str>>,
    cpid: i32,
    creator: Presence,
    command: Option<Rc<str>>,
    lpid: i32,
    last_user: Option<Presence>,
    last_command: Option<Rc<str>>,
    unit: Option<Unit>,
    #[serde(serialize_with = "utc")]
    atime: Option<Timestamp>,
    #[serde(serialize_with = "utc")]
    dtime: Option<Timestamp>,
    #[serde(serialize_with = "utc")]
    ctime: Option<Timestamp>,
    rss: Option<u64>,
    swap: Option<u64>,
    /// Not set if only one namespace is read.
    #[serde(skip_serializing_if = "Option::is_none")]
    ns: Option<u64>,
}

impl SegmentRecord {
    /// Returns the record of a segment.
    pub fn new(segment: &Segment, lookups: &Lookups) -> SegmentRecord {
        let original_key = state::original_key(segment, lookups).filter(|(_, proof)| *proof == Proof::Certain);
        SegmentRecord::with_key(segment, original_key.map(|(key, _)| key), lookups)
    }

    /// Returns the record of a segment. `original_key` is the key that a marked segment had.
    pub(super) fn with_key(segment: &Segment, original_key: Option<Key>, lookups: &Lookups) -> SegmentRecord {
        let names = &lookups.names;
        SegmentRecord {
            key: segment.key,
            original_key: original_key.map(|key| key.to_string()),
            id: segment.id.as_raw(),
            size: segment.size,
            mode: segment.mode(),
            status: state::status_words(segment, lookups).collect(),
            nattch: segment.nattch,
            uid: known_id(segment.uid),
            user: names.user(segment.uid),
            gid: known_id(segment.gid),
            group: names.group(segment.gid),
            cuid: known_id(segment.cuid),
            cuser: names.user(segment.cuid),
            cgid: known_id(segment.cgid),
            cgroup: names.group(segment.cgid),
            cpid: segment.cpid,
            creator: state::creator(segment, lookups),
            command: state::creator_command(segment, lookups),
            lpid: segment.lpid,
            last_user: state::last_user(segment, lookups),
            last_command: state::last_command(segment, lookups),
            unit: state::unit(segment, lookups),
            atime: timestamp(segment.atime),
            dtime: timestamp(segment.dtime),
            ctime: timestamp(segment.ctime),
            rss: segment.plausible_rss(),
            swap: segment.swap,
            ns: segment.namespace,
        }
    }
}

fn text<S: Serializer>(value: &impl Display, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

fn utc<S: Serializer>(time: &Option<Timestamp>, serializer: S) -> Result<S::Ok, S::Error> {
    match time {
        // jiff prints RFC 3339 with a Z.
        Some(time) => serializer.collect_str(time),
        None => serializer.serialize_none(),
    }
}
