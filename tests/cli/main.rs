//! The program as its users run it, against the real kernel: each test in an IPC namespace of its own.

mod attach_write;
mod attachments;
mod completions;
mod create;
mod demo;
mod filters;
mod ftok;
mod guard;
mod help;
mod limits;
mod list;
mod namespaces;
mod privileges;
mod proc;
mod races;
mod read;
mod recipes;
mod remove;
mod set;
mod stat;
mod strace;
mod streams;
mod support;
mod usage;
mod watch;
mod with_c;
