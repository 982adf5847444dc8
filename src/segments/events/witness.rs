//! Data that must be read as soon as a record arrives, because it may soon be gone.

use std::collections::HashMap;
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::Program;
use super::call::int;
use super::tasks::User;
use crate::system::namespace::Namespace;
use crate::system::process;
use crate::system::tracepoints::{Action, Call, Record};
use crate::sysv::{self, Segment};
use crate::values::ShmId;

/// The time after which a process that makes many calls is asked for its user again.
const FRESH: Duration = Duration::from_millis(100);

/// The time after which a program like ipcrm(1) has finished.
const SHORT_LIVED: Duration = Duration::from_millis(3);

/// The maximum number of processes that are remembered.
const MAX_PROCESSES: usize = 1 << 16;

/// The data that was read together with a record.
#[derive(Debug, Default)]
pub(super) struct Note {
    /// The user of the process.
    pub user: Option<User>,
    /// Its program, if the process is seen for the first time.
    pub program: Option<Rc<Program>>,
    /// Whether the process has executed another program since: what is read about it now can be wrong.
    pub is_stale: bool,
    /// The segment on which the call was made.
    pub sight: Option<Sight>,
}

/// The state of a segment right after a call on it.
#[derive(Debug)]
pub(super) enum Sight {
    /// It existed.
    Found(Box<Segment>),
    /// It no longer existed.
    Gone,
}

/// Reads processes and segments.
#[derive(Debug)]
pub(super) struct Witness {
    /// Our own IPC namespace, if others are watched too.
    home: Option<Namespace>,
    /// When the user of each process was last read.
    asked: HashMap<i32, Instant>,
    /// When a program was last executed.
    executed: Option<Instant>,
    /// The time of the record of each process's last execution.
    executions: HashMap<i32, u64>,
    /// The segments of unfinished calls, if their state is needed when the call returns.
    inside: HashMap<i32, ShmId>,
}

impl Witness {
    /// Creates a witness for this namespace only. With `home`, which is this namespace, it enters that of each caller.
    pub(super) fn new(home: Option<Namespace>) -> Witness {
        Witness { home, asked: HashMap::new(), executed: None, executions: HashMap::new(), inside: HashMap::new() }
    }

    /// Reads what a record refers to. Calls in a namespace that is not watched are skipped.
    pub(super) fn note(&mut self, record: &Record, is_watched: impl Fn() -> bool) -> Note {
        let Record { pid, tid, .. } = *record;
        match record.action {
            Action::Enter(..) | Action::Return(..) if !is_watched() => Note::default(),
            Action::Executed(_) => {
                self.asked.remove(&pid);
                self.executed = Some(Instant::now());
                if self.executions.len() >= MAX_PROCESSES {
                    self.executions.clear();
                }
                self.executions.insert(pid, record.time);
                Note { user: user_of(pid), ..Note::default() }
            }
            Action::Enter(call, [id, command, _]) => {
                let is_of_interest = match call {
                    Call::Attach => self.home.is_none(),
                    Call::Control => int(command) == libc::IPC_SET,
                    Call::Get | Call::Detach => false,
                };
                if let Some(id) = ShmId::new(int(id)).filter(|_| is_of_interest && self.inside.len() < MAX_PROCESSES) {
                    self.inside.insert(tid, id);
                }
                self.ask(pid)
            }
            Action::Return(Call::Get, id) => {
                let id = i32::try_from(id).ok().and_then(ShmId::new);
                Note { sight: id.and_then(|id| self.inspect(tid, id)), ..Note::default() }
            }
            Action::Return(_, result) => {
                let id = self.inside.remove(&tid).filter(|_| result >= 0);
                Note { sight: id.and_then(|id| self.inspect(tid, id)), ..Note::default() }
            }
            Action::Ended => {
                self.asked.remove(&tid);
                self.inside.remove(&tid);
                Note::default()
            }
            _ => Note::default(),
        }
    }

    /// Returns whether a process has executed another program since a record, perhaps as another user: a set-user-ID
    /// program. What was read with the record can then be that of the new program.
    pub(super) fn has_executed_since(&self, record: &Record) -> bool {
        self.executions.get(&record.pid).is_some_and(|time| *time > record.time)
    }

    /// Returns whether a program was executed so recently that it may exit soon.
    pub(super) fn is_urgent(&self) -> bool {
        self.executed.is_some_and(|executed| executed.elapsed() < SHORT_LIVED)
    }

    /// Reads a process's user, and the first time also its program.
    fn ask(&mut self, pid: i32) -> Note {
        let now = Instant::now();
        let asked = self.asked.get(&pid);
        if asked.is_some_and(|asked| now.duration_since(*asked) < FRESH) {
            return Note::default();
        }
        let program = if asked.is_none() { Program::of(pid).map(Rc::new) } else { None };
        if self.asked.len() >= MAX_PROCESSES {
            self.asked.clear();
        }
        self.asked.insert(pid, now);
        Note { user: user_of(pid), program, ..Note::default() }
    }

    /// Reads a segment of the caller's namespace.
    fn inspect(&self, tid: i32, id: ShmId) -> Option<Sight> {
        let Some(home) = &self.home else { return Some(inspect(id)) };
        // The descriptor is closed at once: it would keep the namespace and its segments alive.
        let theirs = Namespace::of_process(tid).ok()?;
        if theirs.identity == home.identity {
            return Some(inspect(id));
        }
        theirs.enter().ok()?;
        let sight = inspect(id);
        home.enter().ok()?;
        Some(sight)
    }
}

fn inspect(id: ShmId) -> Sight {
    sysv::stat_any(id).map_or(Sight::Gone, |segment| Sight::Found(segment.into()))
}

/// Returns the effective user and group of a process.
pub(super) fn user_of(pid: i32) -> Option<User> {
    process::user_of(pid).map(|(uid, gid)| User { uid, gid })
}
