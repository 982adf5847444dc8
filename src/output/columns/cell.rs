//! Functions that write cells, for several columns.

use std::fmt::{self, Write as _};

use crate::output::record::View;
use crate::output::time::{compact, timestamp};
use crate::segments::attachments::{Attached, Proof};
use crate::segments::cache::Lookups;
use crate::segments::state;
use crate::sysv::Segment;
use crate::values::{human, known_id};

/// Appends a number or another displayable value.
pub(super) fn value(text: &mut String, value: impl fmt::Display) {
    // Writing to a String does not fail.
    let _ = write!(text, "{value}");
}

/// Appends a uid or gid. One that is not known is a question mark for people, and nothing for programs.
pub(super) fn id(text: &mut String, id: u32, view: &View<'_>) {
    if known_id(id).is_some() || view.human_sizes {
        id_or_mark(text, id);
    }
}

/// Appends a uid or gid, or a question mark if it is not known.
pub(super) fn id_or_mark(text: &mut String, id: u32) {
    match known_id(id) {
        Some(id) => value(text, id),
        None => text.push('?'),
    }
}

/// Appends a name, if there is one.
pub(super) fn name(text: &mut String, name: Option<impl AsRef<str>>) {
    if let Some(name) = name {
        text.push_str(name.as_ref());
    }
}

/// Appends values with commas between them.
pub(super) fn joined(text: &mut String, values: impl IntoIterator<Item = impl fmt::Display>) {
    for (place, value) in values.into_iter().enumerate() {
        let _ = write!(text, "{}{value}", if place > 0 { "," } else { "" });
    }
}

/// Appends a number of bytes; nothing if it is unknown.
pub(super) fn bytes(text: &mut String, bytes: Option<u64>, view: &View<'_>) {
    match bytes {
        Some(bytes) if view.human_sizes => text.push_str(&human(bytes.into())),
        Some(bytes) => value(text, bytes),
        None => {}
    }
}

/// Appends a point in time, given in seconds since the epoch; nothing if it is 0, which means never.
pub(super) fn time(text: &mut String, seconds: i64, view: &View<'_>) {
    if let Some(time) = timestamp(seconds) {
        text.push_str(&view.lookups.clock().show(time, view.time_format));
    }
}

/// Appends how long ago a point in time was.
pub(super) fn since(text: &mut String, seconds: i64, view: &View<'_>) {
    let elapsed = view.lookups.clock().seconds_since(seconds);
    if view.human_sizes { text.push_str(&compact(elapsed)) } else { value(text, elapsed) }
}

/// Appends the creator's command if it is alive, else the last user's in parentheses.
pub(super) fn command(text: &mut String, segment: &Segment, lookups: &Lookups) {
    if let Some(command) = state::creator_command(segment, lookups) {
        text.push_str(&command);
    } else if let Some(command) = state::last_command(segment, lookups) {
        let _ = write!(text, "({command})");
    }
}

/// Returns the visible processes that have a segment attached, each once. A question mark follows an unverified one.
pub(super) fn pids(segment: &Segment, lookups: &Lookups) -> Vec<String> {
    attached(segment, lookups).iter().map(|one| format!("{}{}", one.pid, doubt(one.proof))).collect()
}

/// Returns one attachment of each process.
fn attached<'a>(segment: &Segment, lookups: &'a Lookups) -> Vec<Attached<'a>> {
    // Without attachments the search can be skipped.
    if segment.nattch == 0 {
        return Vec::new();
    }
    let mut attached = lookups.attachments_of(segment);
    attached.dedup_by_key(|attached| attached.pid);
    attached
}

/// Returns the mark for an unverified attachment.
pub(super) fn doubt(proof: Proof) -> &'static str {
    match proof {
        Proof::Certain => "",
        Proof::Unverified => "?",
    }
}
