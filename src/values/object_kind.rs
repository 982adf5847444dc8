//! The three kinds of System V IPC object.

use std::fmt;

/// A kind of System V IPC object (sysvipc(7)). Each has its own table and its own identifiers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum ObjectKind {
    /// A shared memory segment, which shmget(2) creates.
    Segment,
    /// A semaphore set, which semget(2) creates.
    Semaphores,
    /// A message queue, which msgget(2) creates.
    Queue,
}

impl ObjectKind {
    /// All kinds, in the order in which they are shown.
    pub(crate) const ALL: [ObjectKind; 3] = [Self::Segment, Self::Semaphores, Self::Queue];
}

impl fmt::Display for ObjectKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Segment => "segment",
            Self::Semaphores => "semaphore set",
            Self::Queue => "message queue",
        })
    }
}
