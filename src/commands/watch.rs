use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};

use super::Context;
use super::args::Filters;
use crate::error::{Error, Result, Status};
use crate::output::{ChangeRecord, change_line, say};
use crate::segments::cache::Lookups;
use crate::segments::changes::{Change, Snapshot};
use crate::segments::filter::Selection;
use crate::segments::lookup::rows;
use crate::system::clock::Clock;
use crate::system::signals::ShutdownSignals;
use crate::sysv::Segment;
use crate::values::{ParsePeriodError, Period, counted};

/// The shortest interval: looks without a pause would keep a processor busy and tell no more.
const SHORTEST: Duration = Duration::from_millis(10);

/// Report what happens to segments, as it happens
///
/// Looks at all segments again and again, and writes a line for each that was created, attached, detached, changed
/// (owner, group, mode, lock), marked for destruction or removed since the look before. What comes and goes between two
/// looks is not seen. Goes on until it is interrupted, or until --count or --for ends it.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    shmadm watch\n  \
    shmadm watch --owner postgres --interval 100ms\n  \
    shmadm watch --key 0x2a --count 1 --for 10m     wait until something happens to it\n  \
    shmadm watch -f jsonl | jq --unbuffered -r 'select(.event == \"created\") | .segment.command'")]
pub(super) struct Watch {
    /// How to write a change
    #[arg(short, long, value_enum, default_value_t)]
    format: Format,
    /// How long to wait between two looks, 10ms or more
    #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = interval)]
    interval: Period,
    /// End after N changes
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// End after DURATION
    #[arg(long = "for", value_name = "DURATION")]
    limit: Option<Period>,
    #[command(flatten)]
    filters: Filters,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people
    #[default]
    Text,
    /// One JSON object a line
    Jsonl,
}

fn interval(word: &str) -> Result<Period, String> {
    let period: Period = word.parse().map_err(|error: ParsePeriodError| error.to_string())?;
    if period.0 < SHORTEST { Err("the shortest interval is 10ms".into()) } else { Ok(period) }
}

impl Watch {
    pub(super) fn wants_json(&self) -> bool {
        self.format == Format::Jsonl
    }

    pub(super) fn run(&self, context: &mut Context) -> Result<Status> {
        let mut selection = self.filters.resolve()?;
        let shutdown = ShutdownSignals::catch().map_err(|error| Error::io("catch signals", &error))?;
        // A limit too long for the clock is none.
        let deadline = self.limit.and_then(|limit| Instant::now().checked_add(limit.0));
        let mut snapshot = Snapshot::first(rows()?.collect::<Result<_>>()?);
        let began = Clock::now();
        self.announce(&snapshot, &selection);
        let mut left = self.count;
        loop {
            let remaining = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            let pause = remaining.map_or(self.interval.0, |remaining| remaining.min(self.interval.0));
            let signal = shutdown.wait(Some(pause)).map_err(|error| Error::io("wait for a signal", &error))?;
            let is_over = deadline.is_some_and(|deadline| Instant::now() >= deadline);
            // Once more at the end: what was done before it is told.
            let (next, changes) = snapshot.next(rows()?.collect::<Result<_>>()?);
            snapshot = next;
            if !changes.is_empty() {
                // Anew, as processes and names come and go too; its clock is the time of this look.
                let lookups = Lookups::default();
                lookups.clock();
                selection.look_again();
                for change in changes.iter().filter(|change| is_chosen(&selection, change, &lookups)) {
                    if let Some(signal) = self.report(context, change, &began, &lookups, &shutdown)? {
                        return Ok(Status::Signal(signal));
                    }
                    left = left.map(|left| left - 1);
                    if left == Some(0) {
                        return Ok(Status::Done);
                    }
                }
            }
            if let Some(signal) = signal {
                return Ok(Status::Signal(signal));
            }
            if is_over {
                return Ok(Status::Done);
            }
            context.output.check_reader()?;
        }
    }

    /// Says that from now on all is seen: a script can wait for this line.
    fn announce(&self, snapshot: &Snapshot, selection: &Selection) {
        let lookups = Lookups::default();
        let chosen = snapshot.segments().iter().filter(|segment| selection.matches(segment, &lookups)).count();
        say(format_args!("watching {}, every {:?}", counted(chosen, "segment"), self.interval.0));
    }

    /// Writes a change, and sees it out; or returns the signal that came while its reader did not read.
    fn report(
        &self,
        context: &mut Context,
        change: &Change,
        began: &Clock,
        lookups: &Lookups,
        shutdown: &ShutdownSignals,
    ) -> Result<Option<i32>> {
        let output = &mut context.output;
        let signal = shutdown.wait_writable(output.file()?.as_fd()).map_err(|error| Error::output(&error))?;
        if signal.is_some() {
            return Ok(signal);
        }
        match self.format {
            Format::Text => output.line(change_line(change, began, lookups, output.color()))?,
            Format::Jsonl => output.json(&ChangeRecord::new(change, lookups))?,
        }
        output.flush()?;
        Ok(None)
    }
}

/// Whether the filters hold for the segment after the change or before it: what leaves them is told as what enters them is.
/// A marked segment counts with the key that it had.
fn is_chosen(selection: &Selection, change: &Change, lookups: &Lookups) -> bool {
    let keyed = change.original_key.map(|key| Segment { key, ..change.segment.clone() });
    let states = [Some(&change.segment), keyed.as_ref(), change.before.as_ref()];
    states.into_iter().flatten().any(|segment| selection.matches(segment, lookups))
}
