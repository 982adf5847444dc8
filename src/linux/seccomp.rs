//! Seccomp notifications (seccomp_unotify(2)): a process waits before it creates a System V IPC object, until we have
//! inspected it.
//!
//! Nothing is traced: ptrace(2) remains free for debuggers, strace and sanitizers.

mod filter;
mod interface;
mod keeper;
mod listener;

pub(crate) use filter::Filter;
pub(crate) use listener::{CreatingCall, Listener, NotTraced, Notification};
