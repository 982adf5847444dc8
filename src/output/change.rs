//! What happened to a segment, as a line for people and as a record for scripts.

use std::fmt::Write;

use anstyle::{AnsiColor, Style};
use serde::Serialize;

use super::record::SegmentRecord;
use crate::segments::cache::Lookups;
use crate::segments::changes::{Change, Event};
use crate::system::clock::Clock;
use crate::system::names::Names;
use crate::values::human;

const PLAIN: Style = Style::new();
const CREATED: Style = AnsiColor::Green.on_default();
const CHANGED: Style = AnsiColor::Yellow.on_default();
const GOING: Style = AnsiColor::Red.on_default();

/// What happened to a segment, in JSON.
#[derive(Debug, Serialize)]
pub(crate) struct ChangeRecord {
    event: &'static str,
    time: String,
    segment: SegmentRecord,
    before: Option<SegmentRecord>,
}

impl ChangeRecord {
    /// The record of a change; the clock of `lookups` is when it was seen.
    pub(crate) fn new(change: &Change, lookups: &Lookups) -> ChangeRecord {
        ChangeRecord {
            event: word(change.event),
            time: lookups.clock().utc(),
            segment: SegmentRecord::new(&change.segment, lookups).with_original_key(change.original_key),
            before: change.before.as_ref().map(|before| SegmentRecord::new(before, lookups)),
        }
    }
}

/// The line of a change. It fits 80 columns, unless numbers or names are long, or several things changed at once.
pub(crate) fn change_line(change: &Change, began: &Clock, lookups: &Lookups, color: bool) -> String {
    let segment = &change.segment;
    let style = if color { style_of(change.event) } else { PLAIN };
    let mut line = format!(
        "{} {style}{:<8}{style:#} {} {:<8} {:>5}  {:<8}  {}",
        lookups.clock().to_the_second(began),
        word(change.event),
        change.original_key.unwrap_or(segment.key),
        format!("id:{}", segment.id),
        human(segment.size.into()),
        lookups.names.user_or_uid(segment.uid),
        details(change, lookups)
    );
    line.truncate(line.trim_end().len());
    line
}

/// What there is to say of an event, beyond which segment it was.
fn details(change: &Change, lookups: &Lookups) -> String {
    let segment = &change.segment;
    let mut text = match (change.event, change.nattch) {
        (Event::Created, _) => format!("mode {}", segment.mode()),
        (Event::Attached | Event::Detached, Some((from, to))) => format!("nattch {from} -> {to}"),
        (Event::Attached | Event::Detached, None) => "meanwhile".into(),
        (Event::Changed, _) => settings(change, &lookups.names),
        (Event::Marked, _) => format!("nattch {}", segment.nattch),
        (Event::Removed, _) => String::new(),
    };
    if let Some(process) = change.process {
        // Writing to a String does not fail.
        let _ = write!(text, " by {process}");
    }
    text
}

/// What IPC_SET, SHM_LOCK and SHM_UNLOCK have changed.
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

fn word(event: Event) -> &'static str {
    match event {
        Event::Created => "created",
        Event::Attached => "attached",
        Event::Detached => "detached",
        Event::Changed => "changed",
        Event::Marked => "marked",
        Event::Removed => "removed",
    }
}

fn style_of(event: Event) -> Style {
    match event {
        Event::Created => CREATED,
        Event::Attached | Event::Detached => PLAIN,
        Event::Changed => CHANGED,
        Event::Marked | Event::Removed => GOING,
    }
}
