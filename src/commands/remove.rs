mod question;
mod report;
mod save_first;

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;

use clap::Args;

use self::question::{confirm, described};
use self::save_first::save_first;
use super::Context;
use super::args::{Filters, TextOrJson, report_undecided, segment_parser};
use crate::error::{Error, Result, Status};
use crate::output::{Output, Progress, print_preview, say};
use crate::segments::cache::Lookups;
use crate::segments::filter::Selection;
use crate::segments::lookup::{self, rows};
use crate::segments::remove::{self, Choice, Outcome, Removal};
use crate::segments::users;
use crate::system::signals::ShutdownSignals;
use crate::sysv::{self, Segment};
use crate::values::{Period, SegmentRef};

/// The number of segments removed before the results are printed.
const BATCH: usize = 4096;

/// Remove segments, named or chosen by filters
///
/// An attached segment is marked for destruction: its key is free at once, and the last detach destroys it. If no segment
/// is named, all matching segments are removed, except attached ones. A table of them is shown before the question, and
/// with --dry-run. Each segment is checked again just before its removal.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    shmadm remove 0x2a id:5\n  \
    shmadm rm 0x2a --ignore-missing               for scripts that clean up\n  \
    shmadm remove --mine --unattached --idle 10m -y\n  \
    shmadm remove --orphaned --idle 1d --dry-run\n  \
    shmadm remove --orphaned --idle 1d --save undo.shm    can be restored\n  \
    shmadm list -f json >old; make test; shmadm rm --not-in old --mine -y")]
pub(super) struct Remove {
    /// The segments: a key (0x2a, 42, 052), id:N, or ftok:PROJECT:PATH
    #[arg(value_parser = segment_parser(), allow_negative_numbers = true)]
    segment: Vec<SegmentRef>,
    /// Remove all segments, if no segment is named and no filter is given
    #[arg(long, conflicts_with = "segment")]
    all: bool,
    /// Also remove attached segments, if none is named: they are marked for destruction
    #[arg(long, conflicts_with = "segment")]
    include_attached: bool,
    /// Show what would be removed, but remove nothing
    #[arg(short = 'n', long)]
    dry_run: bool,
    /// Do not ask before removing segments chosen by filters
    #[arg(short, long)]
    yes: bool,
    /// Do not fail if a named segment does not exist
    #[arg(long)]
    ignore_missing: bool,
    /// Wait until the last detach has destroyed them, at most DURATION
    #[arg(long, value_name = "DURATION", num_args = 0..=1, require_equals = true)]
    wait: Option<Option<Period>>,
    /// Save them to FILE first; `shmadm restore` restores them
    #[arg(long, value_name = "FILE")]
    save: Option<PathBuf>,
    /// Do not print what was removed
    #[arg(short, long)]
    quiet: bool,
    /// Output format
    #[arg(short, long, value_enum, default_value_t)]
    format: TextOrJson,
    #[command(flatten)]
    filters: Filters,
}

impl Remove {
    pub(super) fn wants_json(&self) -> bool {
        self.format == TextOrJson::Json
    }

    pub(super) fn run(&self, context: &mut Context) -> Result<Status> {
        if self.segment.is_empty() && self.filters.is_empty() && !self.all {
            return Err(Error::usage("name what to remove: a SEGMENT, filters, or --all; nothing was removed"));
        }
        let mut selection = self.filters.resolve()?;
        selection.needs_proof = true;
        if let Some((what, id)) = selection.ambiguous_owner() {
            let cause = format!("in this user namespace, {id} also stands for each {what} without a number here");
            return Err(Error::cannot(format_args!("remove segments of {what} {id}"), cause)
                .hint("name the segments (id:N), or run it outside of the user namespace"));
        }
        match self.segment[..] {
            [] => self.remove_matching(&selection, context),
            _ => self.remove_named(&selection, context),
        }
    }

    fn remove_named(&self, selection: &Selection, context: &mut Context) -> Result<Status> {
        let Context { output, lookups } = context;
        let mut seen = HashSet::new();
        // All are looked up before the first is removed. A segment named twice is removed once.
        let chosen: Vec<_> = (self.segment.iter())
            .map(|word| (word, lookup::find_current("remove", word)))
            .filter(|(_, choice)| choice.as_ref().map_or(true, |segment| seen.insert(segment.id)))
            .collect();
        let mut saved = HashMap::new();
        if let (Some(path), false) = (&self.save, self.dry_run) {
            let segments = chosen.iter().filter_map(|(_, choice)| choice.as_ref().ok());
            let segments: Vec<_> = segments.filter(|segment| selection.matches(segment, lookups)).cloned().collect();
            let results = save_first(path, &segments, output, lookups)?;
            saved.extend(segments.iter().map(|segment| segment.id).zip(results));
        }
        let (mut removals, mut kept) = (Vec::new(), Vec::new());
        let shutdown = catch()?;
        let mut chosen = chosen.into_iter();
        while shutdown.signal().is_none()
            && let Some((word, choice)) = chosen.next()
        {
            let removal = match choice {
                Ok(segment) if !selection.matches(&segment, lookups) => Removal::skipped(&segment, selection, lookups),
                Ok(segment) if self.dry_run => {
                    let removal = Removal::of(&segment, Outcome::WouldRemove);
                    kept.push(segment);
                    removal
                }
                Ok(segment) => match saved.remove(&segment.id) {
                    Some(Ok(saved)) => remove::remove(&saved, Choice::saved(false), &Lookups::default()),
                    Some(Err(failed)) => failed,
                    None => remove::remove(&segment, Choice::filtered(selection, false), &Lookups::default()),
                },
                Err(error) => Removal::not_found(word, error, self.ignore_missing),
            };
            self.report(&removal, lookups, output)?;
            removals.push(removal);
        }
        if self.dry_run && self.previews() {
            // Only the table shows the resident memory.
            let mut rows = lookup::rows_of(&kept.iter().map(|segment| segment.id).collect());
            let kept: Vec<_> = kept.into_iter().map(|one| rows.remove(&one.id).unwrap_or(one)).collect();
            self.preview(&kept, lookups, output)?;
        }
        self.finish(removals, chosen.len(), &shutdown, lookups, output)
    }

    fn remove_matching(&self, selection: &Selection, context: &mut Context) -> Result<Status> {
        let Context { output, lookups } = context;
        let mut chosen = self.matching(selection, lookups)?;
        if self.dry_run {
            self.preview(&chosen, lookups, output)?;
            let removals = chosen.iter().map(|segment| Removal::of(segment, Outcome::WouldRemove)).collect();
            return self.finish(removals, 0, &catch()?, lookups, output);
        }
        if !(chosen.is_empty() || self.yes) {
            confirm(&chosen, lookups, output)?;
        }
        let mut removals = Vec::new();
        let mut choice = Choice::filtered(selection, !self.include_attached);
        if let Some(path) = &self.save {
            choice = Choice::saved(!self.include_attached);
            let results = save_first(path, &chosen, output, lookups)?;
            chosen.clear();
            for result in results {
                result.map_or_else(|failed| removals.push(failed), |segment| chosen.push(segment));
            }
            removals.iter().try_for_each(|failed| self.report(failed, lookups, output))?;
        }
        let unsaved = removals.len();
        let shutdown = catch()?;
        let mut progress =
            Progress::steps("removing", chosen.len() as u64).hidden_if(output.is_terminal() && !self.quiet);
        for batch in chosen.chunks(BATCH).take_while(|_| shutdown.signal().is_none()) {
            let done = remove::remove_all(batch, choice, &shutdown);
            progress.suspend(|| done.iter().try_for_each(|removal| self.report(removal, lookups, output)))?;
            progress.advance(batch.len() as u64);
            removals.extend(done);
        }
        drop(progress);
        let left = chosen.len() - (removals.len() - unsaved);
        self.finish(removals, left, &shutdown, lookups, output)
    }

    /// Returns the segments that the filters select, and reports what is skipped.
    fn matching(&self, selection: &Selection, lookups: &Lookups) -> Result<Vec<Segment>> {
        let mut attached = 0_usize;
        let mut chosen: Vec<Segment> = Vec::new();
        let mut choose = |row: Result<Segment>| {
            let segment = row?;
            if selection.matches(&segment, lookups) {
                if segment.nattch > 0 && !self.include_attached {
                    attached += 1;
                } else {
                    chosen.push(segment);
                }
            }
            Ok(())
        };
        // Only the table shows the resident memory, but reading it takes three times as long.
        let is_shown = (self.dry_run && self.previews()) || !(self.dry_run || self.yes);
        match sysv::stat_all().filter(|_| !is_shown) {
            Some(segments) => users::announce(segments.into_iter().map(Ok), lookups).try_for_each(&mut choose)?,
            None => users::announce(rows()?, lookups).try_for_each(&mut choose)?,
        }
        if self.quiet {
            return Ok(chosen);
        }
        match attached {
            0 if chosen.is_empty() => say("no segment matches: nothing to remove"),
            0 => {}
            1 => say("skipped 1 attached segment; --include-attached marks it for destruction"),
            many => {
                say(format_args!("skipped {many} attached segments; --include-attached marks them for destruction"))
            }
        }
        report_undecided(selection);
        Ok(chosen)
    }

    /// Returns whether a dry run shows a table.
    fn previews(&self) -> bool {
        !self.quiet && !self.wants_json()
    }

    /// Shows what would be removed.
    fn preview(&self, segments: &[Segment], lookups: &Lookups, output: &mut Output) -> Result<()> {
        if segments.is_empty() || !self.previews() {
            return Ok(());
        }
        print_preview(segments, usize::MAX, lookups, output)?;
        output.line(format_args!("\nwould remove {}", described(segments)))
    }
}

/// Catches signals: a signal ends the work between two segments, and the removed ones are reported.
fn catch() -> Result<ShutdownSignals> {
    ShutdownSignals::catch().map_err(|error| Error::io("catch signals", &error))
}
