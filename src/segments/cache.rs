//! A cache of lookups.

use std::cell::{Cell, OnceCell};

use crate::segments::attachments::{Attached, Attachments, Proof};
use crate::system::clock::Clock;
use crate::system::names::Names;
use crate::system::processes::Processes;
use crate::sysv::Segment;
use crate::values::Key;

/// Caches lookups: each is done once, and only when needed.
#[derive(Debug, Default)]
pub struct Lookups {
    /// Users and groups.
    pub names: Names,
    attachments: OnceCell<Attachments>,
    processes: OnceCell<Processes>,
    clock: OnceCell<Clock>,
    /// Whether attachments were to be shown and not all of them were found.
    misses_attachments: Cell<bool>,
}

impl Lookups {
    /// Creates a cache with known attachments.
    pub(crate) fn with_attachments(attachments: Attachments) -> Lookups {
        Lookups { attachments: attachments.into(), ..Lookups::default() }
    }

    /// Returns all attachments. The first call reads the memory map of every process.
    pub(crate) fn attachments(&self) -> &Attachments {
        self.attachments.get_or_init(Attachments::find)
    }

    /// Returns the attachments of a segment, to be shown, and notes if not all of them were found.
    pub(crate) fn attachments_of(&self, segment: &Segment) -> Vec<Attached<'_>> {
        let attached = self.attachments().of(segment);
        if (attached.len() as u64) < segment.nattch {
            self.misses_attachments.set(true);
        }
        attached
    }

    /// Returns the key that a segment had before it was marked, to be shown, and notes if no attachment was found that
    /// shows it.
    pub(crate) fn original_key(&self, segment: &Segment) -> Option<(Key, Proof)> {
        let key = self.attachments().original_key(segment);
        if key.is_none() && segment.nattch > 0 {
            self.misses_attachments.set(true);
        }
        key
    }

    /// Returns the attachments if some that were to be shown were not found.
    pub(crate) fn incomplete_attachments(&self) -> Option<&Attachments> {
        self.attachments.get().filter(|_| self.misses_attachments.get())
    }

    /// Returns the cache of live processes.
    pub(crate) fn processes(&self) -> &Processes {
        self.processes.get_or_init(Processes::new)
    }

    /// Returns whether a process was asked for, and /proc does not show the processes of our pid namespace.
    pub(crate) fn misses_processes(&self) -> bool {
        self.processes.get().is_some_and(Processes::are_unknown)
    }

    /// Returns the time of the first call.
    pub(crate) fn clock(&self) -> &Clock {
        self.clock.get_or_init(Clock::now)
    }
}
