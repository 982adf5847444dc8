//! The attachments of a segment, for JSON and for `stat`.

use std::rc::Rc;

use serde::Serialize;

use crate::segments::cache::Lookups;
use crate::system::process::{command_of, user_of};
use crate::system::units::{Unit, unit_of};
use crate::sysv::Segment;

/// One attachment of a segment.
#[derive(Debug, Serialize)]
pub(crate) struct AttachmentRecord {
    /// The process.
    pub pid: i32,
    /// Its effective user; `None` if it has just ended.
    pub uid: Option<u32>,
    /// That user's name, made visible.
    pub user: Option<Rc<str>>,
    /// Its command line, made visible.
    pub command: Option<String>,
    /// The systemd unit, container or pod that it belongs to.
    pub unit: Option<Unit>,
    /// Its address in the process.
    pub address: String,
    /// `rw`, `r`, or `none` if the process removed all access by mprotect(2).
    pub access: String,
}

/// Returns the attachments of a segment that were found, by pid and address.
pub(crate) fn attachment_records(segment: &Segment, lookups: &Lookups) -> Vec<AttachmentRecord> {
    let mut records: Vec<AttachmentRecord> = Vec::new();
    for attached in lookups.attachments().of(segment) {
        // Each process is read only once, even if it has thousands of attachments.
        let same = records.last().filter(|last| last.pid == attached.pid);
        let (uid, user, command, unit) = match same {
            Some(last) => (last.uid, last.user.clone(), last.command.clone(), last.unit.clone()),
            None => {
                let uid = user_of(attached.pid);
                let user = uid.and_then(|uid| lookups.names.user(uid));
                (uid, user, command_of(attached.pid), unit_of(attached.pid))
            }
        };
        records.push(AttachmentRecord {
            pid: attached.pid,
            uid,
            user,
            command,
            unit,
            address: format!("{:#x}", attached.mapping.range.start),
            access: attached.mapping.protection.to_string(),
        });
    }
    records
}
