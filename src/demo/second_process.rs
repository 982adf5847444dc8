//! The second process of the demonstration: shmadm once more, which attaches, reads and detaches when it is told to.
//!
//! It takes a word a line from its standard input. Its standard output and standard error are one pipe, so that its
//! calls, its answers and its complaints come in their order. Where its input ends, the first process has ended: then it
//! removes what that one has left, which is how not even SIGKILL leaves a segment behind.

use std::io::{self, BufRead, BufReader, PipeReader, Write};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, Command, Stdio};

use super::Stop;
use crate::contents::attach;
use crate::error::{Error, Result};
use crate::output::Output;
use crate::segments::lookup;
use crate::system::signals::{ShutdownSignals, Woken};
use crate::sysv::{self, Access, Attachment, Placement};
use crate::values::{Key, ShmId, visible, visible_path};

/// What an answer begins with; a call begins with its name, a complaint with the program's.
const ANSWER: &str = "done ";
const COMPLAINT: &str = "shmadm: ";

/// As the first process sees it.
#[derive(Debug)]
pub(super) struct SecondProcess {
    child: Child,
    /// Until the end: without input it ends by itself.
    words: Option<ChildStdin>,
    answers: BufReader<PipeReader>,
}

/// What the second process did, and what came of it.
#[derive(Debug)]
pub(super) struct Answer {
    /// Its calls, as strace(1) writes them.
    pub calls: Vec<String>,
    /// The result: an address, or a text.
    pub text: String,
}

impl SecondProcess {
    /// Starts it, by the command line that [`serve`]s.
    pub(super) fn start() -> Result<SecondProcess> {
        let cannot = |error: &io::Error| Error::io("start a second process", error);
        let program = std::env::current_exe().map_err(|error| {
            Error::io("find the program shmadm, to start it a second time", &error).hint("is /proc mounted?")
        })?;
        let (answers, writer) = io::pipe().map_err(|error| cannot(&error))?;
        let errors = writer.try_clone().map_err(|error| cannot(&error))?;
        // The writing ends go with the command, at the end of this statement: the pipe ends when the process does.
        let mut child = Command::new(&program)
            .args(["--trace", "demo", "--second-process", &std::process::id().to_string()])
            .stdin(Stdio::piped())
            .stdout(writer)
            .stderr(errors)
            // What a terminal sends to all of a job is for the first process to answer.
            .process_group(0)
            .spawn()
            .map_err(|error| {
                Error::io(format_args!("start a second process from {}", visible_path(&program)), &error)
                    .hint("if the program was moved or replaced meanwhile, run the demo again")
            })?;
        let words = child.stdin.take();
        Ok(SecondProcess { child, words, answers: BufReader::new(answers) })
    }

    /// Its pid.
    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Tells it the key of the segment that it is to remove if we cannot.
    pub(super) fn watch(&mut self, key: Key, shutdown: &ShutdownSignals) -> Result<(), Stop> {
        self.ask(&format!("key {key}"), shutdown).map(drop)
    }

    /// Lets it find the segment, and attach it read-only if it is the one with this identifier. The answer is the address.
    pub(super) fn attach(&mut self, id: ShmId, shutdown: &ShutdownSignals) -> Result<Answer, Stop> {
        self.ask(&format!("attach {id}"), shutdown)
    }

    /// Lets it read the text that is in the segment, made visible.
    pub(super) fn read(&mut self, shutdown: &ShutdownSignals) -> Result<Answer, Stop> {
        self.ask("read", shutdown)
    }

    /// Lets it detach.
    pub(super) fn detach(&mut self, shutdown: &ShutdownSignals) -> Result<Answer, Stop> {
        self.ask("detach", shutdown)
    }

    /// What can be read from when it has ended, and else only after a word.
    pub(super) fn as_source(&self) -> std::os::fd::BorrowedFd<'_> {
        self.answers.get_ref().as_fd()
    }

    /// Why nothing more can be done with it.
    pub(super) fn has_ended() -> Error {
        Error::failed("cannot go on: the second process has ended, and not by our doing; run the demo again")
    }

    fn ask(&mut self, word: &str, shutdown: &ShutdownSignals) -> Result<Answer, Stop> {
        // One write: where the process has gone, this fails by EPIPE.
        let said = self.words.as_mut().map(|words| words.write_all(format!("{word}\n").as_bytes()));
        if said.is_none_or(|said| said.is_err()) {
            return Err(Self::has_ended().into());
        }
        let mut calls = Vec::new();
        loop {
            let line = self.line(shutdown)?;
            if let Some(text) = line.strip_prefix(ANSWER) {
                return Ok(Answer { calls, text: text.into() });
            }
            if let Some(complaint) = line.strip_prefix(COMPLAINT) {
                return Err(Error::failed(format!("cannot go on: the second process {complaint}")).into());
            }
            calls.push(line);
        }
    }

    /// The next line that it writes. It writes whole lines.
    fn line(&mut self, shutdown: &ShutdownSignals) -> Result<String, Stop> {
        let cannot = |error: &io::Error| Error::io("hear from the second process", error);
        if self.answers.buffer().is_empty()
            && let Woken::Signal(signal) =
                shutdown.wait_readable(&[self.as_source()]).map_err(|error| cannot(&error))?
        {
            return Err(Stop::Signal(signal));
        }
        let mut line = String::new();
        match self.answers.read_line(&mut line) {
            Ok(0) => Err(Self::has_ended().into()),
            Ok(_) => Ok(line.trim_end_matches('\n').into()),
            Err(error) => Err(cannot(&error).into()),
        }
    }
}

impl Drop for SecondProcess {
    /// Sees it ended: while it is attached, a segment that was removed is still there.
    fn drop(&mut self) {
        // SIGKILL, because it may be stopped. It may also have ended already.
        let _ = self.child.kill();
        // Where kill(2) is denied, as a sandbox may do, it ends for want of input.
        self.words = None;
        let _ = self.child.wait();
    }
}

/// What the second process does, from its first word to the end of its input. `first` is the pid of the first one.
pub(crate) fn serve(first: i32, words: impl BufRead, output: &mut Output) -> Result<()> {
    let mut key = None;
    let mut attachment = None;
    for word in words.lines() {
        let word = word.map_err(|error| Error::io("read standard input", &error))?;
        let answer = match (word.split_once(' '), &*word) {
            (Some(("key", word)), _) => {
                key = Some(word.parse::<Key>().map_err(|error| Error::failed(error.to_string()))?);
                String::new()
            }
            (Some(("attach", id)), _) => {
                let attached = attach(key, id, first)?;
                let address = format!("{:#x}", attached.address());
                attachment = Some(attached);
                address
            }
            (_, "read") => attachment.as_ref().map_or(Ok(String::new()), text)?,
            (_, "detach") => {
                attachment = None;
                String::new()
            }
            _ => {
                return Err(Error::failed(
                    "cannot do what standard input says; --second-process is for the demo alone",
                ));
            }
        };
        output.line(format_args!("{ANSWER}{answer}"))?;
        output.flush()?;
    }
    drop(attachment);
    if let Some(key) = key {
        remove_what_is_left(key, first);
    }
    Ok(())
}

/// Finds the segment by its key, and attaches it if it is the first process's: to attach another one is to touch it.
fn attach(key: Option<Key>, id: &str, first: i32) -> Result<Attachment> {
    let Some(key) = key else { return Err(Error::failed("cannot attach a segment: no key was named")) };
    let found = sysv::find(key).map_err(|error| Error::call(format_args!("find segment {key}"), error))?;
    let name = format!("segment {key} (id {id})");
    let missing = || lookup::missing("attach", &name, None);
    let found = found.ok_or_else(missing)?;
    let look = lookup::look(found).map_err(|error| Error::call(format_args!("look at {name}"), error))?;
    let now = look.ok_or_else(missing)?;
    if found.to_string() != id || now.cpid != first {
        return Err(Error::failed(format!(
            "cannot attach {name}: somebody has removed it, and its key has another segment by now (id {found}); run the \
             demo again"
        )));
    }
    attach::attach(found, &name, "attach", Access::Read, Placement::default())
}

/// The text at the beginning of an attached segment, up to its NUL, made visible.
pub(super) fn text(attachment: &Attachment) -> Result<String> {
    let name = format!("segment id:{}", attachment.id());
    let contents = attachment.contents(Access::Read);
    let mut bytes = [0; 64];
    contents.read_at(&mut bytes, 0).map_err(|error| attach::page_error(format_args!("read {name}"), &error))?;
    let length = bytes.iter().position(|b| *b == 0).unwrap_or(bytes.len());
    Ok(visible(&bytes[..length]).into_owned())
}

/// Removes the segment of this key if it is the first process's, which has ended without it.
fn remove_what_is_left(key: Key, first: i32) {
    // Nobody is there to be told that any of this failed, and mostly the segment is gone.
    if let Ok(Some(id)) = sysv::find(key)
        && let Ok(Some(segment)) = lookup::look(id)
        && segment.cpid == first
    {
        let _ = sysv::remove(id);
    }
}
