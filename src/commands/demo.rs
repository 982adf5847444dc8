use clap::Args;
use clap::builder::{PossibleValue, PossibleValuesParser};

use super::Context;
use crate::demo::{self, End, LESSONS};
use crate::error::{Result, Status};

/// Show how shared memory works and what goes wrong with it, with real processes
///
/// A lesson creates a segment, and its processes make real calls on it, one step at a time. Each step shows what happens
/// and why, the system calls with their results, a picture of who has what attached, and the segment's row of `shmadm
/// list`. The end says what to do about it. Nothing is left behind.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    shmadm demo                    all steps of the first lesson at once\n  \
    shmadm demo --list             the lessons, one line each\n  \
    shmadm demo race --pause       one step at a time; meanwhile, look with\n                                 \
                                   `shmadm list` or `ipcs -m`\n  \
    shmadm demo crash | less")]
pub(super) struct Demo {
    /// The lesson; `--list` names them
    #[arg(value_name = "LESSON", value_parser = lessons(), hide_possible_values = true)]
    #[arg(default_value = LESSONS[0].name)]
    lesson: String,
    /// Print the lessons, one line each
    #[arg(long, conflicts_with_all = ["lesson", "pause"])]
    list: bool,
    /// Wait for Enter before each step; Ctrl-D ends the lesson
    #[arg(long)]
    pause: bool,
    /// Be a process of the lesson that another shmadm shows
    #[arg(long, value_name = "NAME", hide = true, conflicts_with_all = ["lesson", "list", "pause"])]
    actor: Option<String>,
}

impl Demo {
    pub(super) fn run(&self, context: &mut Context) -> Result<Status> {
        if self.actor.is_some() {
            // Standard output is the connection of a child that may be forked. It must end with that child.
            context.output = context.output.on_stderr()?;
            demo::serve()?;
            return Ok(Status::Done);
        }
        if self.list {
            demo::list(&mut context.output)?;
            return Ok(Status::Done);
        }
        match demo::play(&self.lesson, &mut context.output, self.pause)? {
            End::Done => Ok(Status::Done),
            End::Signal(signal) => Ok(Status::Signal(signal)),
        }
    }
}

/// Accepts the names of the lessons, which completion offers too.
fn lessons() -> PossibleValuesParser {
    PossibleValuesParser::new(LESSONS.iter().map(|lesson| PossibleValue::new(lesson.name).help(lesson.about)))
}
