//! Moving bytes between a segment and a file, a pipe, a terminal or an archive.
//!
//! Functions that can take long report each completed piece through [`Advance`]. The caller decides whether to show
//! progress.

pub(crate) mod archive;
pub(crate) mod attach;
pub(crate) mod copy;
pub(crate) mod destination;
pub(crate) mod input;
pub(crate) mod part;
pub(crate) mod restore;
pub(crate) mod save;
pub(crate) mod shortage;
pub(crate) mod show;
pub(crate) mod sink;

/// Called with the number of bytes finished since the last call.
pub(crate) type Advance<'a> = &'a mut dyn FnMut(u64);
