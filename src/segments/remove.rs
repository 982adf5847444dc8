//! Removing segments that were chosen before, and the result for each.

use std::fmt;
use std::io;
use std::time::{Duration, Instant};

use serde::{Serialize, Serializer};

use crate::error::{Error, Kind, Result};
use crate::segments::cache::Lookups;
use crate::segments::filter::Selection;
use crate::segments::holders::Holders;
use crate::segments::lookup;
use crate::system::parallel::in_shares;
use crate::system::signals::ShutdownSignals;
use crate::sysv::{self, Reason, Segment};
use crate::values::{Key, SegmentRef, ShmId, counted};

/// The minimum number of segments for each thread.
const MIN_PER_THREAD: usize = 64;
/// The time between two checks for a signal. A check takes about as long as a removal.
const BETWEEN_CHECKS: Duration = Duration::from_millis(1);
/// The polling interval of [`wait`].
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// The result for one segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Outcome {
    /// It no longer exists.
    Removed,
    /// It will be destroyed by its last detach.
    Marked,
    /// A dry run: it is unchanged.
    WouldRemove,
    /// It was named, but it does not match the filters.
    Skipped,
    /// It was named, but does not exist.
    Missing,
    /// It is no longer the segment that was chosen, and was not removed.
    Changed,
    /// It could not be removed.
    Failed,
}

/// The result for one segment: one line, or one JSON object.
#[derive(Debug, Serialize)]
pub(crate) struct Removal {
    #[serde(serialize_with = "as_text")]
    key: Option<Key>,
    #[serde(serialize_with = "as_number")]
    id: Option<ShmId>,
    size: Option<u64>,
    /// The result.
    pub outcome: Outcome,
    /// The reason of a failure. In a box, because few of the many removals have one.
    pub error: Option<Box<Error>>,
    /// The number of attachments when it was last read.
    #[serde(skip)]
    nattch: u64,
    /// Whether a skipped segment may match the filters, because something about a process is unknown.
    #[serde(skip)]
    may_match: bool,
    /// The state of a marked segment.
    #[serde(skip)]
    left: Option<Box<Segment>>,
}

/// The conditions by which segments were chosen. They are checked again right before each removal.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Choice<'a> {
    /// The filters that matched.
    selection: Option<&'a Selection>,
    /// Whether attached segments were skipped.
    skip_attached: bool,
    /// Whether segments that were attached or detached since then are skipped.
    skip_used: bool,
}

impl<'a> Choice<'a> {
    /// Returns the choice by filters.
    pub(crate) fn filtered(selection: &'a Selection, skip_attached: bool) -> Choice<'a> {
        Choice { selection: Some(selection), skip_attached, skip_used: false }
    }

    /// Returns the choice of segments that were saved. The filters matched before; saving has changed the times that
    /// they use.
    pub(crate) fn saved(skip_attached: bool) -> Choice<'a> {
        Choice { selection: None, skip_attached, skip_used: true }
    }
}

/// Removes a segment if it is still the one that was chosen, and would still be chosen.
///
/// The kernel has no "remove if unattached". A process can attach the segment between the last check and IPC_RMID; the
/// segment is then marked for destruction.
pub(crate) fn remove(chosen: &Segment, choice: Choice<'_>, lookups: &Lookups) -> Removal {
    let name = format_args!("segment {} (id {})", chosen.key, chosen.id);
    let failed = |error: Error| Removal { error: Some(error.into()), ..Removal::of(chosen, Outcome::Failed) };
    let changed = |how: &str| Removal::changed(chosen, how);
    let undecided = || {
        let error = Error::failed(format!("left {name} alone: whether it still matches the filters is unknown now"))
            .hint(format_args!("`shmadm stat id:{}` shows what is known", chosen.id));
        Removal { error: Some(error.into()), ..Removal::of(chosen, Outcome::Changed) }
    };
    match lookup::current(chosen.id) {
        // It is already gone, as wanted.
        Ok(None) => return Removal::of(chosen, Outcome::Removed),
        Ok(Some(now)) if !chosen.is_same_as(&now) => return changed("it changed"),
        Ok(Some(now)) if choice.skip_used && !chosen.has_same_attachments_as(&now) => return changed("it was used"),
        Ok(Some(now)) if choice.skip_attached && now.nattch > 0 => return changed("it was attached"),
        Ok(Some(now)) if choice.selection.is_some_and(|selection| !selection.matches(&now, lookups)) => {
            let is_unknown = choice.selection.is_some_and(|selection| selection.may_match(&now, lookups));
            return if is_unknown { undecided() } else { changed("it stopped matching the filters") };
        }
        Ok(Some(_)) => {}
        Err(error) => return failed(Error::call(format_args!("remove {name}"), error)),
    }
    match sysv::remove(chosen.id) {
        Ok(()) => {}
        Err(error) if error.reason == Reason::NoSuchSegment => {}
        Err(error) => return failed(Error::call_on(format_args!("remove {name}"), chosen.id, error)),
    }
    // Only reading the segment again shows whether it is gone or waits for its last detach.
    match left_of(chosen.id) {
        Ok(Some(left)) => {
            Removal { nattch: left.nattch, left: Some(left.into()), ..Removal::of(chosen, Outcome::Marked) }
        }
        Ok(None) => Removal::of(chosen, Outcome::Removed),
        Err(error) => failed(
            Error::call(format_args!("inspect {name} after its removal"), error)
                .hint("it is removed, or marked for destruction until its last detach"),
        ),
    }
}

/// Returns the state of a segment after IPC_RMID: `None`, or that of a marked one.
///
/// # Errors
/// It cannot be determined whether it is gone.
fn left_of(id: ShmId) -> Result<Option<Segment>, sysv::Error> {
    let left = match sysv::stat(id) {
        Ok(left) => Some(left),
        Err(error) if error.reason == Reason::NoSuchSegment => None,
        Err(_) => lookup::current(id)?,
    };
    Ok(left.filter(Segment::is_marked))
}

/// Removes many segments in this order, with as many threads as there are processors: each call spends its time in the
/// kernel. Segments not yet reached when a signal arrives are left out.
pub(crate) fn remove_all(chosen: &[Segment], choice: Choice<'_>, shutdown: &ShutdownSignals) -> Vec<Removal> {
    let remove_share = |segments: &[Segment]| {
        // New lookups: the conditions of the choice must be checked again.
        let lookups = Lookups::default();
        let mut checked: Option<Instant> = None;
        let is_to_go_on = |_: &&Segment| {
            if checked.is_some_and(|checked| checked.elapsed() < BETWEEN_CHECKS) {
                return true;
            }
            checked = Some(Instant::now());
            shutdown.signal().is_none()
        };
        let left = segments.iter().take_while(is_to_go_on);
        left.map(|segment| remove(segment, choice, &lookups)).collect::<Vec<_>>()
    };
    in_shares(chosen, MIN_PER_THREAD, remove_share).into_iter().flatten().collect()
}

/// Waits until the marked segments are gone, or a signal arrives. Those left after the time limit have failed.
pub(crate) fn wait(removals: &mut [Removal], limit: Option<Duration>, shutdown: &ShutdownSignals) -> io::Result<()> {
    let deadline = limit.and_then(|limit| Instant::now().checked_add(limit));
    for removal in removals.iter_mut().filter(|removal| removal.outcome == Outcome::Marked) {
        let Some(id) = removal.id else { continue };
        loop {
            match left_of(id) {
                Ok(Some(left)) => removal.nattch = left.nattch,
                Ok(None) => {
                    removal.outcome = Outcome::Removed;
                    break;
                }
                Err(error) => {
                    let action = format!("find out whether the last detach has destroyed segment id:{id}");
                    removal.error = Some(Error::call(action, error).into());
                    break;
                }
            }
            if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                let left = if removal.nattch == 1 { "attachment is" } else { "attachments are" };
                let cause = format!("segment id:{id} is marked for destruction, but {} {left} left", removal.nattch);
                let error = Error::failed(cause).hint(format_args!("`shmadm stat id:{id}` shows more"));
                removal.error = Some(error.into());
                break;
            }
            if shutdown.wait(Some(POLL_INTERVAL))?.is_some() {
                return Ok(());
            }
        }
    }
    Ok(())
}

impl Removal {
    /// Returns the result for a segment.
    pub(crate) fn of(segment: &Segment, outcome: Outcome) -> Removal {
        let (key, id, size) = (Some(segment.key), Some(segment.id), Some(segment.size));
        Removal { key, id, size, outcome, error: None, nattch: segment.nattch, may_match: false, left: None }
    }

    /// Returns the result for a named segment that does not match the filters, or may not.
    pub(crate) fn skipped(segment: &Segment, selection: &Selection, lookups: &Lookups) -> Removal {
        Removal { may_match: selection.may_match(segment, lookups), ..Removal::of(segment, Outcome::Skipped) }
    }

    /// Returns the result for a segment that changed since it was chosen.
    pub(crate) fn changed(chosen: &Segment, how: &str) -> Removal {
        let cause = format!("left segment {} (id {}) alone: {how} since it was chosen", chosen.key, chosen.id);
        let error = Error::failed(cause).hint(format_args!("`shmadm stat id:{}` shows what it is now", chosen.id));
        Removal { error: Some(error.into()), ..Removal::of(chosen, Outcome::Changed) }
    }

    /// Returns the processes that still have a marked segment attached.
    pub(crate) fn holders(&self, lookups: &Lookups) -> Option<Holders> {
        let left = self.left.as_deref().filter(|_| self.outcome == Outcome::Marked)?;
        Some(Holders::of(left, lookups)).filter(|holders| !holders.is_empty())
    }

    /// Returns the result for a failed lookup. With `ignore_missing`, a missing segment is not an error.
    pub(crate) fn not_found(word: &SegmentRef, error: Error, ignore_missing: bool) -> Removal {
        let outcome = if error.kind == Kind::Missing { Outcome::Missing } else { Outcome::Failed };
        let error = Some(error.into()).filter(|_| !(ignore_missing && outcome == Outcome::Missing));
        let (key, id) = match word {
            SegmentRef::Key(key) | SegmentRef::Decimal(key) => (Some(*key), None),
            SegmentRef::Id(id) => (None, Some(*id)),
            SegmentRef::Ftok(..) => (lookup::key_of(word).ok().flatten(), None),
        };
        Removal { key, id, size: None, outcome, error, nattch: 0, may_match: false, left: None }
    }
}

impl fmt::Display for Removal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.outcome {
            Outcome::WouldRemove => "would remove",
            Outcome::Marked => "marked for destruction:",
            Outcome::Skipped => "skipped",
            Outcome::Removed => "removed",
            Outcome::Missing => "did not find",
            Outcome::Changed => "left alone",
            Outcome::Failed => "could not remove",
        })?;
        if let (Some(key), Some(id), Some(size)) = (self.key, self.id, self.size) {
            write!(f, " segment {key} (id {id}, {})", counted(size, "byte"))?;
        }
        match self.outcome {
            Outcome::Marked => write!(f, ", {} left", counted(self.nattch, "attachment")),
            Outcome::Skipped if self.may_match => f.write_str(": whether it matches the filters is unknown"),
            Outcome::Skipped => f.write_str(": it does not match the filters"),
            _ => Ok(()),
        }
    }
}

fn as_text<S: Serializer>(key: &Option<Key>, serializer: S) -> Result<S::Ok, S::Error> {
    key.map(|key| key.to_string()).serialize(serializer)
}

fn as_number<S: Serializer>(id: &Option<ShmId>, serializer: S) -> Result<S::Ok, S::Error> {
    id.map(ShmId::as_raw).serialize(serializer)
}
