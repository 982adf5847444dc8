//! The options of the commands that attach a segment.

use clap::Args;

use crate::commands::Context;
use crate::error::{Error, Result, Status};
use crate::output::say;
use crate::system::signals::ShutdownSignals;
use crate::sysv::Attachment;
use crate::values::{Period, c_integer};

#[derive(Debug, Args)]
pub(in crate::commands) struct Attaching {
    /// Stay attached for DURATION, or until a signal, so that others can see the attachment
    #[arg(long, value_name = "DURATION", num_args = 0..=1, require_equals = true)]
    hold: Option<Option<Period>>,
    /// Attach at this address
    #[arg(long, value_name = "ADDR", value_parser = address)]
    at: Option<usize>,
}

impl Attaching {
    pub(in crate::commands) fn at(&self) -> Option<usize> {
        self.at
    }

    pub(in crate::commands) fn is_held(&self) -> bool {
        self.hold.is_some()
    }

    /// Keeps the segment attached if requested, then detaches it. Standard output is flushed first.
    pub(in crate::commands) fn hold(
        &self,
        attachment: Attachment,
        name: &str,
        context: &mut Context,
    ) -> Result<Status> {
        let Some(limit) = self.hold else {
            return Ok(Status::Done);
        };
        // Flushed before signals are caught: if the reader blocks, a signal must still end the process.
        context.output.flush()?;
        let shutdown = ShutdownSignals::catch().map_err(|error| Error::io("catch signals", &error))?;
        say(format_args!("holding {name}, attached at {:#x}, as process {}", attachment.address(), std::process::id()));
        let signal =
            shutdown.wait(limit.map(|limit| limit.0)).map_err(|error| Error::io("wait for a signal", &error))?;
        Ok(signal.map_or(Status::Done, Status::Signal))
    }
}

fn address(word: &str) -> Result<usize, String> {
    match c_integer(word).map(usize::try_from) {
        // SHM_REMAP does not accept a null address, and for shmat(2) null means any address.
        Ok(Ok(address)) if address > 0 => Ok(address),
        _ => Err("an address is a number in C notation, and not 0: 0x7f0000000000".into()),
    }
}
