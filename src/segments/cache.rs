//! What was looked up so far.

use std::cell::OnceCell;

use crate::segments::attachments::Attachments;
use crate::system::clock::Clock;
use crate::system::names::Names;
use crate::system::process::Processes;

/// What was looked up so far: each thing once, and only when it is needed.
#[derive(Debug, Default)]
pub struct Lookups {
    /// Users and groups.
    pub names: Names,
    attachments: OnceCell<Attachments>,
    processes: OnceCell<Processes>,
    clock: OnceCell<Clock>,
}

impl Lookups {
    /// Starts with attachments that were found already.
    pub(crate) fn with_attachments(attachments: Attachments) -> Lookups {
        Lookups { attachments: attachments.into(), ..Lookups::default() }
    }

    /// Returns who has which segment attached. The first call looks at the memory map of every process.
    pub(crate) fn attachments(&self) -> &Attachments {
        self.attachments.get_or_init(Attachments::look)
    }

    /// Returns the processes that are alive.
    pub(crate) fn processes(&self) -> &Processes {
        self.processes.get_or_init(Processes::new)
    }

    /// Returns the time of the first call.
    pub(crate) fn clock(&self) -> &Clock {
        self.clock.get_or_init(Clock::now)
    }
}
