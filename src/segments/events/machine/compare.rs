//! Comparing the kernel's table with the state derived from the records, to find changes that no record explains.

use std::collections::BTreeMap;

use super::super::table::{Known, material};
use super::super::{Cause, call};
use super::Machine;
use crate::segments::changes::Snapshot;
use crate::system::tracepoints::Call;
use crate::sysv::Segment;
use crate::values::{Key, ShmId, UNKNOWN_ID};

/// The time for which a segment must have been unchanged before the kernel's table is read, in nanoseconds. A process
/// detaches its segments slightly before its end is recorded.
const SETTLED: u64 = 50_000_000;

impl Machine {
    /// Compares the state with the kernel's table of a namespace. `began` is when reading it started. Unexplained
    /// differences are adopted and reported. A difference must be seen twice, because its record may still arrive.
    pub(in super::super) fn compare(&mut self, namespace: u64, rows: Vec<Segment>, began: u64) {
        let settled = began.saturating_sub(SETTLED);
        let calls: Vec<_> = self.tasks.calls(namespace).collect();
        let table = self.tables.entry(namespace).or_default();
        let mut changes = Vec::new();
        let mut both: BTreeMap<ShmId, Option<Segment>> = table.segments.keys().map(|id| (*id, None)).collect();
        both.extend(rows.into_iter().map(|row| (row.id, Some(row))));
        for (id, row) in both {
            let is_busy =
                calls.iter().any(|(call, arguments)| *call == Call::Detach || call::int(arguments[0]) == id.as_raw());
            if is_busy || !table.is_settled(id, settled) {
                table.suspected.remove(&id);
                continue;
            }
            let mut before = table.segments.get(&id).map(|known| known.segment.clone());
            if let (Some(before), Some(row)) = (&mut before, &row)
                && before.cuid == UNKNOWN_ID
            {
                (before.uid, before.gid, before.cuid, before.cgid) = (row.uid, row.gid, row.cuid, row.cgid);
            }
            if before.as_ref().map(material) == row.as_ref().map(material) {
                table.suspected.remove(&id);
                if let (Some(known), Some(row)) = (table.segments.get_mut(&id), row) {
                    known.segment = row;
                }
                continue;
            }
            let seen = row.as_ref().map(material);
            if table.suspected.get(&id) != Some(&seen) {
                table.suspected.insert(id, seen);
                continue;
            }
            table.suspected.remove(&id);
            changes.push((before.clone(), row.clone(), table.segments.get(&id).and_then(|known| known.original_key)));
            match row {
                Some(row) => {
                    let old = table.segments.remove(&id).filter(|known| known.segment.identity() == row.identity());
                    let key = old.as_ref().and_then(|known| known.original_key);
                    let marked = old.as_ref().filter(|known| row.is_marked() && !known.segment.is_marked());
                    let original_key = key.or(marked.map(|known| known.segment.key));
                    let creator = old.as_ref().and_then(|known| known.creator);
                    table.segments.insert(id, Known { segment: row, original_key, creator, touched: 0 });
                }
                None => drop(table.segments.remove(&id)),
            }
        }
        table.forget_removed(settled);
        for (before, after, original_key) in changes {
            self.unexplained(namespace, before, after, original_key, began);
        }
    }

    /// Reports the difference between two states of a segment.
    fn unexplained(
        &mut self,
        namespace: u64,
        before: Option<Segment>,
        after: Option<Segment>,
        key: Option<Key>,
        time: u64,
    ) {
        let mut before = before;
        if let (Some(before), Some(after)) = (&mut before, &after) {
            (before.atime, before.dtime, before.lpid) = (after.atime, after.dtime, after.lpid);
        }
        let (_, changes) = Snapshot::first(before.into_iter().collect()).next(after.into_iter().collect());
        for mut change in changes {
            change.original_key = change.original_key.or(key);
            let trigger = self.trigger(0, None, Cause::Table, time);
            self.report(Some(change), &trigger, namespace);
        }
    }

    /// Drops the namespaces that are not alive and contain no process, and reports their segments as removed.
    pub(in super::super) fn retain(&mut self, is_alive: impl Fn(u64) -> bool, time: u64) {
        let gone: Vec<u64> = self.tables.keys().copied().filter(|namespace| !is_alive(*namespace)).collect();
        for namespace in gone {
            if self.tasks.any_in_namespace(namespace) {
                continue;
            }
            let trigger = self.trigger(0, None, Cause::Namespace, time);
            let Some(mut table) = self.tables.remove(&namespace) else { continue };
            let mut ids: Vec<ShmId> = table.segments.keys().copied().collect();
            ids.sort_unstable();
            for id in ids {
                let change = table.remove(id, trigger.now);
                self.report(change, &trigger, namespace);
            }
        }
    }
}
