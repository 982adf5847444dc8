//! The second process of the demonstration: another shmadm, which attaches, reads and detaches on request.
//!
//! It reads one command per line from its standard input. Its standard output and standard error are one pipe, so that
//! its calls, answers and errors arrive in order. When its input ends, the first process has ended. The second process
//! then removes the segment if it is left, so that not even SIGKILL leaves one behind.

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

/// The prefix of an answer. A call starts with its name, an error with the program's name.
const ANSWER: &str = "done ";
const COMPLAINT: &str = "shmadm: ";

/// The second process, as the first one sees it.
#[derive(Debug)]
pub(super) struct SecondProcess {
    child: Child,
    /// Its standard input. When this closes, it exits by itself.
    words: Option<ChildStdin>,
    answers: BufReader<PipeReader>,
}

/// The calls of the second process and their result.
#[derive(Debug)]
pub(super) struct Answer {
    /// Its calls, in the notation of strace(1).
    pub calls: Vec<String>,
    /// The result: an address, or a text.
    pub text: String,
}

impl SecondProcess {
    /// Starts the process, with the command line that runs [`serve`].
    pub(super) fn start() -> Result<SecondProcess> {
        let cannot = |error: &io::Error| Error::io("start a second process", error);
        let program = std::env::current_exe().map_err(|error| {
            Error::io("find the program shmadm, to start it a second time", &error).hint("is /proc mounted?")
        })?;
        let (answers, writer) = io::pipe().map_err(|error| cannot(&error))?;
        let errors = writer.try_clone().map_err(|error| cannot(&error))?;
        // `Command` closes its writing ends at the end of this statement, so the pipe ends when the process exits.
        let mut child = Command::new(&program)
            .args(["--trace", "demo", "--second-process", &std::process::id().to_string()])
            .stdin(Stdio::piped())
            .stdout(writer)
            .stderr(errors)
            // In its own process group, so that signals from a terminal reach only the first process.
            .process_group(0)
            .spawn()
            .map_err(|error| {
                Error::io(format_args!("start a second process from {}", visible_path(&program)), &error)
                    .hint("if the program was moved or replaced meanwhile, run the demo again")
            })?;
        let words = child.stdin.take();
        Ok(SecondProcess { child, words, answers: BufReader::new(answers) })
    }

    /// Returns its pid.
    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends it the key of the segment, which it must remove if we cannot.
    pub(super) fn watch(&mut self, key: Key, shutdown: &ShutdownSignals) -> Result<(), Stop> {
        self.ask(&format!("key {key}"), shutdown).map(drop)
    }

    /// Makes it find the segment, and attach it read-only if it has this identifier. The answer is the address.
    pub(super) fn attach(&mut self, id: ShmId, shutdown: &ShutdownSignals) -> Result<Answer, Stop> {
        self.ask(&format!("attach {id}"), shutdown)
    }

    /// Makes it read the text in the segment. The text is escaped.
    pub(super) fn read(&mut self, shutdown: &ShutdownSignals) -> Result<Answer, Stop> {
        self.ask("read", shutdown)
    }

    /// Makes it detach.
    pub(super) fn detach(&mut self, shutdown: &ShutdownSignals) -> Result<Answer, Stop> {
        self.ask("detach", shutdown)
    }

    /// Returns a source to poll. Unless a command was sent, it becomes readable only when the process ends.
    pub(super) fn as_source(&self) -> std::os::fd::BorrowedFd<'_> {
        self.answers.get_ref().as_fd()
    }

    /// Returns the error for a process that has ended.
    pub(super) fn has_ended() -> Error {
        Error::failed("cannot continue: the second process has ended unexpectedly; run the demo again")
    }

    fn ask(&mut self, word: &str, shutdown: &ShutdownSignals) -> Result<Answer, Stop> {
        // One write: if the process has gone, this fails with EPIPE.
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
                return Err(Error::failed(format!("cannot continue: the second process {complaint}")).into());
            }
            calls.push(line);
        }
    }

    /// Reads its next line. It writes only whole lines.
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
    /// Ends the process and waits for it: while it is attached, a removed segment still exists.
    fn drop(&mut self) {
        // SIGKILL, because it may be stopped. It may also have ended already.
        let _ = self.child.kill();
        // If kill(2) is denied, for example by a sandbox, the end of its input ends it.
        self.words = None;
        let _ = self.child.wait();
    }
}

/// Runs the second process until the end of its input. `first` is the pid of the first process.
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
                return Err(Error::failed("cannot follow standard input; --second-process is only for the demo"));
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

/// Finds the segment by its key, and attaches it only if the first process created it: another one must not be touched.
fn attach(key: Option<Key>, id: &str, first: i32) -> Result<Attachment> {
    let Some(key) = key else { return Err(Error::failed("cannot attach a segment: no key was named")) };
    let found = sysv::find(key).map_err(|error| Error::call(format_args!("find segment {key}"), error))?;
    let name = format!("segment {key} (id {id})");
    let missing = || lookup::missing("attach", &name, None);
    let found = found.ok_or_else(missing)?;
    let look = lookup::current(found).map_err(|error| Error::call(format_args!("look at {name}"), error))?;
    let now = look.ok_or_else(missing)?;
    if found.to_string() != id || now.cpid != first {
        return Err(Error::failed(format!(
            "cannot attach {name}: somebody has removed it, and its key has another segment by now (id {found}); run the \
             demo again"
        )));
    }
    attach::attach(found, &name, "attach", Access::Read, Placement::default())
}

/// Returns the text at the beginning of an attached segment, up to its NUL, escaped.
pub(super) fn text(attachment: &Attachment) -> Result<String> {
    let name = format!("segment id:{}", attachment.id());
    let contents = attachment.contents(Access::Read);
    let mut bytes = [0; 64];
    contents.read_at(&mut bytes, 0).map_err(|error| attach::page_error(format_args!("read {name}"), &error))?;
    let length = bytes.iter().position(|b| *b == 0).unwrap_or(bytes.len());
    Ok(visible(&bytes[..length]).into_owned())
}

/// Removes the segment with this key if the first process, which has ended, created it and left it.
fn remove_what_is_left(key: Key, first: i32) {
    // Nobody can be told of a failure, and usually the segment is already gone.
    if let Ok(Some(id)) = sysv::find(key)
        && let Ok(Some(segment)) = lookup::current(id)
        && segment.cpid == first
    {
        let _ = sysv::remove(id);
    }
}
