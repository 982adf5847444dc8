//! The caller of a system call, and the state of the call.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::system::proc_file::{MAX_BYTES, read};
use crate::system::process_stat::Stat;
use crate::system::stack::Place;

/// The process that makes a call.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    /// The process, and what it was executing.
    pub process: Arc<Process>,
    /// Its working directory, as the bytes of the path.
    pub directory: Option<Vec<u8>>,
    /// Its parent, grandparent and so on, up to the traced command.
    pub ancestors: Vec<Arc<Process>>,
    /// The requested environment variables that are set.
    pub environment: BTreeMap<String, Vec<u8>>,
    /// The stack of the call, innermost frame first.
    pub stack: Vec<Place>,
    /// The thread, for checking whether the call has returned.
    pub(super) thread: Thread,
    /// The inode of its IPC namespace; `None` if that is not visible.
    pub namespace: Option<u64>,
}

/// A thread that waited in a call.
#[derive(Debug, Clone)]
pub(super) struct Thread {
    pub tid: i32,
    /// Start time in ticks since the boot: distinguishes the thread from a later one with the same id.
    pub started: u64,
    /// `/proc/TID/syscall` while it waited.
    pub call: Vec<u8>,
}

/// A process and the program that it executed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Process {
    /// Its pid in our pid namespace.
    pub pid: i32,
    /// The words of its command line. If it has none, its name in brackets.
    pub command: Vec<Vec<u8>>,
}

/// The state of a call, as far as it can be determined.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Progress {
    /// Its thread has ended, or waits in another call.
    Returned,
    /// Its thread is stopped by a signal or a debugger, perhaps before the call.
    Stopped,
    /// Its thread is running or runnable, perhaps still in the call.
    Running,
}

/// Returns the state of this caller's call.
pub(crate) fn progress(caller: &Caller) -> Progress {
    let Thread { tid, started, call } = &caller.thread;
    match Stat::read(*tid) {
        Ok(stat) if stat.started == *started && !stat.has_ended() => {
            // Blocked elsewhere. The line includes the stack pointer and the program counter, so it identifies the
            // call.
            let now = read(*tid, "syscall", MAX_BYTES).unwrap_or_default();
            match now.starts_with(b"running") || now.is_empty() || now == *call {
                false => Progress::Returned,
                true if stat.is_stopped() => Progress::Stopped,
                true => Progress::Running,
            }
        }
        _ => Progress::Returned,
    }
}
