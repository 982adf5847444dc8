//! Looking up names in files that belong to the traced programs, safely.
//!
//! A file can be made so that a library that reads it overflows the stack, or allocates without end. So a child process
//! reads the files, with limits on memory and time. If it dies, only the names of one stack are lost.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::iter;
use std::slice;
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rustix::process::{DumpableBehavior, WaitOptions, set_dumpable_behavior, waitpid};
use rustix::stdio::dup2_stderr;

use super::symbols::{Detail, Frame, Symbolizer};
use super::{MAX_FRAMES, Place};
use crate::linux::{in_child, restore_default, uninterrupted};
use crate::system::deadline::UntilDeadline;
use crate::system::memory_left::memory_left;

/// The address space of the child process in bytes, unless half of the memory that is left is less.
const MAX_MEMORY: u64 = 1 << 30;
/// The maximum number of frames of a stack, with inlined functions.
const MAX_DESCRIBED: usize = 4 * MAX_FRAMES;
/// The maximum number of bytes of an answer.
const MAX_ANSWER: u64 = 64 << 20;

/// The maximum time to wait for a killed process.
const MAX_DEATH: Duration = Duration::from_millis(250);

/// Returns the frames of these stacks, innermost first. After `limit` it stops, and the remaining frames have no names. No
/// stack takes more than half of the time that is left.
///
/// Frames also have no names if no child process can be created (this process has other threads, or RLIMIT_NPROC is
/// reached), or if reading their files takes too much memory.
pub(crate) fn describe(stacks: &[Vec<Place>], limit: Duration) -> Vec<Vec<Frame>> {
    let deadline = Instant::now() + limit;
    let bare = |stack: &Vec<Place>| stack.iter().map(Frame::bare).collect();
    let mut described = Vec::new();
    while described.len() < stacks.len() && Instant::now() < deadline {
        described.extend(look_up(&stacks[described.len()..], Detail::Lines, deadline));
        // The child process has died at this stack. Most often that is because of its debug information.
        if let Some(stack) = stacks.get(described.len()) {
            let named = look_up(slice::from_ref(stack), Detail::Functions, deadline).pop();
            described.push(named.unwrap_or_else(|| bare(stack)));
        }
    }
    described.extend(stacks[described.len()..].iter().map(bare));
    described
}

/// Looks up the names of these stacks in a child process, until it ends or the deadline has passed.
fn look_up(stacks: &[Vec<Place>], detail: Detail, deadline: Instant) -> Vec<Vec<Frame>> {
    let Ok((reader, writer)) = io::pipe() else { return Vec::new() };
    // While SIGCHLD is ignored, a child's pid is free as soon as it exits.
    if restore_default(Signal::SIGCHLD).is_err() {
        return Vec::new();
    }
    let child = in_child(|| {
        if confine().is_err() {
            return 1;
        }
        let mut symbolizer = Symbolizer::new(detail);
        let answer = |stack: &Vec<Place>| -> io::Result<()> {
            let frames = stack.iter().flat_map(|place| symbolizer.frames(place));
            let frames: Vec<Frame> = frames.take(MAX_DESCRIBED).collect();
            let mut line = serde_json::to_vec(&frames)?;
            line.push(b'\n');
            (&writer).write_all(&line)
        };
        i32::from(stacks.iter().try_for_each(answer).is_err())
    });
    drop(writer);
    let Ok(child) = child else { return Vec::new() };
    let mut answers = BufReader::new(UntilDeadline { reader, deadline }.take(MAX_ANSWER));
    let next = || {
        let now = Instant::now();
        answers.get_mut().get_mut().deadline = now + deadline.saturating_duration_since(now) / 2;
        let mut line = Vec::new();
        answers.read_until(b'\n', &mut line).ok()?;
        serde_json::from_slice(&line).ok()
    };
    let described = iter::from_fn(next).take(stacks.len()).collect();
    end(child);
    described
}

/// Limits this process, which is about to read files that other users control.
fn confine() -> io::Result<()> {
    // Rust's runtime reports a stack overflow on standard error.
    dup2_stderr(File::options().write(true).open("/dev/null")?)?;
    set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    let left = memory_left().map_or(u64::MAX, |left| left.bytes / 2);
    let (_, hard) = getrlimit(Resource::RLIMIT_AS)?;
    Ok(setrlimit(Resource::RLIMIT_AS, MAX_MEMORY.min(left).min(hard), hard)?)
}

/// Kills a child process and waits for it. If it does not end soon, because a file system does not answer, its next parent
/// waits for it.
fn end(child: Pid) {
    let _ = kill(child, Signal::SIGKILL);
    let pid = rustix::process::Pid::from_raw(child.as_raw());
    let deadline = Instant::now() + MAX_DEATH;
    while matches!(uninterrupted(|| waitpid(pid, WaitOptions::NOHANG)), Ok(None)) && Instant::now() < deadline {
        sleep(Duration::from_millis(1));
    }
}
