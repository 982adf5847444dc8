//! Plays the acts of a lesson, and keeps what is known about its processes and segments.

mod contest;
mod look;
mod outcome;

use std::io::{self, Read};
use std::process::{Command, ExitStatus, Stdio};

use nix::errno::Errno;

use super::Stop;
use super::cast::{Actor, Cast};
use super::lesson::{Act, Contents, Expected, What};
use super::name::{Label, Role};
use super::race::Event;
use super::request::{Known, Request};
use crate::error::{Error, Result};
use crate::output::escaped_lines;
use crate::system::signals::ShutdownSignals;
use crate::sysv::Access;
use crate::values::Key;

/// What a new segment contains.
const NEW: &str = "0 0 0 0 0 0 0 0 0";

/// What the lesson knows. Dropping this ends the processes and removes the segments.
#[derive(Debug)]
pub(super) struct Stage {
    pub cast: Cast,
    pub shutdown: ShutdownSignals,
    contents: Contents,
    segments: Vec<LessonSegment>,
    pub attached: Vec<Attached>,
    /// The lines about the acts of this step, each with the process that did it.
    pub shown: Vec<(Option<Role>, String)>,
    pub race: Option<Race>,
}

/// A segment of the lesson.
#[derive(Debug)]
pub(super) struct LessonSegment {
    pub known: Known,
    /// What an attached process has last read there.
    pub text: String,
    /// Whether something has been written: reading a page that was never touched would allocate it.
    is_written: bool,
}

/// An attachment.
#[derive(Debug, Clone, Copy)]
pub(super) struct Attached {
    pub role: Role,
    pub label: Label,
    pub address: usize,
    pub access: Access,
}

/// The result of a race.
#[derive(Debug)]
pub(super) struct Race {
    /// How often each process has added 1.
    pub count: u32,
    /// The number at the end.
    pub found: u64,
    /// How many races it took.
    pub tries: u32,
    /// An update that was lost.
    pub events: Option<[Event; 4]>,
}

impl Stage {
    pub(super) fn new(contents: Contents, cast: Cast, shutdown: ShutdownSignals) -> Stage {
        Stage { cast, shutdown, contents, segments: Vec::new(), attached: Vec::new(), shown: Vec::new(), race: None }
    }

    /// Plays an act.
    ///
    /// # Errors
    /// A signal; what the act did not do as it must.
    pub(super) fn play(&mut self, act: &Act) -> Result<(), Stop> {
        match &act.what {
            What::Does(role, request) => self.does(*role, request, act.expected),
            What::Race { roles, label, count, is_locked } => self.race(*roles, *label, *count, *is_locked),
            What::Kill(role) => {
                self.cast.kill(*role)?;
                let calls = self.cast.end(*role, &self.shutdown)?;
                self.has_ended(*role, calls);
                Ok(())
            }
            What::Run(words) => Ok(self.run(words)?),
        }
    }

    fn does(&mut self, role: Role, request: &Request, expected: Expected) -> Result<(), Stop> {
        if self.cast.find(role).is_none() {
            self.cast.start(role, &self.shutdown)?;
            self.tell_all()?;
        }
        if let Request::Create { label, is_private, .. } = *request {
            return self.creates(role, label, is_private, request);
        }
        self.cast.ask(role, request)?;
        if self.ends_the_process(role, request) {
            self.note_before(role, request);
            let calls = self.cast.end(role, &self.shutdown)?;
            self.has_ended(role, calls);
            return Ok(());
        }
        let answer = self.cast.answer(role, &self.shutdown)?;
        self.show_calls(role, answer.calls);
        match (answer.result, expected) {
            (Ok(outcome), Expected::Success) => self.done(role, request, outcome),
            // What it found is not the lesson's.
            (Ok(_), Expected::Either(_)) => Ok(()),
            (Ok(_), Expected::Failure(errno)) => Err(Error::failed(format!(
                "cannot continue: a call of process {role} has not failed with {errno:?}, as it must"
            ))
            .hint("a privilege or a security module may be the reason")
            .into()),
            (Err(refusal), Expected::Failure(errno) | Expected::Either(errno))
                if refusal.errno == Some(errno as i32) =>
            {
                Ok(())
            }
            (Err(refusal), _) => Err(Cast::cannot(role, &refusal).into()),
        }
    }

    /// Creates a segment, with an unused key or without a key.
    fn creates(&mut self, role: Role, label: Label, is_private: bool, request: &Request) -> Result<(), Stop> {
        loop {
            let key = if is_private { 0 } else { fastrand::i32(1..) };
            let known = Known { label, key, id: None, creator: 0 };
            self.segments.retain(|segment| segment.known.label != label);
            self.segments.push(LessonSegment { known, text: NEW.into(), is_written: false });
            self.segments.sort_by_key(|segment| segment.known.label);
            self.cast.ask(role, &Request::Know(known))?;
            self.cast.answer(role, &self.shutdown)?;
            self.cast.ask(role, request)?;
            let answer = self.cast.answer(role, &self.shutdown)?;
            match answer.result {
                Ok(outcome) => {
                    self.show_calls(role, answer.calls);
                    return self.done(role, request, outcome);
                }
                Err(refusal) if refusal.errno == Some(Errno::EEXIST as i32) => {}
                Err(refusal) => return Err(Cast::cannot(role, &refusal).into()),
            }
        }
    }

    /// Runs a command of shmadm to its end, and shows it with what it prints.
    fn run(&mut self, words: &[&str]) -> Result<()> {
        let key = self.segments.first().map_or(Key::PRIVATE, |segment| Key::from_raw(segment.known.key)).to_string();
        let words: Vec<_> = words.iter().map(|word| if *word == "KEY" { &*key } else { word }).collect();
        let cannot = |error: &std::io::Error| Error::io("run shmadm", error);
        let program = std::env::current_exe().map_err(|error| cannot(&error))?;
        let (printed, status) = output_of(Command::new(program).args(&words)).map_err(|error| cannot(&error))?;
        self.shown.push((None, format!("$ shmadm {}", words.join(" "))));
        for line in escaped_lines(&printed).lines() {
            self.shown.push((None, line.to_owned()));
        }
        if status.success() { Ok(()) } else { Err(Error::failed("cannot continue: a command of shmadm has failed")) }
    }

    /// Tells every process about every segment, so that each can remove what is left.
    pub(super) fn tell_all(&mut self) -> Result<(), Stop> {
        let roles: Vec<_> = self.cast.sources().into_iter().map(|(role, _)| role).collect();
        let segments: Vec<_> = self.segments.iter().map(|segment| segment.known).collect();
        for role in roles {
            for known in &segments {
                self.silently(role, &Request::Know(*known))?;
            }
        }
        Ok(())
    }

    pub(super) fn segment_mut(&mut self, label: Label) -> Option<&mut LessonSegment> {
        self.segments.iter_mut().find(|segment| segment.known.label == label)
    }

    pub(super) fn pid(&self, role: Role) -> i32 {
        self.cast.find(role).map_or(0, Actor::pid)
    }
}

/// Runs a command to its end. Returns what it prints, and how it ended. `Command::output` panics if it cannot wait for
/// the output.
fn output_of(command: &mut Command) -> io::Result<(Vec<u8>, ExitStatus)> {
    let (mut reader, writer) = io::pipe()?;
    let mut child = command.stdin(Stdio::null()).stdout(writer.try_clone()?).stderr(writer).spawn()?;
    // The command still has the writing ends.
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let mut printed = Vec::new();
    let read = reader.read_to_end(&mut printed);
    drop(reader);
    let status = child.wait()?;
    read.map(|_| (printed, status))
}
