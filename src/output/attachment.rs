//! The attachments of a segment, for JSON and for `stat`.

use std::collections::HashMap;
use std::fmt::Display;
use std::rc::Rc;

use serde::{Serialize, Serializer};

use crate::segments::attachments::{Attached, Proof};
use crate::segments::cache::Lookups;
use crate::system::cgroup::unit_of;
use crate::system::process::{commands_of, user_of};
use crate::system::units::Unit;
use crate::sysv::{Protection, Segment};

/// The number of processes whose command lines are read together, and kept until they are written.
const READ_TOGETHER: usize = 64;

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

/// The known attachments of a segment, sorted by pid and address. Each is described only when it is written: together
/// their texts can be very long.
#[derive(Debug)]
pub(crate) struct AttachmentList<'a> {
    found: Vec<Attached<'a>>,
    lookups: &'a Lookups,
}

impl<'a> AttachmentList<'a> {
    /// Returns those of a segment.
    pub(crate) fn of(segment: &Segment, lookups: &'a Lookups) -> AttachmentList<'a> {
        AttachmentList { found: lookups.attachments().of(segment), lookups }
    }

    /// Returns their number.
    pub(crate) fn len(&self) -> usize {
        self.found.len()
    }

    /// Reads the processes of a few segments together: their creators, their last users, and the first that have them
    /// attached.
    pub(crate) fn read_processes<'b>(segments: impl Iterator<Item = &'b Segment> + Clone, lookups: &Lookups) {
        let users = segments.clone().flat_map(|segment| [segment.cpid, segment.lpid]);
        let attached = segments.flat_map(|segment| lookups.attachments().of(segment)).map(|attached| attached.pid);
        lookups.processes().read_all(users.chain(attached.take(READ_TOGETHER)));
    }

    /// Describes them one by one. Each process is read only once, even if it has thousands of attachments.
    pub(crate) fn records(&self) -> impl Iterator<Item = AttachmentRecord> {
        let by_process: Vec<_> = self.found.chunk_by(|one, next| one.pid == next.pid).collect();
        let together: Vec<_> = by_process.chunks(READ_TOGETHER).map(<[_]>::to_vec).collect();
        together.into_iter().flat_map(|processes| {
            let pids = || processes.iter().map(|attached| attached[0].pid);
            let unknown: Vec<i32> = pids().filter(|pid| self.lookups.processes().known(*pid).is_none()).collect();
            let mut commands: HashMap<i32, Option<String>> =
                unknown.iter().copied().zip(commands_of(&unknown)).collect();
            let read = pids().map(|pid| Process::read(pid, commands.remove(&pid).flatten(), self.lookups));
            let read: Vec<_> = read.collect();
            let attached = processes.into_iter().zip(read);
            attached.flat_map(|(attached, process)| attached.iter().map(move |one| process.record(one)))
        })
    }
}

impl Serialize for AttachmentList<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.records())
    }
}

/// The fields that all attachments of a process share.
#[derive(Clone)]
struct Process {
    pid: i32,
    uid: Option<u32>,
    user: Option<Rc<str>>,
    command: Option<Rc<str>>,
    unit: Option<Rc<Unit>>,
}

impl Process {
    fn read(pid: i32, command: Option<String>, lookups: &Lookups) -> Process {
        let uid = user_of(pid).map(|(uid, _)| uid);
        let user = uid.and_then(|uid| lookups.names.user(uid));
        let (command, unit) = match lookups.processes().known(pid) {
            Some((command, cgroups)) => (Some(command), cgroups.and_then(|cgroups| cgroups.unit().cloned())),
            None => (command.map(Rc::from), unit_of(pid)),
        };
        Process { pid, uid, user, command, unit: unit.map(Rc::new) }
    }

    fn record(&self, attached: &Attached<'_>) -> AttachmentRecord {
        let Process { pid, uid, user, command, unit } = self.clone();
        AttachmentRecord {
            pid,
            uid,
            user,
            command,
            unit,
            address: attached.mapping.range.start,
            access: attached.mapping.protection,
            is_unverified: attached.proof == Proof::Unverified,
        }
    }
}
