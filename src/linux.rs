//! Kernel interfaces outside System V IPC that no well-kept crate offers, or offers only as `unsafe`.
//!
//! This room and [`crate::sysv`] are the only ones with `unsafe`.

#![allow(unsafe_code)]

mod disposition;

pub(crate) use disposition::ignore;
