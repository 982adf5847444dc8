//! The lessons of `shmadm demo`: real processes make real calls on real segments, one step at a time.
//!
//! A lesson is a file in `lessons/`, written in the words of `lesson.rs`. `stage.rs` plays its acts, `cast.rs` has its
//! processes, whose own side is `actor.rs`, and `screen.rs` shows each step.

mod actor;
mod cast;
mod lesson;
mod lessons;
mod name;
mod race;
mod request;
mod screen;
mod stage;
mod user;

use std::io;
use std::os::fd::AsFd;

use crate::error::{Error, Result};
use crate::output::{Charset, Output, note_raw, prompt};
use crate::segments::rmid_forced;
use crate::system::namespace::Identity;
use crate::system::signals::ShutdownSignals;
use crate::sysv;

pub(crate) use actor::serve;
pub(crate) use lessons::LESSONS;

use cast::Cast;
use lesson::Lesson;
use screen::Screen;
use stage::Stage;

/// How a lesson ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// It was complete, or the user ended it.
    Done,
    /// A signal came.
    Signal(i32),
}

/// Why a lesson stops.
#[derive(Debug)]
pub(crate) enum Stop {
    /// A signal came.
    Signal(i32),
    /// Standard input has ended, so nobody can press Enter.
    InputEnded,
    /// Something failed.
    Failed(Error),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Stop {
        Stop::Failed(error)
    }
}

/// Prints the lessons, one line each.
pub(crate) fn list(output: &mut Output) -> Result<()> {
    LESSONS.iter().try_for_each(|lesson| output.line(format_args!("{:<13}{}", lesson.name, lesson.about)))
}

/// Shows the lesson with this name. If `pauses` is set, it waits for a line on standard input before each step.
///
/// # Errors
/// Those of every call. The segments and the processes are gone by then, as they are after a signal.
pub(crate) fn play(name: &str, output: &mut Output, pauses: bool) -> Result<End> {
    let Some(lesson) = LESSONS.iter().find(|lesson| lesson.name == name) else {
        return Err(Error::usage(format!("there is no lesson {name:?}")));
    };
    check(lesson)?;
    let stdin = io::stdin().as_fd().try_clone_to_owned().map_err(|error| Error::io("read standard input", &error))?;
    if sysv::is_traced() {
        note_raw("- calls of the lesson begin with the letter of their process, shmadm's own with a dash");
    }
    let mut screen = Screen { output, pauses: pauses.then(|| stdin.into()), charset: Charset::of_locale() };
    match act(lesson, &mut screen) {
        Ok(()) => Ok(End::Done),
        Err(Stop::InputEnded) => {
            prompt("\n");
            screen.output.line("Ended early: the segments and processes of the lesson are gone.")?;
            Ok(End::Done)
        }
        Err(Stop::Signal(signal)) => Ok(End::Signal(signal)),
        Err(Stop::Failed(error)) => Err(error),
    }
}

/// Plays a lesson. When this returns, its processes and segments are gone.
fn act(lesson: &Lesson, screen: &mut Screen<'_>) -> Result<(), Stop> {
    // This may fork, which needs a process with one thread.
    let script = (lesson.script)();
    let cast = Cast::new()?;
    let shutdown = ShutdownSignals::catch().map_err(|error| Error::io("catch signals", &error))?;
    let mut stage = Stage::new(lesson.contents, cast, shutdown);
    screen.text(&script.opening)?;
    if screen.pauses.is_some() {
        screen.text(&how_to_look())?;
    }
    let count = script.steps.len();
    for (index, step) in script.steps.iter().enumerate() {
        screen.pause(&stage.cast, &stage.shutdown)?;
        step.acts.iter().try_for_each(|act| stage.play(act))?;
        screen.show(step, index + 1, count, &mut stage)?;
    }
    screen.pause(&stage.cast, &stage.shutdown)?;
    // Clean up before the last words.
    drop(stage);
    screen.title("What to do about it")?;
    screen.text(&script.closing)?;
    screen.text(&format!("\nLook up: {}.", script.look_up))?;
    Ok(())
}

/// Checks that the kernel does here what the lesson says.
fn check(lesson: &Lesson) -> Result<()> {
    if lesson.needs_lasting_segments && rmid_forced::is_rmid_forced() {
        let cannot = format!("show lesson {}", lesson.name);
        return Err(Error::cannot(
            cannot,
            "kernel.shm_rmid_forced is 1 or cannot be read, so no segment outlives its users here",
        )
        .hint("set it to 0 in an IPC namespace of its own: `unshare -i sh -c 'sysctl -w kernel.shm_rmid_forced=0; shmadm demo'`"));
    }
    Ok(())
}

/// Returns how to look at the segments from another terminal.
fn how_to_look() -> String {
    let look = match Identity::ours() {
        Ok(id) if !id.is_initial() => format!(
            "This is not the first IPC namespace of the machine. Another terminal sees its segments with `shmadm --ns {} list`",
            std::process::id()
        ),
        _ => "Meanwhile, look from another terminal with `shmadm list` or `ipcs -m`".into(),
    };
    format!("The lesson waits between the steps. {look}.")
}
