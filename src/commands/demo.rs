use std::io;

use clap::Args;

use super::Context;
use crate::demo::{self, End};
use crate::error::{Result, Status};

/// Show the life of a segment, step by step, with two real processes
///
/// Makes a segment, attaches it, writes to it, lets a second process attach and read, detaches, removes it while it is
/// attached, and lets the last attachment go. Each step shows what happens and why, the system calls with their
/// results, a picture of both processes, and the segment's row of `shmadm list`. Nothing is left behind, however it ends.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    shmadm demo                    all eight steps at once\n  \
    shmadm demo --pause            one at a time; look meanwhile from another terminal, with\n                                 \
                                   `shmadm list` or `ipcs -m`\n  \
    shmadm demo | less")]
pub(super) struct Demo {
    /// Wait for Enter before each step; the end of the input (Ctrl-D) ends it
    #[arg(long)]
    pause: bool,
    /// Be the second process of the demonstration that this process gives
    #[arg(long, value_name = "PID", hide = true, conflicts_with = "pause")]
    second_process: Option<i32>,
}

impl Demo {
    pub(super) fn run(&self, context: &mut Context) -> Result<Status> {
        if let Some(first) = self.second_process {
            demo::serve(first, io::stdin().lock(), &mut context.output)?;
            return Ok(Status::Done);
        }
        match demo::play(&mut context.output, self.pause)? {
            End::Done => Ok(Status::Done),
            End::Signal(signal) => Ok(Status::Signal(signal)),
        }
    }
}
