//! Bytes between a segment and a file, a pipe or a terminal.

pub(crate) mod destination;
pub(crate) mod shortage;
pub(crate) mod transfer;
