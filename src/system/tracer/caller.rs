//! Who makes a call, and how far it is.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::proc::{MOST_OF_FILE, read, stat};
use crate::system::stack::Place;

/// The process that makes a call.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    /// The process, and what it was executing.
    pub process: Arc<Process>,
    /// Its working directory, as bytes of a path.
    pub directory: Option<Vec<u8>>,
    /// Its parent, the parent's parent and so on, up to the command that is traced.
    pub ancestors: Vec<Arc<Process>>,
    /// The environment variables that were asked for and are set.
    pub environment: BTreeMap<String, Vec<u8>>,
    /// The stack of the call, innermost frame first.
    pub stack: Vec<Place>,
    /// The thread, so that it can be told whether the call has returned.
    pub(super) thread: Thread,
    /// The inode of its IPC namespace; `None` where it cannot be seen.
    pub namespace: Option<u64>,
}

/// A thread that waited in a call.
#[derive(Debug, Clone)]
pub(super) struct Thread {
    pub tid: i32,
    /// In ticks after the boot: tells it from a later one with the same number.
    pub started: u64,
    /// `/proc/TID/syscall` while it waited.
    pub call: Vec<u8>,
}

/// A process and the program that it executed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Process {
    /// Its pid in our pid namespace.
    pub pid: i32,
    /// The words of its command line, or its name in brackets where it has none.
    pub command: Vec<Vec<u8>>,
}

/// How far a call is, for all that can be known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Progress {
    /// Its thread is gone, or waits in another call.
    Returned,
    /// Its thread is stopped, by a signal or a debugger, perhaps before the call.
    Stopped,
    /// Its thread runs or is about to, perhaps still in the call.
    Running,
}

/// How far the call of this caller is.
pub(crate) fn progress(caller: &Caller) -> Progress {
    let Thread { tid, started, call } = &caller.thread;
    match stat(*tid) {
        Some(stat) if stat.started == *started && !stat.is_ended => {
            // Blocked anywhere else. The line has the stack pointer and the program counter.
            let now = read(*tid, "syscall", MOST_OF_FILE).unwrap_or_default();
            match now.starts_with(b"running") || now.is_empty() || now == *call {
                false => Progress::Returned,
                true if stat.is_stopped => Progress::Stopped,
                true => Progress::Running,
            }
        }
        _ => Progress::Returned,
    }
}
