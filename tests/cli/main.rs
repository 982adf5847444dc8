//! The program as its users run it, against the real kernel: each test in an IPC namespace of its own.

mod attach_write;
mod create;
mod list;
mod read;
mod remove;
mod stat;
mod support;
mod usage;
