//! A change of a segment, as a line for people and as a record for scripts.

use std::borrow::Cow;
use std::fmt::Write;
use std::rc::Rc;

use anstyle::{AnsiColor, Style};
use serde::Serialize;

use super::record::SegmentRecord;
use crate::segments::cache::Lookups;
use crate::segments::changes::{Change, Event as Kind};
use crate::segments::events::Failure;
use crate::system::clock::Clock;
use crate::system::names::Names;
use crate::system::units::Unit;
use crate::sysv::Segment;
use crate::values::human;

const PLAIN: Style = Style::new();
const CREATED: Style = AnsiColor::Green.on_default();
const CHANGED: Style = AnsiColor::Yellow.on_default();
const GOING: Style = AnsiColor::Red.on_default();

/// A reported event.
#[derive(Debug)]
pub(crate) struct Event<'a> {
    /// When it happened or was noticed.
    pub clock: Clock,
    /// The change or failure itself.
    pub kind: EventKind<'a>,
    /// The process that caused it, if that is certain.
    pub actor: Option<Actor>,
    /// How it was caused, if that is certain.
    pub cause: Option<&'static str>,
    /// Whether it comes from the kernel's own records, not from reading the table.
    pub is_from_kernel: bool,
}

/// The kind of an event.
#[derive(Debug, Clone, Copy)]
pub(crate) enum EventKind<'a> {
    /// A segment changed.
    Change(&'a Change),
    /// A call failed.
    Failure(&'a Failure),
    /// This number of records is missing.
    Lost(u64),
}

/// The process that caused an event.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Actor {
    /// Its pid.
    pub pid: i32,
    /// Its effective user.
    pub uid: Option<u32>,
    /// That user's name.
    pub user: Option<Rc<str>>,
    /// Its command line, or its program's name in brackets.
    pub command: Rc<str>,
    /// Its systemd unit, container or pod.
    pub unit: Option<Unit>,
    /// Its program's name.
    #[serde(skip)]
    pub name: Rc<str>,
}

/// An event in JSON.
#[derive(Debug, Serialize)]
pub(crate) struct EventRecord<'a> {
    event: &'static str,
    time: String,
    source: &'static str,
    segment: Option<SegmentRecord>,
    before: Option<SegmentRecord>,
    actor: &'a Option<Actor>,
    cause: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    call: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    errno: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    lost: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ns: Option<u64>,
}

impl<'a> EventRecord<'a> {
    /// Returns the record of an event.
    pub(crate) fn new(event: &'a Event<'_>, lookups: &Lookups) -> EventRecord<'a> {
        let record = EventRecord {
            event: word(&event.kind),
            time: event.clock.utc(),
            source: if event.is_from_kernel { "kernel" } else { "poll" },
            segment: None,
            before: None,
            actor: &event.actor,
            cause: event.cause,
            call: None,
            errno: None,
            lost: None,
            ns: None,
        };
        // The attachments show the key that a marked segment had. With the kernel's records, an earlier event has shown
        // it.
        let marked = |segment: &Segment| match event.is_from_kernel {
            true => SegmentRecord::with_key(segment, None, lookups),
            false => SegmentRecord::new(segment, lookups),
        };
        match event.kind {
            EventKind::Change(change) => EventRecord {
                segment: Some(match change.original_key {
                    Some(key) => SegmentRecord::with_key(&change.segment, Some(key), lookups),
                    None => marked(&change.segment),
                }),
                before: change.before.as_ref().map(marked),
                ..record
            },
            EventKind::Failure(failure) => EventRecord {
                segment: failure.segment.as_ref().map(marked),
                call: Some(&failure.call),
                errno: Some(format!("{:?}", failure.errno)),
                ns: failure.namespace,
                ..record
            },
            EventKind::Lost(count) => EventRecord { lost: Some(count), ..record },
        }
    }
}

/// Returns the line for an event. It fits in 80 columns, unless numbers or names are long or several properties changed
/// at once.
pub(crate) fn event_line(event: &Event<'_>, began: &Clock, lookups: &Lookups, color: bool) -> String {
    let style = if color { style_of(&event.kind) } else { PLAIN };
    let (time, word) = (event.clock.to_the_second(began), word(&event.kind));
    let mut line = format!("{time} {style}{word:<8}{style:#} ");
    let namespace = |inode: Option<u64>| inode.map_or_else(String::new, |inode| format!("{inode:<10} "));
    // Writing to a String does not fail.
    let _ = match event.kind {
        EventKind::Change(change) => {
            let segment = &change.segment;
            write!(
                line,
                "{}{} {:<8} {:>5}  {:<8} ",
                namespace(segment.namespace),
                change.original_key.unwrap_or(segment.key),
                format!("id:{}", segment.id),
                human(segment.size.into()),
                lookups.names.user_or_uid(segment.uid),
            )
        }
        EventKind::Failure(failure) => {
            write!(line, "{}{} = {:?}", namespace(failure.namespace), failure.call, failure.errno)
        }
        EventKind::Lost(count) => write!(line, "{count} records"),
    };
    for part in [details(event, &lookups.names), by(event, &lookups.names)] {
        if !part.is_empty() {
            let _ = write!(line, " {part}");
        }
    }
    line
}

/// Returns the process and the cause. The user is named only if it is not the segment's owner.
fn by(event: &Event<'_>, names: &Names) -> String {
    let mut text = match (&event.actor, event.kind) {
        (Some(actor), kind) => {
            let is_owner = matches!(kind, EventKind::Change(change) if actor.uid == Some(change.segment.uid));
            let user = match actor.uid {
                Some(_) if is_owner => String::new(),
                Some(uid) => format!(" of {}", names.user_or_uid(uid)),
                None => " of an unknown user".to_owned(),
            };
            format!("by {} {}{user}", actor.pid, quoted(&actor.name))
        }
        (None, EventKind::Change(Change { process: Some(process), .. })) => format!("by {process}"),
        (None, _) => String::new(),
    };
    if let Some(cause @ ("fork" | "exec" | "exit" | "namespace")) = event.cause {
        text = format!("{text} ({cause})").trim_start().to_owned();
    }
    text
}

/// Returns a program's name, in quotes if it could be read as more than a name: `"ipcrm of root"`. The process chooses it.
fn quoted(name: &str) -> Cow<'_, str> {
    if name.contains([' ', '(', '"']) { format!("{name:?}").into() } else { name.into() }
}

/// Returns the details of a change, without the name of the segment.
fn details(event: &Event<'_>, names: &Names) -> String {
    let EventKind::Change(change) = event.kind else { return String::new() };
    let segment = &change.segment;
    match (change.event, change.nattch) {
        (Kind::Created, _) => format!("mode {}", segment.mode()),
        (Kind::Attached | Kind::Detached, Some((from, to))) => format!("nattch {from} -> {to}"),
        (Kind::Attached | Kind::Detached, None) => "meanwhile".into(),
        (Kind::Changed, _) => settings(change, names),
        (Kind::Marked, _) => format!("nattch {}", segment.nattch),
        (Kind::Removed, _) => String::new(),
    }
}

/// Returns what IPC_SET, SHM_LOCK and SHM_UNLOCK changed.
fn settings(change: &Change, names: &Names) -> String {
    let (Some(before), after) = (&change.before, &change.segment) else { return String::new() };
    let mut changed = Vec::new();
    if before.uid != after.uid {
        changed.push(format!("owner {} -> {}", names.user_or_uid(before.uid), names.user_or_uid(after.uid)));
    }
    if before.gid != after.gid {
        changed.push(format!("group {} -> {}", names.group_or_gid(before.gid), names.group_or_gid(after.gid)));
    }
    if before.mode() != after.mode() {
        changed.push(format!("mode {} -> {}", before.mode(), after.mode()));
    }
    match (before.is_locked(), after.is_locked()) {
        (false, true) => changed.push("locked".into()),
        (true, false) => changed.push("unlocked".into()),
        _ => {}
    }
    changed.join(", ")
}

fn word(kind: &EventKind<'_>) -> &'static str {
    match kind {
        EventKind::Change(change) => match change.event {
            Kind::Created => "created",
            Kind::Attached => "attached",
            Kind::Detached => "detached",
            Kind::Changed => "changed",
            Kind::Marked => "marked",
            Kind::Removed => "removed",
        },
        EventKind::Failure(_) => "failed",
        EventKind::Lost(_) => "lost",
    }
}

fn style_of(kind: &EventKind<'_>) -> Style {
    match kind {
        EventKind::Change(change) => match change.event {
            Kind::Created => CREATED,
            Kind::Attached | Kind::Detached => PLAIN,
            Kind::Changed => CHANGED,
            Kind::Marked | Kind::Removed => GOING,
        },
        EventKind::Failure(_) | EventKind::Lost(_) => GOING,
    }
}
