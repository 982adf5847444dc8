//! IPC namespaces in the output: a heading above the segments, a record in JSON, and messages about unread ones.

use std::collections::BTreeMap;

use anstyle::Style;
use nix::unistd::geteuid;
use serde::Serialize;

use super::text::cut;
use super::{Output, say};
use crate::error::{Result, Status};
use crate::segments::all_namespaces::{AllNamespaces, Unread};
use crate::segments::hidden_attachments::Unknown;
use crate::system::namespace::{Keeper, LiveNamespace};
use crate::system::process::{HIDDEN, commands_of, name_of, others_are_hidden};
use crate::system::units::Unit;
use crate::values::{counted, human_bytes};

const HEADING: Style = Style::new().bold();
/// The maximum number of lines about processes or namespaces.
const MAX_REPORTED: usize = 20;

/// An IPC namespace, with the process or file by which a person recognizes it.
#[derive(Debug, Serialize)]
pub(crate) struct NamespaceRecord {
    /// Its inode.
    pub ns: u64,
    /// A process in it that represents it; `None` if it has no process.
    pid: Option<i32>,
    command: Option<String>,
    /// That process's unit, container or pod.
    unit: Option<Unit>,
    /// The mount or descriptor that keeps it, if no process is in it.
    kept_by: Option<String>,
    /// The number of listed segments; `None` if the namespace cannot be entered or read.
    segments: Option<u64>,
    #[serde(skip)]
    unread: Option<Unread>,
    #[serde(skip)]
    is_ours: bool,
}

impl NamespaceRecord {
    /// Returns the records of namespaces with the number of their listed segments, or why that is unknown.
    pub(crate) fn all<'a>(
        namespaces: impl Iterator<Item = (&'a LiveNamespace, Result<u64, Unread>)>,
    ) -> Vec<NamespaceRecord> {
        let namespaces: Vec<_> = namespaces.collect();
        let pids: Vec<i32> = namespaces.iter().filter_map(|(namespace, _)| process_of(namespace)).collect();
        let mut commands: BTreeMap<i32, _> = pids.iter().copied().zip(commands_of(&pids)).collect();
        let record = |(namespace, segments): (&LiveNamespace, _)| {
            let command = process_of(namespace).and_then(|pid| commands.remove(&pid)?);
            NamespaceRecord::new(namespace, segments, command)
        };
        namespaces.into_iter().map(record).collect()
    }

    fn new(namespace: &LiveNamespace, segments: Result<u64, Unread>, command: Option<String>) -> NamespaceRecord {
        let (keeper, pid) = (namespace.keeper(), process_of(namespace));
        NamespaceRecord {
            ns: namespace.inode(),
            pid,
            command,
            unit: namespace.unit(),
            kept_by: keeper.filter(|_| pid.is_none()).map(ToString::to_string),
            segments: segments.ok(),
            unread: segments.err(),
            is_ours: namespace.is_ours(),
        }
    }

    /// Writes it as a line. The command is last, and is cut to fit the terminal.
    pub(crate) fn print_heading(&self, output: &mut Output) -> Result<()> {
        let text = self.heading();
        let text = cut(&text, output.width().map_or(usize::MAX, usize::from));
        output.styled_line(HEADING, text)
    }

    fn heading(&self) -> String {
        let ours = if self.is_ours { " (this one)" } else { "" };
        let segments = match self.segments {
            None if self.unread == Some(Unread::Failed) => "cannot be read".to_owned(),
            None => "cannot be entered".into(),
            Some(0) => "no segments".into(),
            Some(segments) => counted(segments, "segment"),
        };
        let who = self.who();
        let separator = if who.is_empty() { "" } else { ", " };
        format!("IPC namespace {}{ours}, {segments}{separator}{who}", self.ns)
    }

    /// Returns the unit and the process that represent it, or else the mount or descriptor that keeps it. The text is empty
    /// if only this process is in it.
    pub(super) fn who(&self) -> String {
        let process = match (self.pid, &self.command, &self.kept_by) {
            (Some(pid), Some(command), _) => format!("process {pid}: {command}"),
            (Some(pid), None, _) => format!("process {pid}"),
            (None, _, Some(keeper)) => format!("kept by {keeper}"),
            (None, _, None) => String::new(),
        };
        match &self.unit {
            Some(unit) => format!("{unit}, {process}"),
            None => process,
        }
    }
}

/// Returns the process that represents a namespace.
fn process_of(namespace: &LiveNamespace) -> Option<i32> {
    namespace.keeper().filter(|keeper| matches!(keeper, Keeper::Process(_))).map(Keeper::pid)
}

/// Reports on standard error which namespaces could not be read, and returns the exit status. For an ordinary user,
/// hidden namespaces of other users are not a failure.
pub(crate) fn report_unread(namespaces: &AllNamespaces) -> Status {
    let mut status = Status::Done;
    let failures = namespaces.take_failures();
    for (index, error) in failures.iter().enumerate() {
        status = status.and(error.status());
        if index < MAX_REPORTED {
            say(error);
        }
    }
    if let Some(more) = failures.len().checked_sub(MAX_REPORTED).filter(|more| *more > 0) {
        say(format_args!("and {} of this kind", counted(more, "more failure")));
    }
    let may_not = |count: usize, what: &str, verb: &str| {
        (count > 0).then(|| format!("{} cannot be {verb}", counted(count as u64, what)))
    };
    let processes = may_not(namespaces.unseen_processes(), "process", "inspected");
    let denied = may_not(namespaces.denied_namespaces(), "IPC namespace", "entered");
    let hidden = others_are_hidden().then(|| HIDDEN.to_owned());
    let reasons: Vec<_> = [processes, hidden, denied].into_iter().flatten().collect();
    if !reasons.is_empty() {
        let who = if geteuid().is_root() { "" } else { "; root sees all" };
        say(format_args!("{}: there may be more segments{who}", reasons.join(", ")));
    }
    status
}

/// Reports on standard error the processes with attached segments whose namespace is not visible.
pub(crate) fn report_hidden_attachments(unknown: &[Unknown]) {
    for Unknown { pid, size, .. } in unknown.iter().take(MAX_REPORTED) {
        let name = name_of(*pid).map_or(String::new(), |name| format!(" ({name})"));
        say(format_args!(
            "process {pid}{name} has a segment of {} attached in an IPC namespace that cannot be seen",
            human_bytes((*size).into())
        ));
    }
    if let Some(more) = unknown.len().checked_sub(MAX_REPORTED).filter(|more| *more > 0) {
        say(format_args!("and {} of this kind", counted(more, "more attachment")));
    }
}
