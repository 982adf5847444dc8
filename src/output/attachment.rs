//! The attachments of a segment, for JSON and for `stat`.

use std::fmt::Display;
use std::rc::Rc;

use serde::{Serialize, Serializer};

use crate::segments::attachments::Proof;
use crate::segments::cache::Lookups;
use crate::system::cgroup::unit_of;
use crate::system::process::{command_of, user_of};
use crate::system::units::Unit;
use crate::sysv::{Protection, Segment};

/// One attachment of a segment.
#[derive(Debug, Serialize)]
pub(crate) struct AttachmentRecord {
    /// The process.
    pub pid: i32,
    /// Its effective user; `None` if it has just ended.
    pub uid: Option<u32>,
    /// That user's name, escaped.
    pub user: Option<Rc<str>>,
    /// Its command line, escaped.
    pub command: Option<Rc<str>>,
    /// The systemd unit, container or pod that it belongs to.
    pub unit: Option<Rc<Unit>>,
    /// Its address in the process.
    #[serde(serialize_with = "hexadecimal")]
    pub address: u64,
    /// `rw`, `r`, or `none` if the process removed all access by mprotect(2).
    #[serde(serialize_with = "text")]
    pub access: Protection,
    /// Whether it may be forged, or belong to another namespace's segment: only root can verify it.
    #[serde(rename = "unverified", skip_serializing_if = "is_false")]
    pub is_unverified: bool,
}

fn hexadecimal<S: Serializer>(address: &u64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("{address:#x}"))
}

fn text<S: Serializer>(value: &impl Display, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde wants")]
fn is_false(value: &bool) -> bool {
    !*value
}

/// Returns the known attachments of a segment, sorted by pid and address.
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
                (uid, user, command_of(attached.pid).map(Rc::from), unit_of(attached.pid).map(Rc::new))
            }
        };
        records.push(AttachmentRecord {
            pid: attached.pid,
            uid,
            user,
            command,
            unit,
            address: attached.mapping.range.start,
            access: attached.mapping.protection,
            is_unverified: attached.proof == Proof::Unverified,
        });
    }
    records
}
