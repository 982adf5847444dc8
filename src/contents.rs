//! Bytes between a segment and a file, a pipe or a terminal.

pub mod destination;
pub mod shortage;
pub mod transfer;
