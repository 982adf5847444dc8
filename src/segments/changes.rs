//! The events between two snapshots of the kernel's table.
//!
//! A snapshot shows states, not events. Only events that are certain are reported. A segment that is attached when it first
//! appears was created and then attached. A segment with a newer last attach and the same count was attached and detached.

use std::collections::HashMap;

use crate::sysv::Segment;
use crate::values::{Key, ShmId};

/// An event in the life of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Event {
    /// It was created.
    Created,
    /// A mapping of it appeared, by shmat(2), fork(2) or a split.
    Attached,
    /// A mapping of it disappeared.
    Detached,
    /// Its owner, group, mode or lock changed.
    Changed,
    /// It was removed while it was attached. The last detach will destroy it.
    Marked,
    /// It was destroyed.
    Removed,
}

/// An event, with the segment before and after it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Change {
    /// The event.
    pub event: Event,
    /// The segment in the later snapshot, or in the earlier one if it was removed.
    pub segment: Segment,
    /// The segment in the earlier snapshot; `None` if it was created or removed.
    pub before: Option<Segment>,
    /// The key that a marked segment had when it was first seen.
    pub original_key: Option<Key>,
    /// The number of attachments before and after, if this event changed it.
    pub nattch: Option<(u64, u64)>,
    /// The process that caused the event, or the last one to do so, if the kernel shows it.
    pub process: Option<i32>,
}

/// The segments at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Snapshot {
    segments: Vec<Segment>,
    /// The former keys of segments that were marked since the first snapshot.
    original_keys: HashMap<ShmId, Key>,
}

impl Snapshot {
    /// Returns the first snapshot.
    pub(crate) fn first(segments: Vec<Segment>) -> Snapshot {
        Snapshot { segments, original_keys: HashMap::new() }
    }

    /// Returns the segments in the kernel's order.
    pub(crate) fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// Returns a later snapshot, and the events since this one: first the removals, then all others, in the kernel's order.
    /// The events of one segment follow each other in the order of its life.
    pub(crate) fn next(&self, segments: Vec<Segment>) -> (Snapshot, Vec<Change>) {
        let mut changes = Vec::new();
        let mut original_keys = HashMap::new();
        if self.segments == segments {
            return (self.clone(), changes);
        }
        let earlier: HashMap<_, _> = self.segments.iter().map(|segment| (segment.id, segment)).collect();
        let later: HashMap<_, _> = segments.iter().map(|segment| (segment.id, segment)).collect();
        for segment in &self.segments {
            if !later.get(&segment.id).is_some_and(|later| is_same(segment, later)) {
                destroyed(segment, self.original_keys.get(&segment.id).copied(), &mut changes);
            }
        }
        for segment in &segments {
            let before = earlier.get(&segment.id).copied().filter(|before| is_same(before, segment));
            let original_key = match before {
                Some(before) if segment.is_marked() && !before.is_marked() => Some(before.key),
                Some(_) => self.original_keys.get(&segment.id).copied(),
                None => None,
            };
            original_keys.extend(original_key.map(|key| (segment.id, key)));
            let change = |event| Change {
                event,
                segment: segment.clone(),
                before: before.cloned(),
                original_key,
                nattch: None,
                process: None,
            };
            if before.is_none() {
                changes.push(Change { process: Some(segment.cpid), ..change(Event::Created) });
            }
            let new = segment.as_created();
            compare(before.unwrap_or(&new), segment, change, &mut changes);
        }
        for change in &mut changes {
            // Pid 0 is a process that is not visible in this pid namespace.
            change.process = change.process.filter(|pid| *pid > 0);
        }
        (Snapshot { segments, original_keys }, changes)
    }
}

/// Returns whether both are the same segment. A mark removes the key, and is never removed itself.
fn is_same(earlier: &Segment, later: &Segment) -> bool {
    earlier.identity() == later.identity()
        && (earlier.key == later.key || later.is_marked())
        && (later.is_marked() || !earlier.is_marked())
}

/// Adds the events of a segment that is in both snapshots.
fn compare(before: &Segment, after: &Segment, change: impl Fn(Event) -> Change, changes: &mut Vec<Change>) {
    attach_and_detach(before, after, &change, changes);
    let settings = |segment: &Segment| (segment.uid, segment.gid, segment.mode(), segment.is_locked());
    if settings(before) != settings(after) {
        changes.push(change(Event::Changed));
    }
    if after.is_marked() && !before.is_marked() {
        changes.push(change(Event::Marked));
    }
}

fn attach_and_detach(before: &Segment, after: &Segment, change: &impl Fn(Event) -> Change, changes: &mut Vec<Change>) {
    let (rose, fell) = (after.nattch > before.nattch, after.nattch < before.nattch);
    let moved = (after.atime != before.atime, after.dtime != before.dtime);
    // With the same count, there were as many attaches as detaches. If one of the times moved, there was at least one.
    let both = if rose || fell { (rose || moved.0) && (fell || moved.1) } else { moved.0 || moved.1 };
    let counted = |event, counts: bool| {
        let nattch = counts.then_some((before.nattch, after.nattch));
        Change { nattch, process: Some(after.lpid), ..change(event) }
    };
    let mut done = Vec::new();
    if rose || both {
        done.push(counted(Event::Attached, rose));
    }
    if fell || both {
        done.push(counted(Event::Detached, fell));
    }
    // Without attachments before, the first event was an attach. Without attachments after, the last one was a detach.
    // Otherwise the times, in whole seconds, decide.
    let detached_first = before.nattch > 0 && after.nattch > 0 && after.dtime < after.atime;
    if both && detached_first {
        done.reverse();
    }
    if let [first, _] = &mut done[..] {
        // The kernel stores only the last process.
        first.process = None;
    }
    changes.append(&mut done);
}

/// Adds the events of a segment that was destroyed. All processes have detached it, or it would still exist.
fn destroyed(segment: &Segment, original_key: Option<Key>, changes: &mut Vec<Change>) {
    let change = Change {
        event: Event::Removed,
        segment: segment.clone(),
        before: None,
        original_key,
        nattch: None,
        process: None,
    };
    if segment.nattch > 0 {
        changes.push(Change { event: Event::Detached, nattch: Some((segment.nattch, 0)), ..change.clone() });
    }
    changes.push(change);
}

#[cfg(test)]
mod tests {
    use super::*;
    use Event::{Attached, Changed, Created, Detached, Marked, Removed};

    /// Returns a segment with this identifier, as the kernel creates it.
    fn segment(id: i32) -> Segment {
        Segment {
            key: Key::from_raw(id + 100),
            id: ShmId::new(id).unwrap(),
            raw_mode: 0o600,
            size: 4096,
            cpid: 10,
            lpid: 0,
            nattch: 0,
            uid: 0,
            gid: 0,
            cuid: 0,
            cgid: 0,
            atime: 0,
            dtime: 0,
            ctime: 1,
            rss: Some(0),
            swap: Some(0),
            namespace: None,
        }
    }

    fn marked(segment: Segment) -> Segment {
        Segment { key: Key::PRIVATE, raw_mode: segment.raw_mode | 0o1000, ..segment }
    }

    /// The data of a change that tests compare: event, identifier, counts, process.
    type Summary = (Event, i32, Option<(u64, u64)>, Option<i32>);

    fn changes_between(before: &[Segment], after: &[Segment]) -> Vec<Summary> {
        let (next, changes) = Snapshot::first(before.to_vec()).next(after.to_vec());
        assert_eq!(next.segments(), after);
        assert_eq!(next.next(after.to_vec()).1, [], "no change is reported twice");
        changes.iter().map(|change| (change.event, change.segment.id.as_raw(), change.nattch, change.process)).collect()
    }

    #[test]
    fn earlier_events_of_a_new_segment_are_reported() {
        let new = segment(1);
        assert_eq!(changes_between(&[], std::slice::from_ref(&new)), [(Created, 1, None, Some(10))]);
        let hidden = Segment { cpid: 0, ..new.clone() };
        assert_eq!(changes_between(&[], &[hidden]), [(Created, 1, None, None)]);
        let attached = Segment { nattch: 2, atime: 5, lpid: 11, ..new.clone() };
        let created = (Created, 1, None, Some(10));
        let attach = (Attached, 1, Some((0, 2)), Some(11));
        assert_eq!(changes_between(&[], std::slice::from_ref(&attached)), [created, attach]);
        assert_eq!(changes_between(&[], &[marked(attached)]), [created, attach, (Marked, 1, None, None)]);
        let used = Segment { atime: 5, dtime: 5, lpid: 11, ..new };
        assert_eq!(changes_between(&[], &[used]), [created, (Attached, 1, None, None), (Detached, 1, None, Some(11))]);
    }

    #[test]
    fn a_removed_segment_was_detached_before() {
        assert_eq!(changes_between(&[segment(1)], &[]), [(Removed, 1, None, None)]);
        let attached = Segment { nattch: 2, atime: 5, lpid: 11, ..segment(1) };
        assert_eq!(changes_between(&[attached], &[]), [(Detached, 1, Some((2, 0)), None), (Removed, 1, None, None)]);
    }

    #[test]
    fn attach_and_detach_by_count_and_by_time() {
        let with = |nattch, atime, dtime| [Segment { nattch, atime, dtime, lpid: 11, ..segment(1) }];
        let (rose, fell) = ((Attached, Some((1, 3)), Some(11)), (Detached, Some((3, 1)), Some(11)));
        let (attached, detached) = ((Attached, None, None), (Detached, None, Some(11)));
        for (before, after, expected) in [
            (with(1, 5, 2), with(3, 6, 2), vec![rose]),
            // Only the count changes, because the times have whole seconds.
            (with(1, 5, 2), with(3, 5, 2), vec![rose]),
            (with(3, 5, 2), with(1, 5, 6), vec![fell]),
            (with(1, 5, 2), with(1, 6, 6), vec![attached, detached]),
            (with(1, 5, 5), with(1, 6, 5), vec![(Detached, None, None), (Attached, None, Some(11))]),
            (with(1, 5, 2), with(1, 7, 6), vec![(Detached, None, None), (Attached, None, Some(11))]),
            // If nothing was attached before or after, the times do not matter: setting the clock can reverse them.
            (with(0, 5, 5), with(0, 7, 6), vec![attached, detached]),
            (with(1, 5, 2), with(3, 7, 6), vec![(Detached, None, None), rose]),
            (with(1, 5, 2), with(3, 6, 7), vec![(Attached, Some((1, 3)), None), detached]),
            (with(3, 5, 2), with(1, 7, 6), vec![(Detached, Some((3, 1)), None), (Attached, None, Some(11))]),
            (with(1, 5, 2), with(1, 5, 2), vec![]),
        ] {
            let changes = changes_between(&before, &after).into_iter();
            let changes: Vec<_> = changes.map(|(event, _, nattch, process)| (event, nattch, process)).collect();
            assert_eq!(changes, expected, "{before:?} {after:?}");
        }
    }

    #[test]
    fn only_settings_are_a_change() {
        let changed = [(Changed, 1, None, None)];
        let before = [segment(1)];
        assert_eq!(changes_between(&before, &[Segment { uid: 5, ctime: 9, ..segment(1) }]), changed);
        assert_eq!(changes_between(&before, &[Segment { gid: 5, ..segment(1) }]), changed);
        assert_eq!(changes_between(&before, &[Segment { raw_mode: 0o640, ..segment(1) }]), changed);
        assert_eq!(
            changes_between(&before, &[Segment { raw_mode: 0o2600, uid: 5, ..segment(1) }]),
            changed,
            "together they are one"
        );
        assert_eq!(changes_between(&before, &[Segment { rss: Some(4096), swap: None, ctime: 9, ..segment(1) }]), []);
    }

    #[test]
    fn a_reused_identifier_is_two_segments() {
        let both = [(Removed, 1, None, None), (Created, 1, None, Some(10))];
        for other in [
            Segment { size: 8192, ..segment(1) },
            Segment { key: Key::from_raw(7), ..segment(1) },
            Segment { cuid: 7, ..segment(1) },
            Segment { cgid: 7, ..segment(1) },
        ] {
            assert_eq!(changes_between(&[segment(1)], &[other]), both);
        }
        assert_eq!(
            changes_between(&[segment(1)], &[Segment { cpid: 7, ..segment(1) }])[1],
            (Created, 1, None, Some(7))
        );
        // A segment never loses its mark.
        assert_eq!(
            changes_between(
                &[marked(Segment { key: Key::PRIVATE, ..segment(1) })],
                &[Segment { key: Key::PRIVATE, ..segment(1) }]
            ),
            both
        );
    }

    #[test]
    fn removals_come_first_and_other_events_in_the_kernels_order() {
        let attached = Segment { nattch: 1, atime: 5, lpid: 11, ..segment(2) };
        let after = [segment(4), marked(Segment { uid: 5, ..attached }), segment(3)];
        let events: Vec<_> = changes_between(&[segment(1), segment(2), segment(3), segment(5)], &after);
        let events: Vec<_> = events.into_iter().map(|(event, id, ..)| (event, id)).collect();
        assert_eq!(events, [(Removed, 1), (Removed, 5), (Created, 4), (Attached, 2), (Changed, 2), (Marked, 2)]);
    }

    #[test]
    fn the_key_of_a_marked_segment_is_remembered() {
        let attached = Segment { nattch: 2, atime: 5, ..segment(1) };
        let first = Snapshot::first(vec![attached.clone()]);
        let (second, changes) = first.next(vec![marked(attached.clone())]);
        assert_eq!((changes[0].event, changes[0].original_key), (Marked, Some(attached.key)));
        assert_eq!(changes[0].before.as_ref(), Some(&attached));
        let (third, changes) = second.next(vec![marked(Segment { nattch: 1, ..attached.clone() })]);
        assert_eq!((changes[0].event, changes[0].original_key), (Detached, Some(attached.key)));
        let (last, changes) = third.next(Vec::new());
        assert_eq!(changes.iter().map(|change| change.original_key).collect::<Vec<_>>(), [Some(attached.key); 2]);
        assert_eq!(last, Snapshot::default());
    }
}
