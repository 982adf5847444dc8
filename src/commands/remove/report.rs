//! Reporting the results of a removal.

use serde::Serialize;

use super::Remove;
use crate::error::{Error, Result, Status};
use crate::output::{Output, say};
use crate::segments::cache::Lookups;
use crate::segments::remove::{self, Outcome, Removal};
use crate::system::signals::ShutdownSignals;
use crate::values::counted;

#[derive(Serialize)]
struct Report<'a> {
    removed: &'a [Removal],
}

impl Remove {
    /// Reports the result for a segment at once, unless its destruction is still awaited.
    pub(super) fn report(&self, removal: &Removal, lookups: &Lookups, output: &mut Output) -> Result<()> {
        let is_waited_for = self.wait.is_some() && removal.outcome == Outcome::Marked;
        if let Some(error) = &removal.error {
            say(error);
        } else if removal.outcome == Outcome::Skipped {
            say(removal);
        } else if self.is_line(removal) && !is_waited_for {
            print(removal, lookups, output)?;
        }
        Ok(())
    }

    /// Returns whether a removal is reported as a line on standard output.
    fn is_line(&self, removal: &Removal) -> bool {
        let is_reported_otherwise = matches!(removal.outcome, Outcome::Missing | Outcome::WouldRemove);
        !self.quiet && !self.wants_json() && !is_reported_otherwise
    }

    /// Waits if requested, and reports the remaining results. `left` were not reached before a signal.
    pub(super) fn finish(
        &self,
        mut removals: Vec<Removal>,
        left: usize,
        shutdown: &ShutdownSignals,
        lookups: &Lookups,
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
                } else if self.is_line(removal) {
                    print(removal, lookups, output)?;
                }
            }
        }
        if self.wants_json() {
            output.json(&Report { removed: &removals })?;
        }
        if let Some(signal) = shutdown.signal() {
            if left > 0 {
                let were = if left == 1 { "was" } else { "were" };
                let all = counted(left + removals.len(), "segment");
                say(format_args!("interrupted: {left} of {all} {were} not removed"));
            }
            return Ok(Status::Signal(signal));
        }
        // Segments selected by filters may change in between: that is not a failure, because no particular one was
        // named.
        let is_failure = |removal: &&Removal| !self.segment.is_empty() || removal.outcome != Outcome::Changed;
        let failures = removals.iter().filter(is_failure).filter_map(|removal| removal.error.as_deref());
        Ok(failures.fold(Status::Done, |status, error| status.and(error.status())))
    }
}

/// Prints the result for a segment, and which processes still have it attached.
fn print(removal: &Removal, lookups: &Lookups, output: &mut Output) -> Result<()> {
    match removal.holders(lookups) {
        Some(holders) => output.line(format_args!("{removal}: {holders}")),
        None => output.line(removal),
    }
}
