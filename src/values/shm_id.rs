//! Segment identifiers.

use std::fmt;

/// A segment's identifier (shmid): 0 or more. 0 is a valid identifier, the first one of a new namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShmId(i32);

impl ShmId {
    /// Returns the identifier with this number; `None` if the number is negative.
    pub fn new(id: i32) -> Option<ShmId> {
        (id >= 0).then_some(ShmId(id))
    }

    /// Returns the identifier for a number that a system call returned, which is never negative.
    pub fn from_kernel(id: i32) -> ShmId {
        debug_assert!(id >= 0);
        ShmId(id)
    }

    /// Returns the number.
    pub fn as_raw(self) -> i32 {
        self.0
    }
}

impl fmt::Display for ShmId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
