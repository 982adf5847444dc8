//! Selecting and printing events.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::os::fd::AsFd;
use std::rc::Rc;

use super::{Format, Watch};
use crate::commands::Context;
use crate::error::{Error, Result, Status};
use crate::output::{Actor, Event, EventKind, EventRecord, event_line, say};
use crate::segments::cache::Lookups;
use crate::segments::changes::Change;
use crate::segments::events::{self, Failure, Occurrence, OccurrenceKind, Program};
use crate::segments::filter::Selection;
use crate::segments::lookup::key_of;
use crate::system::clock::Clock;
use crate::system::signals::ShutdownSignals;
use crate::sysv::Segment;
use crate::values::{Key, SegmentRef, ShmId, counted};

/// Whether the watch ends or continues.
pub(super) type Flow = ControlFlow<Status>;

/// Selects events and prints them.
pub(super) struct Report<'a> {
    context: &'a mut Context,
    shutdown: &'a ShutdownSignals,
    format: Format,
    wanted: Vec<Wanted>,
    selection: Selection,
    is_filtered: bool,
    began: Clock,
    /// The number of events still to report.
    left: Option<u64>,
    actors: Actors,
}

/// A segment that was named.
#[derive(Debug, Clone, Copy)]
enum Wanted {
    Key(Key),
    Id(ShmId),
}

impl Wanted {
    fn is(self, segment: &Segment) -> bool {
        match self {
            Self::Key(key) => segment.key == key,
            Self::Id(id) => segment.id == id,
        }
    }
}

impl<'a> Report<'a> {
    /// Resolves the named segments, users and files.
    ///
    /// # Errors
    /// An unknown user or file, or key 0.
    pub(super) fn new(watch: &Watch, context: &'a mut Context, shutdown: &'a ShutdownSignals) -> Result<Report<'a>> {
        Ok(Report {
            context,
            shutdown,
            format: watch.format,
            wanted: watch.segments.iter().map(wanted).collect::<Result<_>>()?,
            selection: watch.filters.resolve()?,
            is_filtered: !watch.filters.is_empty(),
            began: Clock::now(),
            left: watch.count,
            actors: Actors::default(),
        })
    }

    /// Reports that from now on every event is seen, and how: a script can wait for this line.
    /// `unread` is the number of namespaces that could not be read.
    pub(super) fn announce<'s>(&mut self, segments: impl Iterator<Item = &'s Segment>, unread: usize, how: &str) {
        let lookups = Lookups::default();
        let chosen = segments.filter(|segment| self.is_wanted(segment, &lookups)).count();
        self.began = Clock::now();
        if unread > 0 {
            let namespaces = counted(unread as u64, "IPC namespace");
            say(format_args!("{namespaces} cannot be read: changes of segments there may be missing"));
        }
        say(format_args!("watching {}, {how}", counted(chosen, "segment")));
    }

    /// Reports the selected changes between two snapshots.
    pub(super) fn changed(&mut self, changes: &[Change]) -> Result<Flow> {
        if changes.is_empty() {
            return Ok(Flow::Continue(()));
        }
        // Processes and names change, so nothing is cached from the previous snapshot. The clock has the time of this
        // one.
        let lookups = Lookups::default();
        let now = lookups.clock();
        self.selection.refresh();
        for change in changes {
            if self.is_chosen(change, &lookups) {
                let clock = now.clone();
                let kind = EventKind::Change(change);
                let event = Event { clock, kind, actor: None, cause: None, is_from_kernel: false };
                if let end @ Flow::Break(_) = self.write(&event, &lookups)? {
                    return Ok(end);
                }
            }
        }
        Ok(Flow::Continue(()))
    }

    /// Reports the selected events.
    pub(super) fn occurred(&mut self, occurrences: &[Occurrence]) -> Result<Flow> {
        if occurrences.is_empty() {
            return Ok(Flow::Continue(()));
        }
        let lookups = Lookups::default();
        self.selection.refresh();
        for Occurrence { time, kind, actor, cause } in occurrences {
            let kind = match kind {
                OccurrenceKind::Changed(change) if self.is_chosen(change, &lookups) => EventKind::Change(change),
                OccurrenceKind::Failed(failure) if self.is_chosen_failure(failure, &lookups) => {
                    EventKind::Failure(failure)
                }
                _ => continue,
            };
            let event = Event {
                clock: self.began.moved_to(*time),
                kind,
                actor: actor.as_ref().map(|actor| self.actors.describe(actor, &lookups)),
                cause: cause.word(),
                is_from_kernel: cause.is_recorded(),
            };
            if let end @ Flow::Break(_) = self.write(&event, &lookups)? {
                return Ok(end);
            }
        }
        Ok(Flow::Continue(()))
    }

    /// Reports that records are missing.
    pub(super) fn lost(&mut self, count: u64) -> Result<Flow> {
        if count == 0 {
            return Ok(Flow::Continue(()));
        }
        say(format_args!(
            "the kernel lost {}: more happened than could be read, so events are missing",
            counted(count, "record")
        ));
        if self.format == Format::Text {
            return Ok(Flow::Continue(()));
        }
        let left = self.left.take();
        let kind = EventKind::Lost(count);
        let event = Event { clock: Clock::now(), kind, actor: None, cause: None, is_from_kernel: true };
        let flow = self.write(&event, &Lookups::default());
        self.left = left;
        flow
    }

    /// Ends the watch if the reader has closed the pipe.
    pub(super) fn check_reader(&self) -> Result<()> {
        self.context.output.check_reader()
    }

    /// Returns whether the filters match the segment before or after the change. For a marked segment its former key is
    /// used.
    fn is_chosen(&self, change: &Change, lookups: &Lookups) -> bool {
        let keyed = change.original_key.map(|key| Segment { key, ..change.segment.clone() });
        let states = [Some(&change.segment), keyed.as_ref(), change.before.as_ref()];
        states.into_iter().flatten().any(|segment| self.is_wanted(segment, lookups))
    }

    /// Returns whether a failed call is selected: by its segment, or if it has none, by its key.
    fn is_chosen_failure(&self, failure: &Failure, lookups: &Lookups) -> bool {
        match (&failure.segment, failure.key) {
            (Some(segment), _) => self.is_wanted(segment, lookups),
            (None, key) => {
                let is_key =
                    |wanted: &Wanted| matches!((wanted, key), (Wanted::Key(one), Some(other)) if *one == other);
                !self.is_filtered && (self.wanted.is_empty() || self.wanted.iter().any(is_key))
            }
        }
    }

    fn is_wanted(&self, segment: &Segment, lookups: &Lookups) -> bool {
        (self.wanted.is_empty() || self.wanted.iter().any(|wanted| wanted.is(segment)))
            && self.selection.matches(segment, lookups)
    }

    /// Writes an event and flushes it. A signal ends the watch even while the reader does not read.
    fn write(&mut self, event: &Event<'_>, lookups: &Lookups) -> Result<Flow> {
        let output = &mut self.context.output;
        let signal = self.shutdown.wait_writable(output.file()?.as_fd()).map_err(|error| Error::output(&error))?;
        if let Some(signal) = signal {
            return Ok(Flow::Break(Status::Signal(signal)));
        }
        match self.format {
            Format::Text => output.line(event_line(event, &self.began, lookups, output.color()))?,
            Format::Jsonl => output.json(&EventRecord::new(event, lookups))?,
        }
        output.flush()?;
        self.left = self.left.map(|left| left - 1);
        Ok(if self.left == Some(0) { Flow::Break(Status::Done) } else { Flow::Continue(()) })
    }
}

/// The maximum number of cached processes.
const MAX_PROCESSES: usize = 1024;

/// Processes that caused events, by pid and program. They are cached because they may have ended before their next
/// event is reported.
#[derive(Debug, Default)]
struct Actors(HashMap<(i32, u32), Option<Rc<Program>>>);

impl Actors {
    /// Describes a process. If it ended before it was inspected, only its name is known.
    fn describe(&mut self, actor: &events::Actor, lookups: &Lookups) -> Actor {
        if self.0.len() >= MAX_PROCESSES {
            self.0.clear();
        }
        let inspect = || Program::of(actor.pid).map(Rc::new);
        let cached = || self.0.entry((actor.pid, actor.generation)).or_insert_with(inspect).clone();
        let program = actor.program.clone().or_else(cached);
        let unknown = || format!("[{}]", actor.name).into();
        Actor {
            pid: actor.pid,
            uid: actor.uid,
            user: actor.uid.and_then(|uid| lookups.names.user(uid)),
            command: program.as_ref().map_or_else(unknown, |program| program.command.clone()),
            unit: program.and_then(|program| program.unit.clone()),
            name: actor.name.clone(),
        }
    }
}

/// Parses the name of a segment, which need not exist.
fn wanted(segment: &SegmentRef) -> Result<Wanted> {
    match (segment, key_of(segment)?) {
        (_, Some(key)) if !key.is_private() => Ok(Wanted::Key(key)),
        (SegmentRef::Id(id), _) => Ok(Wanted::Id(*id)),
        _ => Err(Error::cannot(format_args!("watch segment {segment}"), "its key is 0, which names no segment")),
    }
}
