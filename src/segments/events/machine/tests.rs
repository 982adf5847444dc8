//! Sequences of records as the kernel wrote them, and the resulting events.

use super::*;
use crate::segments::changes::Event;
use crate::segments::events::tasks::User;
use crate::segments::events::witness::Sight;
use crate::system::tracepoints::Call;
use crate::values::UNKNOWN_ID;
use crate::values::{Key, ShmId};

const OURS: u64 = 4_026_531_839;
const THEIRS: u64 = 4_026_532_181;

const CREATE: u64 = 0o1600;
const EXCLUSIVE: u64 = 0o3600;

/// Flag of clone(2): the child shares its parent's address space.
const CLONE_VM: u64 = 0x100;

/// A machine with process 1 in our namespace, to which a test adds records.
struct Story {
    machine: Machine,
    time: u64,
}

impl Story {
    fn new(rows: Vec<Segment>) -> Story {
        let mut machine = Machine::new(false, true);
        machine.set_tables([(OURS, rows)]);
        machine.restart_with(vec![found(1, OURS, &[])]);
        Story { machine, time: 1_000_000_000 }
    }

    fn record(&mut self, pid: i32, tid: i32, action: Action) -> &mut Story {
        self.with(pid, tid, action, Note::default())
    }

    fn with(&mut self, pid: i32, tid: i32, action: Action, note: Note) -> &mut Story {
        self.time += 1000;
        self.machine.record(&Record { time: self.time, pid, tid, action }, note);
        self
    }

    /// Adds a call of a process's first thread.
    fn call(&mut self, pid: i32, call: Call, arguments: [u64; 3], result: i64) -> &mut Story {
        self.record(pid, pid, Action::Enter(call, arguments)).record(pid, pid, Action::Return(call, result))
    }

    /// Adds a fork(2), or with flags a clone(2).
    fn fork(&mut self, parent: i32, child: i32, flags: u64) -> &mut Story {
        self.record(child, child, Action::Forked { parent, parent_thread: parent })
            .record(child, child, Action::Namespace(OURS))
            .record(parent, parent, Action::Cloned(flags))
    }

    fn execute(&mut self, pid: i32, program: &str) -> &mut Story {
        self.record(pid, pid, Action::Executed(comm(program)))
    }

    /// Returns the events since the last call: event, identifier, count, pid of the actor, cause.
    fn events(&mut self) -> Vec<String> {
        let describe = |occurrence: Occurrence| {
            let actor = occurrence.actor.map_or_else(|| "?".into(), |actor| format!("{} {}", actor.pid, actor.name));
            match occurrence.kind {
                OccurrenceKind::Changed(change) => {
                    let Change { event, segment, nattch, .. } = change;
                    let count = nattch.map_or_else(String::new, |(from, to)| format!(" {from}->{to}"));
                    let event = format!("{event:?}").to_lowercase();
                    format!("{event} {}{count} by {actor}, {}", segment.id, occurrence.cause.word().unwrap_or("table"))
                }
                OccurrenceKind::Failed(failure) => format!("{} = {:?} by {actor}", failure.call, failure.errno),
            }
        };
        self.machine.take().into_iter().map(describe).collect()
    }
}

fn comm(name: &str) -> [u8; 16] {
    let mut comm = [0; 16];
    comm[..name.len()].copy_from_slice(name.as_bytes());
    comm
}

fn found(pid: i32, namespace: u64, attached: &[(u64, i32)]) -> Found {
    let place = |id| Place { namespace, id: ShmId::new(id).unwrap() };
    Found {
        pid,
        name: comm("sh"),
        user: Some(User { uid: 1000, gid: 100 }),
        threads: vec![(pid, namespace)],
        attached: attached.iter().map(|(address, id)| (*address, place(*id))).collect(),
        shares_with: None,
    }
}

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

#[test]
fn a_segments_life_within_microseconds() {
    let mut story = Story::new(vec![]);
    story
        .call(1, Call::Get, [42, 4096, EXCLUSIVE], 5)
        .call(1, Call::Attach, [5, 0, 0], 0x7000)
        .call(1, Call::Detach, [0x7000, 0, 0], 0)
        .call(1, Call::Control, [5, 0, 0], 0);
    let occurrences = story.machine.take();
    let OccurrenceKind::Changed(created) = &occurrences[0].kind else { panic!("{occurrences:?}") };
    // All fields follow from the arguments and the caller.
    let expected = Segment { key: Key::from_raw(42), id: ShmId::new(5).unwrap(), cpid: 1, ..segment(0) };
    let expected = Segment { uid: 1000, gid: 100, cuid: 1000, cgid: 100, rss: None, swap: None, ..expected };
    assert_eq!(created.segment, expected);
    let events = occurrences.iter().filter_map(|occurrence| match &occurrence.kind {
        OccurrenceKind::Changed(change) => Some((change.event, change.segment.nattch)),
        OccurrenceKind::Failed(_) => None,
    });
    let expected = [(Event::Created, 0), (Event::Attached, 1), (Event::Detached, 0), (Event::Removed, 0)];
    assert_eq!(events.collect::<Vec<_>>(), expected);
}

#[test]
fn a_found_segment_is_not_created() {
    let mut story = Story::new(vec![segment(3)]);
    story.call(1, Call::Get, [103, 4096, CREATE], 3).call(1, Call::Get, [103, 0, 0], 3);
    assert_eq!(story.events(), [""; 0]);
    // Two processes request the same key at the same time: the creator's call returns later.
    story.fork(1, 2, 0);
    let seen = || Note { sight: Some(Sight::Found(Segment { cpid: 2, ..segment(4) }.into())), ..Note::default() };
    story.record(1, 1, Action::Enter(Call::Get, [104, 4096, CREATE]));
    story.record(2, 2, Action::Enter(Call::Get, [104, 4096, CREATE]));
    story.with(1, 1, Action::Return(Call::Get, 4), seen()).with(2, 2, Action::Return(Call::Get, 4), seen());
    assert_eq!(story.events(), ["created 4 by 2 sh, shmget"]);
}

#[test]
fn the_last_detach_removes_a_marked_segment() {
    let mut story = Story::new(vec![segment(3)]);
    story
        .call(1, Call::Attach, [3, 0, 0], 0x7000)
        .fork(1, 2, 0)
        .execute(2, "ipcrm")
        .call(2, Call::Control, [3, 0, 0], 0)
        .call(2, Call::Control, [3, 0, 0], 0)
        .record(2, 2, Action::Ended)
        .record(1, 1, Action::Ended);
    let expected = [
        "attached 3 0->1 by 1 sh, shmat",
        "attached 3 1->2 by 2 sh, fork",
        "detached 3 2->1 by 2 sh, exec",
        "marked 3 by 2 ipcrm, shmctl",
        "detached 3 1->0 by 1 sh, exit",
        "removed 3 by 1 sh, exit",
    ];
    assert_eq!(story.events(), expected);
}

#[test]
fn a_child_of_vfork_shares_the_attachments() {
    let mut story = Story::new(vec![segment(3)]);
    story.call(1, Call::Attach, [3, 0, 0], 0x7000).fork(1, 2, CLONE_VM);
    story.call(2, Call::Attach, [3, 0, 0], 0x8000).execute(2, "true").record(2, 2, Action::Ended);
    assert_eq!(story.events(), ["attached 3 0->1 by 1 sh, shmat", "attached 3 1->2 by 2 sh, shmat"]);
    // The child's attachments are the parent's as well.
    story.call(1, Call::Detach, [0x8000, 0, 0], 0).record(1, 1, Action::Ended);
    assert_eq!(story.events(), ["detached 3 2->1 by 1 sh, shmdt", "detached 3 1->0 by 1 sh, exit"]);
}

#[test]
fn threads_end_one_after_the_other_and_exec_ends_all_but_one() {
    let mut story = Story::new(vec![segment(3)]);
    let thread = Action::Forked { parent: 1, parent_thread: 1 };
    story.record(1, 7, thread).record(1, 7, Action::Namespace(OURS)).record(1, 1, Action::Cloned(CLONE_VM));
    story.record(1, 7, Action::Enter(Call::Attach, [3, 0, 0])).record(1, 7, Action::Return(Call::Attach, 0x7000));
    story.record(1, 1, Action::Ended);
    assert_eq!(story.events(), ["attached 3 0->1 by 1 sh, shmat"]);
    // The thread takes over the id of the first one.
    story.execute(1, "cat");
    assert_eq!(story.events(), ["detached 3 1->0 by 1 sh, exec"]);
    story.call(1, Call::Attach, [3, 0, 0], 0x7000).record(1, 1, Action::Ended);
    assert_eq!(story.events(), ["attached 3 0->1 by 1 cat, shmat", "detached 3 1->0 by 1 cat, exit"]);
}

#[test]
fn only_earlier_attachments_are_followed_into_another_namespace() {
    let mut story = Story::new(vec![segment(3)]);
    story.call(1, Call::Attach, [3, 0, 0], 0x7000).record(1, 1, Action::Namespace(THEIRS));
    story.call(1, Call::Get, [42, 4096, CREATE], 5).call(1, Call::Control, [3, 0, 0], 0);
    assert_eq!(story.events(), ["attached 3 0->1 by 1 sh, shmat"]);
    // The address space keeps its attachments.
    story.call(1, Call::Detach, [0x7000, 0, 0], 0);
    assert_eq!(story.events(), ["detached 3 1->0 by 1 sh, shmdt"]);
}

#[test]
fn settings_and_locks() {
    let mut story = Story::new(vec![segment(3)]);
    let seen = Segment { uid: 7, raw_mode: 0o640, ..segment(3) };
    story.record(1, 1, Action::Enter(Call::Control, [3, 1, 0x7ffc]));
    let note = Note { sight: Some(Sight::Found(seen.clone().into())), ..Note::default() };
    story.with(1, 1, Action::Return(Call::Control, 0), note);
    let occurrences = story.machine.take();
    let OccurrenceKind::Changed(change) = &occurrences[0].kind else { panic!("{occurrences:?}") };
    assert_eq!((change.segment.uid, change.segment.mode(), change.segment.gid), (7, seen.mode(), 0));
    assert_eq!(change.before.as_ref().map(|before| before.uid), Some(0));
    // SHM_LOCK twice, SHM_UNLOCK, IPC_STAT.
    for command in [11, 11, 12, 2] {
        story.call(1, Call::Control, [3, command, 0], 0);
    }
    assert_eq!(story.events(), ["changed 3 by 1 sh, shmctl"; 2]);
}

#[test]
fn failures_have_their_arguments() {
    let mut story = Story::new(vec![segment(3)]);
    story.call(1, Call::Get, [0x65, 4096, CREATE], -28).call(1, Call::Attach, [3, 0, 0], -13);
    // ipcs(1) tries each index in this way.
    story.call(1, Call::Control, [7, 13, 0], -22).call(1, Call::Control, [7, 15, 0], -22);
    let expected = ["shmget(0x00000065, 4096, IPC_CREAT|0600) = ENOSPC by 1 sh", "shmat(3, NULL, 0) = EACCES by 1 sh"];
    assert_eq!(story.events(), expected);
}

#[test]
fn attachments_from_before_the_watch_come_from_proc() {
    let mut story = Story::new(vec![Segment { nattch: 2, ..segment(3) }]);
    story.machine.restart_with(vec![found(1, OURS, &[(0x7000, 3), (0x9000, 3)])]);
    story.call(1, Call::Detach, [0x9000, 0, 0], 0).record(1, 1, Action::Ended);
    assert_eq!(story.events(), ["detached 3 2->1 by 1 sh, shmdt", "detached 3 1->0 by 1 sh, exit"]);
    assert!(!story.machine.is_confused);
    // An unknown address is a reason to read /proc again.
    story.machine.restart_with(vec![found(1, OURS, &[])]);
    story.call(1, Call::Detach, [0x9000, 0, 0], 0);
    assert!(story.machine.is_confused);
}

#[test]
fn forced_removal_at_the_last_detach_and_at_the_creators_end() {
    let mut story = Story::new(vec![]);
    story.machine.set_forced(OURS, true);
    story.call(1, Call::Get, [1, 4096, CREATE], 1).call(1, Call::Get, [2, 4096, CREATE], 2);
    story.call(1, Call::Attach, [1, 0, 0], 0x7000).call(1, Call::Detach, [0x7000, 0, 0], 0);
    story.record(1, 1, Action::Ended);
    let expected = [
        "created 1 by 1 sh, shmget",
        "created 2 by 1 sh, shmget",
        "attached 1 0->1 by 1 sh, shmat",
        "detached 1 1->0 by 1 sh, shmdt",
        "removed 1 by 1 sh, shmdt",
        "removed 2 by 1 sh, exit",
    ];
    assert_eq!(story.events(), expected);
}

#[test]
fn lost_records_are_counted() {
    let mut story = Story::new(vec![]);
    story.record(1, 1, Action::Lost(5)).record(1, 1, Action::Lost(2));
    assert_eq!((story.machine.lost, story.machine.is_confused), (7, true));
}

#[test]
fn an_unexplained_difference_is_reported_when_it_is_seen_twice() {
    let mut story = Story::new(vec![segment(3)]);
    // A time long after all records.
    let later = || u64::MAX;
    let rows = || vec![segment(3), Segment { nattch: 1, lpid: 10, atime: 9, ..segment(4) }];
    story.machine.compare(OURS, rows(), later());
    assert_eq!(story.events(), [""; 0]);
    story.machine.compare(OURS, rows(), later());
    assert_eq!(story.events(), ["created 4 by ?, table", "attached 4 0->1 by ?, table"]);
    story.machine.compare(OURS, rows(), later());
    assert_eq!(story.events(), [""; 0]);
    // Missing in one comparison and back in the next: its record was late.
    story.machine.compare(OURS, vec![segment(3)], later());
    story.machine.compare(OURS, rows(), later());
    story.machine.compare(OURS, vec![segment(3)], later());
    assert_eq!(story.events(), [""; 0]);
    story.machine.compare(OURS, vec![segment(3)], later());
    assert_eq!(story.events(), ["detached 4 1->0 by ?, table", "removed 4 by ?, table"]);
}

#[test]
fn a_table_that_is_older_than_a_record_is_ignored() {
    let mut story = Story::new(vec![]);
    story.call(1, Call::Get, [103, 4096, CREATE], 3);
    drop(story.machine.take());
    for _ in 0..3 {
        story.machine.compare(OURS, vec![], story.time);
    }
    assert_eq!(story.events(), [""; 0]);
}

#[test]
fn an_unknown_owner_is_read_from_the_table() {
    let mut story = Story::new(vec![]);
    story.machine.restart_with(vec![Found { user: None, ..found(1, OURS, &[]) }]);
    story.call(1, Call::Get, [103, 4096, CREATE], 3);
    let unknown = |machine: &Machine| machine.segments().next().map(|segment| segment.uid) == Some(UNKNOWN_ID);
    assert!(unknown(&story.machine));
    drop(story.machine.take());
    let row = Segment { cpid: 1, ..segment(3) };
    story.machine.compare(OURS, vec![row], u64::MAX);
    story.machine.compare(OURS, vec![Segment { cpid: 1, ..segment(3) }], u64::MAX);
    assert_eq!(story.events(), [""; 0]);
    assert!(!unknown(&story.machine));
}

#[test]
fn ended_processes_are_dropped() {
    let mut story = Story::new(vec![segment(3)]);
    for child in 2..1000 {
        story.fork(1, child, 0).call(child, Call::Attach, [3, 0, 0], 0x7000).record(child, child, Action::Ended);
    }
    assert_eq!(story.machine.tasks.len(), (1, 1, 1));
}
