use std::collections::HashSet;
use std::thread::sleep;
use std::time::{Duration, Instant};

use clap::Args;
use serde::{Serialize, Serializer};

use super::{Context, TextOrJson, segment_parser};
use crate::duration::Wait;
use crate::error::{Error, Result, Status};
use crate::lookup;
use crate::output::{ErrorRecord, Output, say};
use crate::segment_ref::SegmentRef;
use crate::sysv::{self, Reason, Segment, ShmId};

/// How often --wait looks.
const LOOK: Duration = Duration::from_millis(50);

/// Remove segments
///
/// A segment that is attached is marked for destruction: its key is free at once, and the kernel destroys it with its
/// last detach.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    shmadm remove 0x2a id:5\n  \
    shmadm rm 0x2a --ignore-missing          for scripts that clean up\n  \
    shmadm remove 0x2a --wait=10s            until the last process has detached\n  \
    shmadm remove 0x2a --dry-run")]
pub(super) struct Remove {
    /// The segments: a key (0x2a, 42, 052), id:N, or ftok:PROJECT:PATH
    #[arg(required = true, value_parser = segment_parser(), allow_negative_numbers = true)]
    segment: Vec<SegmentRef>,
    /// Say what would be removed, and remove nothing
    #[arg(short = 'n', long)]
    dry_run: bool,
    /// A named segment that does not exist is no failure
    #[arg(long)]
    ignore_missing: bool,
    /// Wait until the last detach has destroyed them, for DURATION at most
    #[arg(long, value_name = "DURATION", num_args = 0..=1, require_equals = true, default_missing_value = "")]
    wait: Option<Limit>,
    /// Print nothing of what was removed
    #[arg(short, long)]
    quiet: bool,
    /// How to print what was removed
    #[arg(short, long, value_enum, default_value_t)]
    format: TextOrJson,
}

#[derive(Debug, Clone, Copy)]
struct Limit(Option<Duration>);

impl std::str::FromStr for Limit {
    type Err = crate::duration::ParseWaitError;

    fn from_str(word: &str) -> Result<Limit, Self::Err> {
        if word.is_empty() { Ok(Limit(None)) } else { word.parse().map(|Wait(limit)| Limit(Some(limit))) }
    }
}

/// What became of one segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Outcome {
    Removed,
    Marked,
    WouldRemove,
    Missing,
    Changed,
    Failed,
}

#[derive(Debug, Serialize)]
struct Removal {
    #[serde(serialize_with = "as_text")]
    key: Option<crate::key::Key>,
    #[serde(serialize_with = "as_number")]
    id: Option<ShmId>,
    size: Option<u64>,
    outcome: Outcome,
    #[serde(serialize_with = "as_record")]
    error: Option<Error>,
    /// Attachments that were left when it was marked.
    #[serde(skip)]
    nattch: u64,
}

#[derive(Serialize)]
struct Report<'a> {
    removed: &'a [Removal],
}

impl Remove {
    pub(super) fn wants_json(&self) -> bool {
        self.format == TextOrJson::Json
    }

    pub(super) fn run(&self, context: &mut Context) -> Result<Status> {
        let mut seen = HashSet::new();
        // All are looked up before the first one goes; one that was named twice goes once.
        let chosen: Vec<_> = (self.segment.iter())
            .map(|word| (word, choose(word)))
            .filter(|(_, choice)| choice.as_ref().map_or(true, |segment| seen.insert(segment.id)))
            .collect();
        let mut removals = Vec::new();
        for (word, choice) in chosen {
            match choice {
                Ok(segment) if self.dry_run => removals.push(Removal::of(&segment, Outcome::WouldRemove)),
                Ok(segment) => removals.push(remove(&segment)),
                Err(error) if error.status == Status::Missing && self.ignore_missing => {}
                Err(error) => removals.push(Removal::not_found(word, error)),
            }
        }
        if let Some(Limit(limit)) = self.wait
            && !self.dry_run
        {
            wait(&mut removals, limit);
        }
        self.report(&mut context.output, &removals)
    }

    fn report(&self, output: &mut Output, removals: &[Removal]) -> Result<Status> {
        let mut status = Status::Done;
        for removal in removals {
            if let Some(error) = &removal.error {
                say(error);
                status = status.and(error.status);
            } else if !self.quiet && self.format == TextOrJson::Text {
                output.line(removal)?;
            }
        }
        if self.format == TextOrJson::Json {
            output.json(&Report { removed: removals })?;
        }
        Ok(status)
    }
}

/// The segment that a word names, as it is now.
fn choose(word: &SegmentRef) -> Result<Segment> {
    let named = lookup::find("remove", word)?;
    match lookup::look(named.id) {
        Ok(Some(segment)) => Ok(segment),
        Ok(None) => Err(lookup::missing("remove", &named, Some(sysv::Errno::EINVAL))),
        Err(error) => Err(Error::call(format_args!("remove {named}"), error)),
    }
}

/// Removes a segment, if it is still the one that was chosen: an identifier can have been reused.
fn remove(chosen: &Segment) -> Removal {
    let name = format!("segment {} (id {})", chosen.key, chosen.id);
    let failed = |error| Removal { error: Some(error), ..Removal::of(chosen, Outcome::Failed) };
    let now = match lookup::look(chosen.id) {
        Ok(Some(now)) => now,
        // Gone meanwhile is what was wanted.
        Ok(None) => return Removal::of(chosen, Outcome::Removed),
        Err(error) => return failed(Error::call(format_args!("remove {name}"), error)),
    };
    if !chosen.is_same_as(&now) {
        let error = Error::failed(format!(
            "cannot remove {name}: it changed since it was looked up; look again with `shmadm stat id:{}`",
            chosen.id
        ));
        return Removal { error: Some(error), ..Removal::of(chosen, Outcome::Changed) };
    }
    match sysv::remove(chosen.id) {
        Ok(()) => {}
        Err(error) if error.reason == Reason::NoSuchSegment => {}
        Err(error) => return failed(Error::call(format_args!("remove {name}"), error)),
    }
    // Whether it is gone or waits for its last detach, only a second look tells.
    match lookup::look(chosen.id) {
        Ok(Some(left)) if left.is_marked() => Removal { nattch: left.nattch, ..Removal::of(chosen, Outcome::Marked) },
        _ => Removal::of(chosen, Outcome::Removed),
    }
}

/// Waits until what was marked is gone. What is left when the time is over has failed.
fn wait(removals: &mut [Removal], limit: Option<Duration>) {
    let deadline = limit.and_then(|limit| Instant::now().checked_add(limit));
    for removal in removals.iter_mut().filter(|removal| removal.outcome == Outcome::Marked) {
        let Some(id) = removal.id else { continue };
        loop {
            match lookup::look(id) {
                Ok(Some(left)) if left.is_marked() => removal.nattch = left.nattch,
                _ => {
                    removal.outcome = Outcome::Removed;
                    break;
                }
            }
            if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                removal.error = Some(Error::failed(format!(
                    "segment id:{id} is marked for destruction, but {} attachments are left; `shmadm stat id:{id}` \
                     shows more",
                    removal.nattch
                )));
                break;
            }
            sleep(LOOK);
        }
    }
}

impl Removal {
    fn of(segment: &Segment, outcome: Outcome) -> Removal {
        let (key, id, size) = (Some(segment.key), Some(segment.id), Some(segment.size));
        Removal { key, id, size, outcome, error: None, nattch: segment.nattch }
    }

    fn not_found(word: &SegmentRef, error: Error) -> Removal {
        let outcome = if error.status == Status::Missing { Outcome::Missing } else { Outcome::Failed };
        let (key, id) = match word {
            SegmentRef::Key(key) => (Some(*key), None),
            SegmentRef::Id(id) => (None, Some(*id)),
            SegmentRef::Ftok(..) => (lookup::key_of(word).ok().flatten(), None),
        };
        Removal { key, id, size: None, outcome, error: Some(error), nattch: 0 }
    }
}

impl std::fmt::Display for Removal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let verb = match self.outcome {
            Outcome::WouldRemove => "would remove",
            Outcome::Marked => "marked for destruction:",
            _ => "removed",
        };
        f.write_str(verb)?;
        if let (Some(key), Some(id), Some(size)) = (self.key, self.id, self.size) {
            write!(f, " segment {key} (id {id}, {size} bytes)")?;
        }
        let attachments = if self.nattch == 1 { "attachment" } else { "attachments" };
        match (self.outcome, self.nattch) {
            (Outcome::Marked, left) => write!(f, ", {left} {attachments} left"),
            (Outcome::WouldRemove, 1..) => write!(f, ", which has {} {attachments}", self.nattch),
            _ => Ok(()),
        }
    }
}

fn as_text<S: Serializer>(key: &Option<crate::key::Key>, serializer: S) -> Result<S::Ok, S::Error> {
    key.map(|key| key.to_string()).serialize(serializer)
}

fn as_number<S: Serializer>(id: &Option<ShmId>, serializer: S) -> Result<S::Ok, S::Error> {
    id.map(ShmId::as_raw).serialize(serializer)
}

fn as_record<S: Serializer>(error: &Option<Error>, serializer: S) -> Result<S::Ok, S::Error> {
    error.as_ref().map(ErrorRecord::from).serialize(serializer)
}
