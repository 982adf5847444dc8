//! A cache of lookups.

use std::cell::OnceCell;

use crate::segments::attachments::Attachments;
use crate::system::clock::Clock;
use crate::system::names::Names;
use crate::system::process::Processes;

/// Caches lookups: each is done once, and only when needed.
#[derive(Debug, Default)]
pub struct Lookups {
    /// Users and groups.
    pub names: Names,
    attachments: OnceCell<Attachments>,
    processes: OnceCell<Processes>,
    clock: OnceCell<Clock>,
}

impl Lookups {
    /// Creates a cache with known attachments.
    pub(crate) fn with_attachments(attachments: Attachments) -> Lookups {
        Lookups { attachments: attachments.into(), ..Lookups::default() }
    }

    /// Returns all attachments. The first call reads the memory map of every process.
    pub(crate) fn attachments(&self) -> &Attachments {
        self.attachments.get_or_init(Attachments::look)
    }

    /// Returns the cache of live processes.
    pub(crate) fn processes(&self) -> &Processes {
        self.processes.get_or_init(Processes::new)
    }

    /// Returns the time of the first call.
    pub(crate) fn clock(&self) -> &Clock {
        self.clock.get_or_init(Clock::now)
    }
}
