//! The processes of a lesson, as the process that shows it sees them: starting, asking, ending, and removing what they
//! leave.
//!
//! Each process is connected by a socket. When the socket closes, the process removes the segments it knows and exits
//! (`actor.rs`), so not even SIGKILL of this process leaves anything.

use std::collections::HashSet;
use std::io::{self, BufRead, BufReader, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::Command;

use nix::sys::signal::Signal;
use rustix::process::{Pid, Signal as RawSignal, WaitId, WaitIdOptions, WaitOptions};
use rustix::process::{getpid, kill_process, set_child_subreaper, waitid, waitpid};

use super::Stop;
use super::name::Role;
use super::request::{Outcome, Reply, Request};
use crate::error::{Error, Result};
use crate::linux::{restore_default, uninterrupted};
use crate::output::say;
use crate::segments::lookup;
use crate::system::signals::{ShutdownSignals, Woken};
use crate::sysv::{self, Reason};
use crate::values::{ShmId, visible_path};

/// The arguments with which this program is a process of a lesson.
pub(super) const ACTOR: [&str; 2] = ["demo", "--actor"];

/// The processes. Dropping this ends them and removes the segments that they have left.
#[derive(Debug)]
pub(super) struct Cast {
    actors: Vec<Actor>,
    /// The segments that existed before: they are never ours.
    before: HashSet<ShmId>,
}

/// A process of the lesson. Until the lesson ends it is not waited for, so no other process can get its pid.
#[derive(Debug)]
pub(super) struct Actor {
    pub role: Role,
    pid: Pid,
    /// How it ended.
    pub ended: Option<String>,
    pub parent: Option<Role>,
    /// `None` while the cast ends.
    channel: Option<BufReader<UnixStream>>,
    /// The connection for a child that it may fork.
    spare: Option<UnixStream>,
}

/// The calls that a process made for a request, each with whether it only looked, and what came of it.
#[derive(Debug)]
pub(super) struct Answer {
    pub calls: Vec<(String, bool)>,
    pub result: Result<Outcome, Refusal>,
}

/// Why a request failed.
#[derive(Debug)]
pub(super) struct Refusal {
    pub errno: Option<i32>,
    pub message: String,
}

impl Cast {
    /// Prepares a cast without processes.
    pub(super) fn new() -> Result<Cast> {
        // While SIGCHLD is ignored, a process vanishes as soon as it exits, and its pid can be another one's.
        restore_default(Signal::SIGCHLD).map_err(|errno| Error::io("set up signals", &errno.into()))?;
        // A child of a process of ours becomes our child when its parent ends. If this fails, nobody waits for it here.
        let _ = set_child_subreaper(Some(getpid()));
        let before = lookup::rows()?.map(|row| row.map(|row| row.id)).collect::<Result<_>>()?;
        Ok(Cast { actors: Vec::new(), before })
    }

    /// Returns the processes in the order in which they appeared.
    pub(super) fn actors(&self) -> &[Actor] {
        &self.actors
    }

    pub(super) fn find(&self, role: Role) -> Option<&Actor> {
        self.actors.iter().find(|actor| actor.role == role)
    }

    /// Starts a process, and waits until it is ready.
    pub(super) fn start(&mut self, role: Role, shutdown: &ShutdownSignals) -> Result<(), Stop> {
        self.actors.push(Actor::start(role)?);
        let ready = self.answer(role, shutdown)?;
        ready.result.map(drop).map_err(|refusal| Self::cannot(role, &refusal).into())
    }

    /// Adds a child that a process has forked.
    pub(super) fn adopt(&mut self, parent: Role, child: Role, pid: i32) -> Result<(), Stop> {
        let spare = self.actors.iter_mut().find(|actor| actor.role == parent).and_then(|actor| actor.spare.take());
        let (Some(channel), Some(pid)) = (spare, Pid::from_raw(pid)) else {
            return Err(Self::has_ended(parent).into());
        };
        let channel = Some(BufReader::new(channel));
        self.actors.push(Actor { role: child, pid, ended: None, parent: Some(parent), channel, spare: None });
        Ok(())
    }

    /// Asks a process to do something. [`Cast::answer`] returns the answer.
    pub(super) fn ask(&mut self, role: Role, request: &Request) -> Result<(), Stop> {
        let line = serde_json::to_string(request).map_err(|error| Error::failed(error.to_string()))?;
        let channel = self.channel(role)?.get_mut();
        // One write: if the process has gone, this fails with EPIPE.
        channel.write_all(format!("{line}\n").as_bytes()).map_err(|_| Self::has_ended(role).into())
    }

    /// Waits for the answer of a process.
    pub(super) fn answer(&mut self, role: Role, shutdown: &ShutdownSignals) -> Result<Answer, Stop> {
        let channel = self.channel(role)?;
        let mut calls = Vec::new();
        loop {
            let line = next_line(channel, shutdown)?.ok_or_else(|| Self::has_ended(role))?;
            let reply = serde_json::from_str(&line).map_err(|error| Error::failed(error.to_string()))?;
            match reply {
                Reply::Call { text, is_look } => calls.push((text, is_look)),
                Reply::Done(outcome) => return Ok(Answer { calls, result: Ok(outcome) }),
                Reply::Failed { errno, message } => {
                    return Ok(Answer { calls, result: Err(Refusal { errno, message }) });
                }
            }
        }
    }

    /// Waits until a process has ended, and returns the calls that it still made. How it ended is then known. An answer
    /// means that it lives on.
    pub(super) fn end(&mut self, role: Role, shutdown: &ShutdownSignals) -> Result<Vec<(String, bool)>, Stop> {
        let mut calls = Vec::new();
        while let Some(line) = next_line(self.channel(role)?, shutdown)? {
            match serde_json::from_str(&line).map_err(|error| Error::failed(error.to_string()))? {
                Reply::Call { text, is_look } => calls.push((text, is_look)),
                Reply::Done(_) => {
                    let error = Error::failed(format!("cannot continue: process {role} has not ended, as it must"));
                    return Err(error.into());
                }
                Reply::Failed { errno, message } => return Err(Self::cannot(role, &Refusal { errno, message }).into()),
            }
        }
        let ended = self.how_it_ended(role, shutdown)?;
        if let Some(actor) = self.actors.iter_mut().find(|actor| actor.role == role) {
            actor.ended = Some(ended);
        }
        Ok(calls)
    }

    /// Waits until a process is a zombie: its connection closes a moment before that. Its parent must do so.
    fn how_it_ended(&mut self, role: Role, shutdown: &ShutdownSignals) -> Result<String, Stop> {
        let Some(actor) = self.find(role) else { return Err(Self::has_ended(role).into()) };
        let living = |parent: &Role| self.find(*parent).is_some_and(|parent| parent.ended.is_none());
        let ended = match actor.parent.filter(living) {
            None => end_of_child(actor.pid),
            Some(parent) => {
                let request = Request::Wait { pid: actor.pid() };
                self.ask(parent, &request)?;
                match self.answer(parent, shutdown)?.result {
                    Ok(Outcome::Text(ended)) => Some(ended),
                    _ => None,
                }
            }
        };
        Ok(ended.unwrap_or_else(|| "ended".into()))
    }

    /// Sends SIGKILL.
    pub(super) fn kill(&self, role: Role) -> Result<()> {
        let Some(actor) = self.find(role) else { return Err(Self::has_ended(role)) };
        kill_process(actor.pid, RawSignal::KILL)
            .map_err(|errno| Error::io(format!("kill process {role}"), &errno.into()))
    }

    /// Returns the connections of the living processes. While nothing is asked, one becomes readable only when its
    /// process ends.
    pub(super) fn sources(&self) -> Vec<(Role, BorrowedFd<'_>)> {
        let living = self.actors.iter().filter(|actor| actor.ended.is_none());
        living.filter_map(|actor| Some((actor.role, actor.channel.as_ref()?.get_ref().as_fd()))).collect()
    }

    /// Returns the error for a process that has ended.
    pub(super) fn has_ended(role: Role) -> Error {
        Error::failed(format!("cannot continue: process {role} has ended unexpectedly; run the demo again"))
    }

    /// Returns the error for a request that failed.
    pub(super) fn cannot(role: Role, refusal: &Refusal) -> Error {
        Error::failed(format!("cannot continue: process {role} {}", refusal.message))
    }

    fn channel(&mut self, role: Role) -> Result<&mut BufReader<UnixStream>> {
        let actor = self.actors.iter_mut().find(|actor| actor.role == role && actor.ended.is_none());
        actor.and_then(|actor| actor.channel.as_mut()).ok_or_else(|| Self::has_ended(role))
    }

    /// Removes the segments that the processes have created and left, and says what could not be removed. What fails is
    /// repeated once. None of the processes has been waited for, so their pids are theirs.
    fn sweep(&self) {
        let left = match self.left().or_else(|_| self.left()) {
            Ok(left) => left,
            Err(error) => return say(error.hint("a segment of the lesson may be left")),
        };
        for id in left {
            match sysv::remove(id).or_else(|_| sysv::remove(id)) {
                Err(error) if error.reason != Reason::NoSuchSegment => {
                    let failure = Error::call(format_args!("remove segment id:{id} of the lesson"), error);
                    say(failure.hint(format_args!("remove it with `shmadm remove id:{id}`")));
                }
                _ => {}
            }
        }
    }

    /// Returns the segments that the processes have created and left.
    fn left(&self) -> Result<Vec<ShmId>> {
        let is_ours = |pid: i32| self.actors.iter().any(|actor| actor.pid() == pid);
        let mut left = lookup::rows()?.collect::<Result<Vec<_>>>()?;
        left.retain(|row| is_ours(row.cpid) && !self.before.contains(&row.id) && !row.is_marked());
        Ok(left.into_iter().map(|row| row.id).collect())
    }
}

impl Drop for Cast {
    fn drop(&mut self) {
        for actor in &mut self.actors {
            // SIGKILL, because it may be stopped. It may also have ended already.
            let _ = kill_process(actor.pid, RawSignal::KILL);
            // If kill(2) is denied, for example by a sandbox, the end of the connection ends it.
            (actor.channel, actor.spare) = (None, None);
        }
        // While a process has a segment attached, a removed segment still exists.
        self.actors.iter().for_each(|actor| drop(end_of_child(actor.pid)));
        self.sweep();
        for actor in &self.actors {
            // A parent comes before its child, which becomes our child when its parent is gone.
            let _ = uninterrupted(|| waitpid(Some(actor.pid), WaitOptions::empty()));
        }
    }
}

impl Actor {
    /// Returns the process's pid as a number.
    pub(super) fn pid(&self) -> i32 {
        self.pid.as_raw_nonzero().get()
    }

    fn start(role: Role) -> Result<Actor> {
        let cannot = |error: &io::Error| Error::io(format_args!("start process {role}"), error);
        let program = std::env::current_exe().map_err(|error| {
            Error::io("find the program shmadm, to start it again", &error).hint("is /proc mounted?")
        })?;
        let (channel, theirs) = UnixStream::pair().map_err(|error| cannot(&error))?;
        let (spare, childs) = UnixStream::pair().map_err(|error| cannot(&error))?;
        // `Command` closes the other ends at the end of this statement, so each connection ends with its process.
        let child = Command::new(&program)
            .arg0("shmadm")
            .args(ACTOR)
            .arg(role.to_string())
            .stdin(OwnedFd::from(theirs))
            .stdout(OwnedFd::from(childs))
            // In its own process group, so that signals from a terminal reach only the first process.
            .process_group(0)
            .spawn()
            .map_err(|error| {
                Error::io(format_args!("start a process from {}", visible_path(&program)), &error)
                    .hint("if the program was moved or replaced meanwhile, run the demo again")
            })?;
        let pid = Pid::from_child(&child);
        Ok(Actor { role, pid, ended: None, parent: None, channel: Some(BufReader::new(channel)), spare: Some(spare) })
    }
}

/// Waits for the end of a child, which stays a zombie, and returns how it ended; `None` if it is no child of this process.
pub(super) fn end_of_child(pid: Pid) -> Option<String> {
    let status = uninterrupted(|| waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT)).ok()??;
    Some(match (status.exit_status(), status.terminating_signal()) {
        (_, Some(signal)) => {
            let name = Signal::try_from(signal).map_or_else(|_| signal.to_string(), |known| known.to_string());
            format!("killed by {name}")
        }
        (Some(0), _) => "exited".into(),
        (status, _) => format!("exited ({})", status.unwrap_or_default()),
    })
}

/// Reads the next line; `None` at the end of the connection. A process writes only whole lines.
fn next_line(channel: &mut BufReader<UnixStream>, shutdown: &ShutdownSignals) -> Result<Option<String>, Stop> {
    let cannot = |error: &io::Error| Error::io("hear from a process of the lesson", error);
    if channel.buffer().is_empty()
        && let Woken::Signal(signal) =
            shutdown.wait_readable(&[channel.get_ref().as_fd()]).map_err(|error| cannot(&error))?
    {
        return Err(Stop::Signal(signal));
    }
    let mut line = String::new();
    match channel.read_line(&mut line) {
        Ok(0) => Ok(None),
        Ok(_) => Ok(Some(line)),
        // A process that was killed before it read what it was asked.
        Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Ok(None),
        Err(error) => Err(cannot(&error).into()),
    }
}
