//! `guard --report`: one JSON object.

use std::rc::Rc;

use serde::Serialize;

use super::CreatedBy;
use crate::output::SegmentRecord;
use crate::segments::cache::Lookups;
use crate::segments::leaks::{Leaks, Origin};
use crate::segments::state;
use crate::sysv::{MessageQueue, SemaphoreSet};
use crate::values::{Mode, counted, known_id};

/// The objects that a command left behind, recorded before any of them is removed.
#[derive(Debug, Serialize)]
pub(crate) struct LeakedObjects {
    pub(super) leaked: Vec<Leaked<SegmentRecord>>,
    pub(super) semaphores: Vec<Leaked<SemaphoreRecord>>,
    pub(super) queues: Vec<Leaked<QueueRecord>>,
}

/// The report.
#[derive(Debug, Serialize)]
pub(crate) struct Report<'a> {
    /// The objects that were left behind.
    #[serde(flatten)]
    pub objects: &'a LeakedObjects,
    /// Whether all of them were removed.
    pub removed: bool,
    /// The exit status.
    pub status: u8,
    /// The command's own status; `None` if it could not be run.
    pub command_status: Option<u8>,
}

#[derive(Debug, Serialize)]
pub(super) struct Leaked<T> {
    #[serde(flatten)]
    pub record: T,
    pub created_by: Option<CreatedBy>,
    /// The text for people.
    #[serde(skip)]
    pub line: String,
    #[serde(skip)]
    pub name: String,
}

#[derive(Debug, Serialize)]
pub(super) struct SemaphoreRecord {
    key: String,
    id: i32,
    uid: Option<u32>,
    user: Option<Rc<str>>,
    mode: String,
    nsems: u64,
}

#[derive(Debug, Serialize)]
pub(super) struct QueueRecord {
    key: String,
    id: i32,
    uid: Option<u32>,
    user: Option<Rc<str>>,
    mode: String,
    messages: u64,
    bytes: u64,
}

impl LeakedObjects {
    /// Creates the records of leaked objects. `created_by` returns the record of an object's creator.
    pub(crate) fn new(
        leaks: &Leaks,
        lookups: &Lookups,
        mut created_by: impl FnMut(&Origin) -> Option<CreatedBy>,
    ) -> Self {
        let segments = leaks.segments.iter().map(|leak| {
            let segment = &leak.object;
            let name = format!("segment {} (id {})", segment.key, segment.id);
            let command =
                state::creator_command(segment, lookups).map_or(String::new(), |command| format!(": {command}"));
            let line = format!(
                "segment {} (id {}, {}, nattch {}), created by process {} ({}){command}",
                segment.key,
                segment.id,
                counted(segment.size, "byte"),
                segment.nattch,
                segment.cpid,
                state::creator(segment, lookups).as_str(),
            );
            let record = SegmentRecord::new(segment, lookups);
            Leaked { record, created_by: created_by(&leak.origin), line, name }
        });
        let leaked = segments.collect();
        let semaphores = leaks.semaphores.iter().map(|leak| {
            let SemaphoreSet { key, id, mode, nsems, uid, .. } = leak.object;
            let mode = Mode::from_raw(mode).to_string();
            let owner = lookups.names.user_or_uid(uid);
            let line = format!(
                "semaphore set {key} (id {id}, {}), mode {mode}, owned by {owner}",
                counted(nsems, "semaphore")
            );
            let name = format!("semaphore set {key} (id {id})");
            let record = SemaphoreRecord {
                key: key.to_string(),
                id,
                uid: known_id(uid),
                user: lookups.names.user(uid),
                mode,
                nsems,
            };
            Leaked { record, created_by: created_by(&leak.origin), line, name }
        });
        let semaphores = semaphores.collect();
        let queues = leaks.queues.iter().map(|leak| {
            let MessageQueue { key, id, mode, messages, bytes, uid, .. } = leak.object;
            let mode = Mode::from_raw(mode).to_string();
            let owner = lookups.names.user_or_uid(uid);
            let contents = format!("{}, {}", counted(messages, "message"), counted(bytes, "byte"));
            let line = format!("message queue {key} (id {id}, {contents}), mode {mode}, owned by {owner}");
            let name = format!("message queue {key} (id {id})");
            let user = lookups.names.user(uid);
            let record = QueueRecord { key: key.to_string(), id, uid: known_id(uid), user, mode, messages, bytes };
            Leaked { record, created_by: created_by(&leak.origin), line, name }
        });
        let queues = queues.collect();
        LeakedObjects { leaked, semaphores, queues }
    }

    /// Returns for each object its name, its line and its creator.
    pub(super) fn each(&self) -> impl Iterator<Item = LeakSummary<'_>> {
        fn summary<T>(leaked: &Leaked<T>) -> LeakSummary<'_> {
            LeakSummary { name: &leaked.name, line: &leaked.line, created_by: leaked.created_by.as_ref() }
        }
        let segments = self.leaked.iter().map(summary);
        segments.chain(self.semaphores.iter().map(summary)).chain(self.queues.iter().map(summary))
    }
}

/// The data that objects of all kinds have.
#[derive(Debug, Clone, Copy)]
pub(super) struct LeakSummary<'a> {
    pub name: &'a str,
    pub line: &'a str,
    pub created_by: Option<&'a CreatedBy>,
}
