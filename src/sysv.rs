//! System V shared memory: shmget(2), shmat(2), shmdt(2) and shmctl(2) as functions with typed results, the kernel's
//! table of segments, attachments and their contents.
//!
//! shmctl(2) is split into its commands. Each errno gets its meaning here, where the call is known: `EINVAL` alone has
//! three meanings.

#![allow(unsafe_code)]

mod attachment;
mod contents;
mod control;
mod error;
mod ftok;
mod get;
mod limits;
mod maps;
mod others;
mod procmap;
mod rows;
mod scan;
mod segment;
mod table;
mod trace;
mod uapi;

pub(crate) use nix::errno::Errno;

pub(crate) use attachment::{Access, Attachment, Placement, attach};
pub(crate) use contents::{Contents, Extent, MoveError, Stream};
pub(crate) use control::{lock, remove, set, stat, stat_any, unlock};
pub(crate) use error::{Error, Reason};
pub(crate) use ftok::ftok;
pub(crate) use get::{HugePages, NewSegment, create, find, get};
pub(crate) use limits::{Limits, Usage, limits, usage};
pub use maps::{KernelMounts, Mapping};
pub(crate) use maps::{Protection, SegmentMapping};
pub(crate) use others::{
    MessageQueue, SemaphoreSet, message_queues, queue_at, remove_queue, remove_semaphore_set, semaphore_set_at,
    semaphore_sets, users_of_semaphores,
};
pub(crate) use procmap::{MapsReader, SegmentFile, SharedFiles};
pub(crate) use rows::{Rows, rows};
pub(crate) use scan::{segment_at, stat_all};
pub(crate) use segment::Identity;
pub use segment::Segment;
pub use table::Segments;
pub(crate) use trace::{
    attach_flags, control_by_index, control_command, get_flags, is_traced, key as key_argument, trace_to,
};

use crate::values::ShmId;

/// Returns the size of a page in bytes: sysconf(3) `_SC_PAGESIZE`.
pub(crate) fn page_size() -> u64 {
    procfs::page_size()
}
