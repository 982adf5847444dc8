//! The segments of one IPC namespace after the recorded calls.

use std::collections::HashMap;

use crate::segments::changes::{Change, Event};
use crate::sysv::{Identity, Segment};
use crate::values::{Key, ShmId};

/// A segment, and what the kernel's table does not show about it.
#[derive(Debug, Clone)]
pub(super) struct Known {
    pub segment: Segment,
    /// Its former key, if it was marked during the watch.
    pub original_key: Option<Key>,
    /// The thread that created it, if known.
    pub creator: Option<i32>,
    /// The time of the last record about it, in nanoseconds of CLOCK_MONOTONIC.
    pub touched: u64,
}

/// The segments of one namespace.
#[derive(Debug, Default)]
pub(super) struct Table {
    pub segments: HashMap<ShmId, Known>,
    /// When removed segments were removed: a table read shortly before may still contain them.
    removed: HashMap<ShmId, u64>,
    /// Differences from the kernel's table that were seen once: the row's data, or that there is no row.
    pub suspected: HashMap<ShmId, Option<Material>>,
    /// Whether kernel.shm_rmid_forced is 1.
    pub is_forced: bool,
}

/// The properties of a segment whose changes must be explained by a record. The times, the last process and the
/// resident memory are not included: they change with the attachments.
pub(super) type Material = (Identity, Key, u32, u32, u64, u16);

/// Returns the properties of a segment whose changes must be explained by a record.
pub(super) fn material(segment: &Segment) -> Material {
    let Segment { key, uid, gid, nattch, raw_mode, .. } = *segment;
    (segment.identity(), key, uid, gid, nattch, raw_mode)
}

/// A moment: nanoseconds of CLOCK_MONOTONIC, and seconds since the epoch.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment {
    pub time: u64,
    pub second: i64,
}

impl Table {
    pub(super) fn new(rows: Vec<Segment>) -> Table {
        let mut table = Table::default();
        table.extend(rows);
        table
    }

    /// Adds segments that existed before they were known.
    pub(super) fn extend(&mut self, rows: Vec<Segment>) {
        let known = |segment: Segment| Known { segment, original_key: None, creator: None, touched: 0 };
        self.segments.extend(rows.into_iter().map(|row| (row.id, known(row))));
    }

    /// Adds a new segment.
    pub(super) fn create(&mut self, segment: Segment, creator: i32, now: Moment) -> Change {
        let id = segment.id;
        let change = change(Event::Created, &segment, None, None);
        let known = Known { segment, original_key: None, creator: Some(creator), touched: now.time };
        self.segments.insert(id, known);
        self.suspected.remove(&id);
        change
    }

    /// Adds a segment that existed before it was known.
    pub(super) fn adopt(&mut self, segment: Segment, now: Moment) {
        let known = Known { segment, original_key: None, creator: None, touched: now.time };
        self.segments.insert(known.segment.id, known);
    }

    /// Adds an attachment.
    pub(super) fn attach(&mut self, id: ShmId, pid: i32, now: Moment) -> Option<Change> {
        self.change(id, Event::Attached, now, |segment| {
            segment.nattch += 1;
            segment.atime = now.second;
            segment.lpid = pid;
        })
    }

    /// Removes an attachment. If it was the last one of a marked segment, the segment is removed, too.
    pub(super) fn detach(&mut self, id: ShmId, pid: i32, now: Moment) -> impl Iterator<Item = Change> {
        let is_forced = self.is_forced;
        let detached = self.change(id, Event::Detached, now, |segment| {
            segment.nattch = segment.nattch.saturating_sub(1);
            segment.dtime = now.second;
            segment.lpid = pid;
        });
        let is_last = |change: &Change| change.segment.nattch == 0 && (change.segment.is_marked() || is_forced);
        let removed = detached.as_ref().filter(|change| is_last(change)).and_then(|_| self.remove(id, now));
        [detached, removed].into_iter().flatten()
    }

    /// Processes `IPC_RMID`: the segment is removed, or marked while it is attached.
    pub(super) fn remove_or_mark(&mut self, id: ShmId, now: Moment) -> Option<Change> {
        let known = self.segments.get(&id)?;
        if known.segment.nattch == 0 {
            return self.remove(id, now);
        }
        if known.segment.is_marked() {
            return None;
        }
        let key = known.segment.key;
        self.segments.get_mut(&id)?.original_key = Some(key);
        self.change(id, Event::Marked, now, |segment| *segment = segment.marked())
    }

    /// Removes a segment.
    pub(super) fn remove(&mut self, id: ShmId, now: Moment) -> Option<Change> {
        let Known { segment, original_key, .. } = self.segments.remove(&id)?;
        self.suspected.remove(&id);
        self.removed.insert(id, now.time);
        Some(change(Event::Removed, &segment, None, original_key))
    }

    /// Changes a segment's owner, group, mode or lock.
    pub(super) fn set(&mut self, id: ShmId, now: Moment, alter: impl FnOnce(&mut Segment)) -> Option<Change> {
        self.change(id, Event::Changed, now, alter)
    }

    /// Returns whether a table is reliable for this segment, if reading it began at this time.
    pub(super) fn is_settled(&self, id: ShmId, before: u64) -> bool {
        self.segments.get(&id).is_none_or(|known| known.touched < before)
            && self.removed.get(&id).is_none_or(|removed| *removed < before)
    }

    /// Drops removals before this time.
    pub(super) fn forget_removed(&mut self, before: u64) {
        self.removed.retain(|_, removed| *removed >= before);
    }

    fn change(&mut self, id: ShmId, event: Event, now: Moment, alter: impl FnOnce(&mut Segment)) -> Option<Change> {
        let known = self.segments.get_mut(&id)?;
        let before = known.segment.clone();
        alter(&mut known.segment);
        // The record does not contain the resident memory.
        (known.segment.rss, known.segment.swap) = (None, None);
        known.touched = now.time;
        self.suspected.remove(&id);
        Some(change(event, &known.segment, Some(before), known.original_key))
    }
}

fn change(event: Event, segment: &Segment, before: Option<Segment>, original_key: Option<Key>) -> Change {
    let counts = matches!(event, Event::Attached | Event::Detached);
    let nattch = before.as_ref().filter(|_| counts).map(|before| (before.nattch, segment.nattch));
    Change { event, segment: segment.clone(), before, original_key, nattch, process: None }
}
