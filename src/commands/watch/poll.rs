//! Watching by reading the table repeatedly.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::report::{Flow, Report};
use crate::error::{Error, Result, Status};
use crate::segments::changes::{Change, Snapshot};
use crate::segments::events::{Scope, tables};
use crate::system::signals::ShutdownSignals;
use crate::sysv::Segment;

/// Takes snapshots, and reports the changes since the previous one, until the watch ends.
pub(super) fn watch(
    scope: Scope,
    interval: Duration,
    deadline: Option<Instant>,
    report: &mut Report<'_>,
    shutdown: &ShutdownSignals,
) -> Result<Status> {
    let mut snapshots = Snapshots::first(scope)?;
    report.announce(snapshots.segments(), &format!("every {interval:?} (source: poll)"));
    loop {
        let remaining = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        let pause = remaining.map_or(interval, |remaining| remaining.min(interval));
        let signal = shutdown.wait(Some(pause)).map_err(|error| Error::io("wait for a signal", &error))?;
        let is_over = deadline.is_some_and(|deadline| Instant::now() >= deadline);
        // One more snapshot at the end, so that earlier changes are reported.
        if let Flow::Break(status) = report.changed(&snapshots.next()?)? {
            return Ok(status);
        }
        if let Some(signal) = signal {
            return Ok(Status::Signal(signal));
        }
        if is_over {
            return Ok(Status::Done);
        }
        report.check_reader()?;
    }
}

/// The previous snapshot of each IPC namespace, by its inode. If our own is the only one, its key is 0.
struct Snapshots {
    scope: Scope,
    last: BTreeMap<u64, Snapshot>,
}

impl Snapshots {
    fn first(scope: Scope) -> Result<Snapshots> {
        let last = tables(scope, 0)?.into_iter().map(|(namespace, rows)| (namespace, Snapshot::first(rows))).collect();
        Ok(Snapshots { scope, last })
    }

    fn segments(&self) -> impl Iterator<Item = &Segment> {
        self.last.values().flat_map(Snapshot::segments)
    }

    /// Takes new snapshots, and returns the changes. A new namespace was empty before; all segments of a vanished one
    /// are removed.
    fn next(&mut self) -> Result<Vec<Change>> {
        let mut tables: BTreeMap<_, _> = tables(self.scope, 0)?.into_iter().collect();
        let mut changes = Vec::new();
        for (namespace, previous) in std::mem::take(&mut self.last) {
            let rows = tables.remove(&namespace);
            let is_gone = rows.is_none();
            let (next, changed) = previous.next(rows.unwrap_or_default());
            changes.extend(changed);
            if !is_gone {
                self.last.insert(namespace, next);
            }
        }
        for (namespace, rows) in tables {
            let (next, changed) = Snapshot::default().next(rows);
            changes.extend(changed);
            self.last.insert(namespace, next);
        }
        Ok(changes)
    }
}
