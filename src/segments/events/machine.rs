//! The state machine that converts records to events.

mod calls;
mod compare;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::rc::Rc;

use super::table::{Known, Moment, Table};
use super::tasks::{Found, Place, Process, Tasks, User};
use super::witness::Note;
use super::{Actor, Cause, Occurrence, OccurrenceKind, Program};
use crate::segments::changes::Change;
use crate::system::tracepoints::{Action, Record};
use crate::sysv::Segment;
use crate::values::visible;

/// The state that results from the records.
#[derive(Debug)]
pub(super) struct Machine {
    tasks: Tasks,
    /// By the inode of the namespace. Only watched namespaces are included.
    tables: BTreeMap<u64, Table>,
    /// Whether new namespaces are watched, too.
    all_namespaces: bool,
    wants_failures: bool,
    /// The offset from CLOCK_MONOTONIC to the time since the epoch, in nanoseconds.
    epoch: i128,
    /// The number of missing records.
    pub lost: u64,
    /// Whether a record contradicted the state, so that /proc must be read again.
    pub is_confused: bool,
    out: Vec<Occurrence>,
}

/// The cause of a change, with the process and the time.
struct Trigger {
    actor: Option<Actor>,
    cause: Cause,
    now: Moment,
}

impl Machine {
    /// Creates an empty machine.
    pub(super) fn new(all_namespaces: bool, wants_failures: bool) -> Machine {
        Machine {
            tasks: Tasks::default(),
            tables: BTreeMap::new(),
            all_namespaces,
            wants_failures,
            epoch: 0,
            lost: 0,
            is_confused: false,
            out: Vec::new(),
        }
    }

    /// Restarts with the processes that /proc shows.
    pub(super) fn restart_with(&mut self, found: Vec<Found>) {
        self.tasks = Tasks::new(found);
        self.is_confused = false;
    }

    /// Sets the offset from CLOCK_MONOTONIC to the time since the epoch, in nanoseconds.
    pub(super) fn set_epoch(&mut self, epoch: i128) {
        self.epoch = epoch;
    }

    /// Sets whether kernel.shm_rmid_forced is 1 in a namespace.
    pub(super) fn set_forced(&mut self, namespace: u64, is_forced: bool) {
        if let Some(table) = self.tables.get_mut(&namespace) {
            table.is_forced = is_forced;
        }
    }

    /// Returns the events since the last call, in order.
    pub(super) fn take(&mut self) -> Vec<Occurrence> {
        std::mem::take(&mut self.out)
    }

    /// Returns the watched segments.
    pub(super) fn segments(&self) -> impl Iterator<Item = &Segment> {
        self.tables.values().flat_map(|table| table.segments.values().map(|known| &known.segment))
    }

    /// Returns whether the last comparison found a difference that must be confirmed.
    pub(super) fn has_suspects(&self) -> bool {
        self.tables.values().any(|table| !table.suspected.is_empty())
    }

    /// Replaces the segments of the namespaces by those in the kernel's table.
    pub(super) fn set_tables(&mut self, tables: impl IntoIterator<Item = (u64, Vec<Segment>)>) {
        self.tables = tables.into_iter().map(|(namespace, rows)| (namespace, Table::new(rows))).collect();
    }

    /// Returns whether the segments of a namespace are known.
    pub(super) fn has_table(&self, namespace: u64) -> bool {
        self.tables.contains_key(&namespace)
    }

    /// Adds the segments of a namespace that could not be read before. When they were created is unknown.
    pub(super) fn adopt(&mut self, namespace: u64, mut rows: Vec<Segment>) {
        let table = self.tables.entry(namespace).or_default();
        rows.retain(|row| !table.segments.contains_key(&row.id));
        table.extend(rows);
    }

    /// Returns the processes that are known to have a segment attached.
    pub(super) fn holders(&self, place: Place) -> Vec<i32> {
        self.tasks.holders(place)
    }

    /// Returns whether a thread is in a watched namespace; `None` if the thread is still unknown.
    pub(super) fn is_watched(&self, tid: i32) -> Option<bool> {
        if self.all_namespaces {
            return Some(true);
        }
        self.tasks.namespace(tid).map(|namespace| self.tables.contains_key(&namespace))
    }

    /// Replaces a process's known attachments of a segment.
    pub(super) fn correct(&mut self, pid: i32, place: Place, addresses: impl Iterator<Item = u64>) {
        self.tasks.correct(pid, place, addresses);
    }

    /// Processes a record. Records must be in the order of their time.
    pub(super) fn record(&mut self, record: &Record, note: Note) {
        let Record { time, pid, tid, action } = *record;
        let is_execution = matches!(action, Action::Executed(_));
        if let Some(process) = self.tasks.process(pid) {
            if !is_execution {
                process.user = note.user.or(process.user);
                process.program = note.program.clone().or(process.program.take());
            }
            if is_execution || note.is_stale {
                // The process runs another program now, so this one cannot be inspected any more.
                process.program.get_or_insert_with(|| Rc::new(Program::ended(&name(&process.name))));
            }
        }
        match action {
            Action::Enter(call, arguments) => match self.tasks.thread(tid) {
                Some(thread) => thread.call = Some((call, arguments)),
                // A process in another pid namespace has no pid here.
                None if tid <= 0 => {}
                None => self.is_confused = true,
            },
            Action::Return(call, result) => {
                let entered = self.tasks.thread(tid).and_then(|thread| thread.call.take());
                // A call that began before the watch is left to the comparison with the table.
                if let Some((_, arguments)) = entered.filter(|(entered, _)| *entered == call) {
                    self.returned(record, call, arguments, result, note.sight);
                }
            }
            Action::Forked { parent, parent_thread } => self.tasks.fork(pid, tid, parent, parent_thread),
            Action::Cloned(flags) => {
                if let Some((child, copied)) = self.tasks.clone_space(tid, flags & libc::CLONE_VM as u64 != 0) {
                    self.attached_by_fork(child, &copied, time);
                }
            }
            Action::Ended => {
                let creator = self.tasks.thread(tid).map(|thread| thread.namespace);
                let ended = self.tasks.end(tid);
                let is_last = ended.is_some();
                let process = ended.as_ref().map(|(process, _)| process.clone());
                let trigger = self.trigger(pid, process.as_ref(), Cause::Exit, time);
                for place in ended.into_iter().flat_map(|(_, attached)| attached) {
                    self.detached(place, pid, &trigger);
                }
                if let Some(namespace) = creator {
                    self.orphaned(namespace, pid, tid, is_last, &trigger);
                }
            }
            Action::Named(name) => {
                if let Some(process) = self.tasks.process(pid).filter(|_| pid == tid) {
                    process.name = name;
                }
            }
            Action::Executed(name) => {
                let left = self.tasks.execute(pid, tid);
                let trigger = self.trigger(pid, None, Cause::Exec, time);
                for place in left {
                    self.detached(place, pid, &trigger);
                }
                if let Some(process) = self.tasks.process(pid) {
                    process.name = name;
                    process.program = None;
                    // If the process was gone, its user is unknown: the previous program may have had another user.
                    process.user = note.user;
                }
            }
            Action::Namespace(namespace) => {
                if let Some(thread) = self.tasks.thread(tid) {
                    thread.namespace = namespace;
                }
            }
            Action::Lost(count) => {
                self.lost += count;
                self.is_confused = true;
            }
        }
    }

    fn attached_by_fork(&mut self, child: i32, copied: &[Place], time: u64) {
        let trigger = self.trigger(child, None, Cause::Fork, time);
        for place in copied {
            let Some(table) = self.tables.get_mut(&place.namespace) else { continue };
            let change = table.attach(place.id, child, trigger.now);
            self.report(change, &trigger, place.namespace);
        }
    }

    fn detached(&mut self, place: Place, pid: i32, trigger: &Trigger) {
        let Some(table) = self.tables.get_mut(&place.namespace) else { return };
        for change in table.detach(place.id, pid, trigger.now).collect::<Vec<_>>() {
            self.report(Some(change), trigger, place.namespace);
        }
    }

    /// Handles the end of a thread. If kernel.shm_rmid_forced is 1, this destroys the segments that the thread created
    /// and nobody has attached (ipc/shm.c, `exit_shm`).
    fn orphaned(&mut self, namespace: u64, pid: i32, tid: i32, is_last: bool, trigger: &Trigger) {
        let Some(table) = self.tables.get_mut(&namespace).filter(|table| table.is_forced) else { return };
        let is_creator = |known: &Known| match known.creator {
            Some(creator) => creator == tid,
            None => is_last && known.segment.cpid == pid,
        };
        let going = table.segments.values().filter(|known| known.segment.nattch == 0 && is_creator(known));
        for id in going.map(|known| known.segment.id).collect::<Vec<_>>() {
            let change = self.tables.get_mut(&namespace).and_then(|table| table.remove(id, trigger.now));
            self.report(change, trigger, namespace);
        }
    }

    fn report(&mut self, change: Option<Change>, trigger: &Trigger, namespace: u64) {
        let Some(mut change) = change else { return };
        change.process = trigger.actor.as_ref().map(|actor| actor.pid).or(change.process);
        if self.all_namespaces {
            change.segment.namespace = Some(namespace);
        }
        let (actor, cause) = (trigger.actor.clone(), trigger.cause);
        let time = self.since_epoch(trigger.now.time);
        self.out.push(Occurrence { time, kind: OccurrenceKind::Changed(change), actor, cause });
    }

    fn since_epoch(&self, time: u64) -> i128 {
        i128::from(time) + self.epoch
    }

    fn trigger(&mut self, pid: i32, process: Option<&Process>, cause: Cause, time: u64) -> Trigger {
        let actor = process.or(self.tasks.process(pid).as_deref()).map(|process| Actor {
            pid,
            uid: process.user.map(|user: User| user.uid),
            name: name(&process.name),
            program: process.program.clone(),
            generation: process.space,
        });
        let second = self.since_epoch(time).div_euclid(1_000_000_000);
        Trigger { actor, cause, now: Moment { time, second: i64::try_from(second).unwrap_or(0) } }
    }
}

/// Returns a program's name, escaped for display.
fn name(bytes: &[u8; 16]) -> Rc<str> {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    visible(&bytes[..end]).into()
}
