//! Segment events call by call, from the kernel's records of calls and of process creation and exit.
//!
//! `Machine` processes one record after the other. It keeps the segments of each IPC namespace and their attachments,
//! and never queries the system. [`watcher::Watcher`] feeds it, reads /proc and the kernel's table, and finds what no
//! record explains.

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
use crate::system::cgroup::unit_of;
use crate::system::process::command_of;
use crate::system::tracepoints::Call;
use crate::system::units::Unit;
use crate::sysv::Segment;
use crate::values::Key;

pub(crate) use watcher::Watcher;

/// An event.
#[derive(Debug, Clone)]
pub(crate) struct Occurrence {
    /// The time, in nanoseconds since the epoch.
    pub time: i128,
    /// The event itself.
    pub kind: OccurrenceKind,
    /// The process that caused it, if known.
    pub actor: Option<Actor>,
    /// How it was caused.
    pub cause: Cause,
}

/// The kinds of events.
#[derive(Debug, Clone)]
pub(crate) enum OccurrenceKind {
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
    /// The error.
    pub errno: Errno,
    /// The key that was requested.
    pub key: Option<Key>,
    /// The segment on which it was made, if known.
    pub segment: Option<Segment>,
    /// The inode of the caller's IPC namespace, if several are watched.
    pub namespace: Option<u64>,
}

/// A process that caused an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Actor {
    /// Its pid.
    pub pid: i32,
    /// Its effective user, if known.
    pub uid: Option<u32>,
    /// The name of its program, escaped.
    pub name: Rc<str>,
    /// Its command line and unit, if known.
    pub program: Option<Rc<Program>>,
    /// A number that changes with each program that it executes.
    pub generation: u32,
}

/// The program of a process, and its unit.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Program {
    /// Its command line, escaped.
    pub command: Rc<str>,
    /// Its systemd unit, container or pod.
    pub unit: Option<Unit>,
}

impl Program {
    /// Reads a process's command line and unit; `None` if it has exited.
    pub(crate) fn of(pid: i32) -> Option<Program> {
        Some(Program { command: command_of(pid)?.into(), unit: unit_of(pid) })
    }

    /// Returns what is known about a program that has ended: its name.
    pub(crate) fn ended(name: &str) -> Program {
        Program { command: format!("[{name}]").into(), unit: None }
    }
}

/// How an event was caused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cause {
    /// A call.
    Call(Call),
    /// A process was forked, and inherited its parent's attachments.
    Fork,
    /// A process executed another program, and lost its address space.
    Exec,
    /// A process exited.
    Exit,
    /// The kernel's table shows it, and no recorded call explains it.
    Table,
    /// The IPC namespace is gone.
    Namespace,
}

impl Cause {
    /// Returns the word for the cause; `None` if it is only known from the kernel's table.
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

    /// Returns whether a record of the kernel reports it.
    pub(crate) fn is_recorded(self) -> bool {
        !matches!(self, Self::Table | Self::Namespace)
    }
}
