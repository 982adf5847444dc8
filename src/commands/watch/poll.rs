//! Watching by reading the table repeatedly.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use super::report::{Flow, Report};
use crate::error::{Error, Result, Status};
use crate::segments::changes::{Change, Snapshot};
use crate::segments::tables::{Scope, Tables};
use crate::system::signals::ShutdownSignals;
use crate::sysv::Segment;

/// Stands for our own namespace if that is the only one.
const OURS: u64 = 0;

/// Takes snapshots, and reports the changes since the previous one, until the watch ends.
pub(super) fn watch(
    scope: Scope,
    interval: Duration,
    deadline: Option<Instant>,
    report: &mut Report<'_>,
    shutdown: &ShutdownSignals,
) -> Result<Status> {
    let mut snapshots = Snapshots::first(scope)?;
    report.announce(snapshots.segments(), snapshots.unread.len(), &format!("every {interval:?} (source: poll)"));
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

/// The previous snapshot of each IPC namespace, by its inode or [`OURS`].
struct Snapshots {
    scope: Scope,
    last: BTreeMap<u64, Snapshot>,
    /// The namespaces that were found, but could not be read yet.
    unread: BTreeSet<u64>,
    /// Whether every process could be inspected at the start, so that every namespace was found.
    is_complete: bool,
}

impl Snapshots {
    fn first(scope: Scope) -> Result<Snapshots> {
        let Tables { read, unread, is_complete } = Tables::read(scope, OURS)?;
        let last = read.into_iter().map(|(namespace, rows)| (namespace, Snapshot::first(rows))).collect();
        Ok(Snapshots { scope, last, unread, is_complete })
    }

    fn segments(&self) -> impl Iterator<Item = &Segment> {
        self.last.values().flat_map(Snapshot::segments)
    }

    /// Takes new snapshots, and returns the changes. A new namespace was empty before; all segments of a vanished one
    /// are removed. Nothing is known about the changes in a namespace that could not be read before.
    fn next(&mut self) -> Result<Vec<Change>> {
        let mut tables = Tables::read(self.scope, OURS)?;
        let mut changes = Vec::new();
        for (namespace, previous) in std::mem::take(&mut self.last) {
            match tables.read.remove(&namespace) {
                Some(rows) => {
                    let (next, changed) = previous.next(rows);
                    changes.extend(changed);
                    self.last.insert(namespace, next);
                }
                None if tables.may_have(namespace, self.is_complete) => _ = self.last.insert(namespace, previous),
                None => changes.extend(previous.next(Vec::new()).1),
            }
        }
        for (namespace, rows) in tables.read {
            if self.unread.remove(&namespace) {
                self.last.insert(namespace, Snapshot::first(rows));
                continue;
            }
            let (next, changed) = Snapshot::default().next(rows);
            changes.extend(changed);
            self.last.insert(namespace, next);
        }
        self.unread.extend(tables.unread.iter().filter(|namespace| !self.last.contains_key(namespace)));
        Ok(changes)
    }
}
