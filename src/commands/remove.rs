use std::collections::HashSet;
use std::io::{self, IsTerminal};

use clap::Args;
use serde::Serialize;

use super::Context;
use super::args::{Filters, TextOrJson, segment_parser, tell_undecided};
use crate::error::{Error, Result, Status};
use crate::output::{Output, Progress, prompt, say};
use crate::segments::cache::Lookups;
use crate::segments::filter::Selection;
use crate::segments::lookup::{self, rows};
use crate::segments::remove::{self, Choice, Outcome, Removal};
use crate::system::signals::ShutdownSignals;
use crate::sysv::{self, Segment};
use crate::values::{Period, SegmentRef, human_bytes};

/// How many are removed before the next ones are told of.
const BATCH: usize = 4096;

/// Remove segments, named or chosen by filters
///
/// A segment that is attached is marked for destruction: its key is free at once, and the kernel destroys it with its
/// last detach. Where none is named, all that match the filters are removed, but attached ones are passed over;
/// `shmadm list` with the same filters shows them. Each is looked at again right before it goes.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    shmadm remove 0x2a id:5\n  \
    shmadm rm 0x2a --ignore-missing               for scripts that clean up\n  \
    shmadm remove --mine --unattached --idle 10m -y\n  \
    shmadm remove --orphaned --dry-run\n  \
    shmadm list -f json >before; make test; shmadm remove --not-in before --mine -y")]
pub(super) struct Remove {
    /// The segments: a key (0x2a, 42, 052), id:N, or ftok:PROJECT:PATH
    #[arg(value_parser = segment_parser(), allow_negative_numbers = true)]
    segment: Vec<SegmentRef>,
    /// Remove all segments, where none is named and there is no filter
    #[arg(long, conflicts_with = "segment")]
    all: bool,
    /// Where none is named, remove attached ones too: they are marked for destruction
    #[arg(long, conflicts_with = "segment")]
    include_attached: bool,
    /// Say what would be removed, and remove nothing
    #[arg(short = 'n', long)]
    dry_run: bool,
    /// Where none is named, do not ask
    #[arg(short, long)]
    yes: bool,
    /// A named segment that does not exist is no failure
    #[arg(long)]
    ignore_missing: bool,
    /// Wait until the last detach has destroyed them, for DURATION at most
    #[arg(long, value_name = "DURATION", num_args = 0..=1, require_equals = true)]
    wait: Option<Option<Period>>,
    /// Print nothing of what was removed
    #[arg(short, long)]
    quiet: bool,
    /// How to print what was removed
    #[arg(short, long, value_enum, default_value_t)]
    format: TextOrJson,
    #[command(flatten)]
    filters: Filters,
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
        if self.segment.is_empty() && self.filters.is_empty() && !self.all {
            return Err(Error::usage("name what to remove: a SEGMENT, filters, or --all; nothing was removed"));
        }
        let selection = self.filters.resolve()?;
        match self.segment[..] {
            [] => self.remove_matching(&selection, context),
            _ => self.remove_named(&selection, context),
        }
    }

    fn remove_named(&self, selection: &Selection, context: &mut Context) -> Result<Status> {
        let Context { output, lookups } = context;
        let mut seen = HashSet::new();
        // All are looked up before the first one goes; one that was named twice goes once.
        let chosen: Vec<_> = (self.segment.iter())
            .map(|word| (word, choose(word)))
            .filter(|(_, choice)| choice.as_ref().map_or(true, |segment| seen.insert(segment.id)))
            .collect();
        let mut removals = Vec::new();
        let shutdown = catch()?;
        let mut chosen = chosen.into_iter();
        while shutdown.signal().is_none()
            && let Some((word, choice)) = chosen.next()
        {
            let removal = match choice {
                Ok(segment) if !selection.matches(&segment, lookups) => Removal::of(&segment, Outcome::Skipped),
                Ok(segment) if self.dry_run => Removal::of(&segment, Outcome::WouldRemove),
                Ok(segment) => {
                    remove::remove(&segment, Choice { selection, skip_attached: false }, &Lookups::default())
                }
                Err(error) => Removal::not_found(word, error, self.ignore_missing),
            };
            self.tell(&removal, output)?;
            removals.push(removal);
        }
        self.finish(removals, chosen.len(), &shutdown, output)
    }

    fn remove_matching(&self, selection: &Selection, context: &mut Context) -> Result<Status> {
        let Context { output, lookups } = context;
        let mut attached = 0_usize;
        let mut chosen: Vec<Segment> = Vec::new();
        let mut choose = |segment: Segment| {
            if selection.matches(&segment, lookups) {
                if segment.nattch > 0 && !self.include_attached {
                    attached += 1;
                } else {
                    chosen.push(segment);
                }
            }
        };
        match sysv::stat_all() {
            Some(segments) => segments.into_iter().for_each(&mut choose),
            None => rows()?.try_for_each(|row| row.map(&mut choose))?,
        }
        if attached > 0 && !self.quiet {
            say(format_args!(
                "passed over {attached} that are attached; --include-attached marks them for destruction"
            ));
        }
        if !self.quiet {
            tell_undecided(selection);
        }
        if !(chosen.is_empty() || self.dry_run || self.yes) {
            confirm(&chosen)?;
        }
        let shutdown = catch()?;
        let choice = Choice { selection, skip_attached: !self.include_attached };
        let mut progress =
            Progress::steps("removing", chosen.len() as u64).hidden_if(output.is_terminal() && !self.quiet);
        let mut removals = Vec::new();
        for batch in chosen.chunks(BATCH).take_while(|_| shutdown.signal().is_none()) {
            let done = match self.dry_run {
                true => batch.iter().map(|segment| Removal::of(segment, Outcome::WouldRemove)).collect(),
                false => remove::remove_all(batch, choice, &shutdown),
            };
            progress.suspend(|| done.iter().try_for_each(|removal| self.tell(removal, output)))?;
            progress.advance(batch.len() as u64);
            removals.extend(done);
        }
        drop(progress);
        let left = chosen.len() - removals.len();
        self.finish(removals, left, &shutdown, output)
    }

    /// Says at once what became of a segment, unless it is still to be waited for.
    fn tell(&self, removal: &Removal, output: &mut Output) -> Result<()> {
        let is_waited_for = self.wait.is_some() && removal.outcome == Outcome::Marked;
        if let Some(error) = &removal.error {
            say(error);
        } else if removal.outcome == Outcome::Skipped {
            say(removal);
        } else if !self.quiet && !self.wants_json() && !is_waited_for && removal.outcome != Outcome::Missing {
            output.line(removal)?;
        }
        Ok(())
    }

    /// Waits where that was asked for, and tells what has not been told. `left` were not come to before a signal.
    fn finish(
        &self,
        mut removals: Vec<Removal>,
        left: usize,
        shutdown: &ShutdownSignals,
        output: &mut Output,
    ) -> Result<Status> {
        if let Some(limit) = self.wait {
            output.flush()?;
            let marked: Vec<_> = removals.iter().map(|removal| removal.outcome == Outcome::Marked).collect();
            remove::wait(&mut removals, limit.map(|limit| limit.0), shutdown)
                .map_err(|error| Error::io("wait for a signal", &error))?;
            for (removal, _) in removals.iter().zip(marked).filter(|(_, was_marked)| *was_marked) {
                if let Some(error) = &removal.error {
                    say(error);
                } else if !self.quiet && !self.wants_json() {
                    output.line(removal)?;
                }
            }
        }
        if self.wants_json() {
            output.json(&Report { removed: &removals })?;
        }
        if let Some(signal) = shutdown.signal() {
            if left > 0 {
                say(format_args!("interrupted: {left} of {} were left alone", left + removals.len()));
            }
            return Ok(Status::Signal(signal));
        }
        // Nobody asked for a particular one of those that the filters chose: that it changed meanwhile is no failure.
        let is_failure = |removal: &&Removal| !self.segment.is_empty() || removal.outcome != Outcome::Changed;
        let failures = removals.iter().filter(is_failure).filter_map(|removal| removal.error.as_ref());
        Ok(failures.fold(Status::Done, |status, error| status.and(error.status())))
    }
}

/// A signal ends it between two segments: what is gone by then is told.
fn catch() -> Result<ShutdownSignals> {
    ShutdownSignals::catch().map_err(|error| Error::io("catch signals", &error))
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

/// Asks on a terminal whether these shall go. Where nobody can be asked, that is bad usage.
fn confirm(chosen: &[Segment]) -> Result<()> {
    let size = chosen.iter().map(|segment| u128::from(segment.size)).sum();
    let what =
        format!("{} {} ({})", chosen.len(), if chosen.len() == 1 { "segment" } else { "segments" }, human_bytes(size));
    if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
        return Err(Error::usage(format!(
            "would remove {what}, but nobody can be asked here; --yes removes them, --dry-run names them"
        )));
    }
    let mut answer = String::new();
    prompt(&format!("remove {what}? [y/N] "));
    io::stdin().read_line(&mut answer).map_err(|error| Error::io("ask", &error))?;
    match answer.trim() {
        "y" | "Y" | "yes" => Ok(()),
        _ => Err(Error::failed("nothing was removed")),
    }
}
