//! Removing a segment that was chosen a moment ago, and what became of it.

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

/// Not worth a thread.
const FEW: usize = 64;
/// How often [`wait`] looks.
const LOOK: Duration = Duration::from_millis(50);

/// What became of one segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Outcome {
    /// It is gone.
    Removed,
    /// It goes with its last detach.
    Marked,
    /// A dry run: it is as it was.
    WouldRemove,
    /// It was named, but the filters do not hold for it.
    Skipped,
    /// It was named, and does not exist.
    Missing,
    /// It is no longer the one that was chosen, and was left alone.
    Changed,
    /// It could not be removed.
    Failed,
}

/// One line, or one JSON object, about one segment.
#[derive(Debug, Serialize)]
pub(crate) struct Removal {
    #[serde(serialize_with = "as_text")]
    key: Option<Key>,
    #[serde(serialize_with = "as_number")]
    id: Option<ShmId>,
    size: Option<u64>,
    /// What became of it.
    pub outcome: Outcome,
    /// Why, where it failed.
    pub error: Option<Error>,
    /// Attachments, when it was looked at last.
    #[serde(skip)]
    nattch: u64,
    /// What is left of a marked one.
    #[serde(skip)]
    left: Option<Box<Segment>>,
}

/// Why segments were chosen. It is checked again right before each goes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Choice<'a> {
    /// The filters that held.
    selection: Option<&'a Selection>,
    /// Whether none that is attached was chosen.
    skip_attached: bool,
    /// Whether none is removed that others attached or detached since it was chosen.
    skip_used: bool,
}

impl<'a> Choice<'a> {
    /// Returns the choice of filters.
    pub(crate) fn filtered(selection: &'a Selection, skip_attached: bool) -> Choice<'a> {
        Choice { selection: Some(selection), skip_attached, skip_used: false }
    }

    /// Returns the choice of segments that were saved. The filters held before; saving moved the times that they ask for.
    pub(crate) fn saved(skip_attached: bool) -> Choice<'a> {
        Choice { selection: None, skip_attached, skip_used: true }
    }
}

/// Removes a segment if it is still the one that was chosen, and would be chosen still.
///
/// The kernel has no "remove if unattached": between the last look and IPC_RMID somebody can attach, and the segment is
/// then marked for destruction.
pub(crate) fn remove(chosen: &Segment, choice: Choice<'_>, lookups: &Lookups) -> Removal {
    let name = format_args!("segment {} (id {})", chosen.key, chosen.id);
    let failed = |error| Removal { error: Some(error), ..Removal::of(chosen, Outcome::Failed) };
    let changed = |how: &str| {
        let error = Error::failed(format!("left {name} alone: {how} since it was chosen"))
            .hint(format_args!("`shmadm stat id:{}` shows what it is now", chosen.id));
        Removal { error: Some(error), ..Removal::of(chosen, Outcome::Changed) }
    };
    match lookup::look(chosen.id) {
        // Gone meanwhile is what was wanted.
        Ok(None) => return Removal::of(chosen, Outcome::Removed),
        Ok(Some(now)) if !chosen.is_same_as(&now) => return changed("it changed"),
        Ok(Some(now)) if choice.skip_used && !chosen.attachments_are_as_in(&now) => return changed("it was used"),
        Ok(Some(now)) if choice.skip_attached && now.nattch > 0 => return changed("it was attached"),
        Ok(Some(now)) if choice.selection.is_some_and(|selection| !selection.matches(&now, lookups)) => {
            return changed("the filters ceased to hold");
        }
        Ok(Some(_)) => {}
        Err(error) => return failed(Error::call(format_args!("remove {name}"), error)),
    }
    match sysv::remove(chosen.id) {
        Ok(()) => {}
        Err(error) if error.reason == Reason::NoSuchSegment => {}
        Err(error) => return failed(Error::call_on(format_args!("remove {name}"), chosen.id, error)),
    }
    // Whether it is gone or waits for its last detach, only another look tells.
    match left_of(chosen.id) {
        Ok(Some(left)) => {
            Removal { nattch: left.nattch, left: Some(left.into()), ..Removal::of(chosen, Outcome::Marked) }
        }
        Ok(None) => Removal::of(chosen, Outcome::Removed),
        Err(error) => failed(
            Error::call(format_args!("look at {name} after its removal"), error)
                .hint("it is removed, or marked for destruction until its last detach"),
        ),
    }
}

/// Returns what is left of a segment after IPC_RMID: `None`, or a marked one.
///
/// # Errors
/// Nothing shows whether it is gone.
fn left_of(id: ShmId) -> Result<Option<Segment>, sysv::Error> {
    let left = match sysv::stat(id) {
        Ok(left) => Some(left),
        Err(error) if error.reason == Reason::NoSuchSegment => None,
        Err(_) => lookup::look(id)?,
    };
    Ok(left.filter(Segment::is_marked))
}

/// Removes many, in this order, by as many threads as there are processors: each call spends its time in the kernel. Those
/// that a signal comes before are left out.
pub(crate) fn remove_all(chosen: &[Segment], choice: Choice<'_>, shutdown: &ShutdownSignals) -> Vec<Removal> {
    let remove_share = |segments: &[Segment]| {
        // Looked up anew: what held when they were chosen is what is in question.
        let lookups = Lookups::default();
        let left = segments.iter().take_while(|_| shutdown.signal().is_none());
        left.map(|segment| remove(segment, choice, &lookups)).collect::<Vec<_>>()
    };
    in_shares(chosen, FEW, remove_share).into_iter().flatten().collect()
}

/// Waits until what was marked is gone, or a signal comes. What is left when the time is over has failed.
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
                    let action = format_args!("look whether the last detach has destroyed segment id:{id}").to_string();
                    removal.error = Some(Error::call(action, error));
                    break;
                }
            }
            if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                let left = if removal.nattch == 1 { "attachment is" } else { "attachments are" };
                let cause = format!("segment id:{id} is marked for destruction, but {} {left} left", removal.nattch);
                removal.error = Some(Error::failed(cause).hint(format_args!("`shmadm stat id:{id}` shows more")));
                break;
            }
            if shutdown.wait(Some(LOOK))?.is_some() {
                return Ok(());
            }
        }
    }
    Ok(())
}

impl Removal {
    /// A segment, and what became of it.
    pub(crate) fn of(segment: &Segment, outcome: Outcome) -> Removal {
        let (key, id, size) = (Some(segment.key), Some(segment.id), Some(segment.size));
        Removal { key, id, size, outcome, error: None, nattch: segment.nattch, left: None }
    }

    /// Returns who still has a marked segment attached.
    pub(crate) fn holders(&self, lookups: &Lookups) -> Option<Holders> {
        let left = self.left.as_deref().filter(|_| self.outcome == Outcome::Marked)?;
        Some(Holders::of(left, lookups)).filter(|holders| !holders.is_empty())
    }

    /// A word that names no segment, which may be no failure, or that could not be looked up.
    pub(crate) fn not_found(word: &SegmentRef, error: Error, ignore_missing: bool) -> Removal {
        let outcome = if error.kind == Kind::Missing { Outcome::Missing } else { Outcome::Failed };
        let error = Some(error).filter(|_| !(ignore_missing && outcome == Outcome::Missing));
        let (key, id) = match word {
            SegmentRef::Key(key) => (Some(*key), None),
            SegmentRef::Id(id) => (None, Some(*id)),
            SegmentRef::Ftok(..) => (lookup::key_of(word).ok().flatten(), None),
        };
        Removal { key, id, size: None, outcome, error, nattch: 0, left: None }
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
            Outcome::Skipped => f.write_str(": the filters do not hold for it"),
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
