use std::io;

use clap::Args;

use super::Context;
use crate::demo::{self, End};
use crate::error::{Result, Status};

/// Show the life of a segment, step by step, with two real processes
///
/// Creates a segment, attaches it, and writes to it. A second process attaches and reads it. Then the segment is detached
/// and removed, and the last detach destroys it. Each step shows what happens and why, the system calls with their
/// results, a picture of both processes, and the segment's row of `shmadm list`. Nothing is left behind.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    shmadm demo                    all eight steps at once\n  \
    shmadm demo --pause            one at a time; meanwhile, look with\n                                 \
                                   `shmadm list` or `ipcs -m`\n  \
    shmadm demo | less")]
pub(super) struct Demo {
    /// Wait for Enter before each step; Ctrl-D ends the demonstration
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
