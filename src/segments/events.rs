//! What happens to segments, call by call, from the kernel's own account of the calls and of the life of processes.
//!
//! [`Machine`] is told of one record after the other and keeps what follows from them: the segments of each IPC namespace
//! and who has them attached. It asks nobody. [`watcher::Watcher`] feeds it, looks at /proc and at the kernel's table, and
//! finds what no record explains.

mod call;
mod machine;
mod scan;
mod table;
mod tasks;
mod watcher;
mod witness;

use std::rc::Rc;

use nix::errno::Errno;

use crate::segments::changes::Change;
use crate::system::process::command_of;
use crate::system::tracepoints::Call;
use crate::system::units::{Unit, unit_of};
use crate::sysv::Segment;
use crate::values::Key;

pub(crate) use watcher::{Scope, Watcher};

/// An effective user or group id that is not known: the kernel gives this number to nobody.
pub(crate) const UNKNOWN_ID: u32 = u32::MAX;

/// Something that happened.
#[derive(Debug, Clone)]
pub(crate) struct Occurrence {
    /// When, in nanoseconds since the epoch.
    pub time: i128,
    /// What.
    pub what: Occurred,
    /// The process that did it, if it is known.
    pub actor: Option<Actor>,
    /// By which way.
    pub cause: Cause,
}

/// What happened.
#[derive(Debug, Clone)]
pub(crate) enum Occurred {
    /// A segment changed.
    Changed(Change),
    /// A call failed.
    Failed(Failure),
}

/// A call that failed.
#[derive(Debug, Clone)]
pub(crate) struct Failure {
    /// The call with its arguments, in strace's notation.
    pub call: String,
    /// Why.
    pub errno: Errno,
    /// The key that it was made for.
    pub key: Option<Key>,
    /// The segment that it was made on, if that is known.
    pub segment: Option<Segment>,
    /// The inode of the caller's IPC namespace, if several are watched.
    pub namespace: Option<u64>,
}

/// A process that did something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Actor {
    /// Its number.
    pub pid: i32,
    /// Its effective user, if it was seen.
    pub uid: Option<u32>,
    /// The name of its program, made visible.
    pub name: Rc<str>,
    /// Its command line and unit, if they were seen.
    pub program: Option<Rc<Program>>,
    /// Another number for each program that it executes.
    pub generation: u32,
}

/// What a process runs, and for whom.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Program {
    /// Its command line, made visible.
    pub command: Rc<str>,
    /// Its systemd unit, container or pod.
    pub unit: Option<Unit>,
}

impl Program {
    /// Looks at a process; `None` if it has ended.
    pub(crate) fn of(pid: i32) -> Option<Program> {
        Some(Program { command: command_of(pid)?.into(), unit: unit_of(pid) })
    }
}

/// What brought an event about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cause {
    /// A call.
    Call(Call),
    /// A process was made, which has attached what its parent had.
    Fork,
    /// A process executed another program, and lost its address space.
    Exec,
    /// A process ended.
    Exit,
    /// The kernel's table shows it, and no call that was seen explains it.
    Table,
    /// The IPC namespace is gone.
    Namespace,
}

impl Cause {
    /// Returns the word for it; `None` if the kernel's table shows no more than what has changed.
    pub(crate) fn word(self) -> Option<&'static str> {
        match self {
            Self::Call(Call::Get) => Some("shmget"),
            Self::Call(Call::Attach) => Some("shmat"),
            Self::Call(Call::Detach) => Some("shmdt"),
            Self::Call(Call::Control) => Some("shmctl"),
            Self::Fork => Some("fork"),
            Self::Exec => Some("exec"),
            Self::Exit => Some("exit"),
            Self::Namespace => Some("namespace"),
            Self::Table => None,
        }
    }

    /// Whether a record of the kernel tells it.
    pub(crate) fn is_recorded(self) -> bool {
        !matches!(self, Self::Table | Self::Namespace)
    }
}
