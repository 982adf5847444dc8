//! A process of a lesson, from its own side: another shmadm, which does what it is asked.
//!
//! It reads one request per line from its standard input, a socket, and answers there. Its standard output is the socket of
//! a child that it may fork. When its input ends, the process that shows the lesson has ended. Then it removes the
//! segments of the lesson that are left, and exits.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::Signal;
use rustix::io::retry_on_intr;
use rustix::net::{Shutdown, shutdown};
use rustix::process::{DumpableBehavior, Pid, set_dumpable_behavior};
use rustix::stdio::{dup2_stdin, dup2_stdout};
use rustix::thread::{CapabilitySet, CapabilitySets, set_capabilities};

use super::cast::{ACTOR, end_of_child};
use super::name::Label;
use super::race;
use super::request::{Known, Outcome, Reply, Request};
use super::user::become_user;
use crate::contents::attach;
use crate::error::{Error, Kind, Result};
use crate::linux;
use crate::segments::{create, lookup};
use crate::sysv::{self, Access, Attachment, NewSegment, Placement};
use crate::values::{Key, Mode, ShmId, visible};

/// Runs a process of a lesson until the end of its input.
pub(crate) fn serve() -> Result<()> {
    sysv::trace_to(|call| {
        let text = call.to_string();
        let is_look = text.starts_with("shmctl(") && text.contains("_STAT") && !text.contains("IPC_STAT, 0x");
        say(&Reply::Call { text, is_look });
    });
    let mut actor = Actor::default();
    say(&Reply::Done(Outcome::Nothing));
    actor.serve()
}

/// What the process knows and has attached.
#[derive(Debug, Default)]
struct Actor {
    known: Vec<Known>,
    attachments: Vec<(Label, Attachment)>,
}

impl Actor {
    fn serve(&mut self) -> Result<()> {
        let mut line = String::new();
        // Standard input is not locked meanwhile: a child reads from it, too.
        while io::stdin().read_line(&mut line).map_err(|error| Error::io("read standard input", &error))? > 0 {
            let request = serde_json::from_str(&line)
                .map_err(|_| Error::failed("cannot follow standard input; --actor is only for the demo"))?;
            match self.act(request) {
                Ok(outcome) => say(&Reply::Done(outcome)),
                Err(error) => {
                    let errno = error.errno.map(|errno| errno as i32);
                    say(&Reply::Failed { errno, message: removed_by_another(error).to_string() });
                }
            }
            line.clear();
        }
        self.attachments.clear();
        self.known.iter().for_each(remove_what_is_left);
        Ok(())
    }

    fn act(&mut self, request: Request) -> Result<Outcome> {
        match request {
            Request::Know(known) => {
                self.known.retain(|other| other.label != known.label);
                self.known.push(known);
            }
            Request::Create { label, size, mode, .. } => {
                let key = Key::from_raw(self.known(label)?.key);
                let new = NewSegment::new(key, size, Mode::from_raw(mode));
                let id = sysv::create(&new).map_err(|error| create::cannot_create(&new, error))?.as_raw();
                let creator = std::process::id().cast_signed();
                self.act(Request::Know(Known { label, key: key.as_raw(), id: Some(id), creator }))?;
                return Ok(Outcome::Id(id));
            }
            Request::Get { label, size, mode, creates } => {
                let key = Key::from_raw(self.known(label)?.key);
                let found = sysv::get(key, size, Mode::from_raw(mode), creates);
                let found = found.map_err(|error| Error::call(format_args!("find segment {key}"), error))?;
                return Ok(Outcome::Id(found.as_raw()));
            }
            Request::Attach { label, is_read_only } => {
                let (id, name) = self.existing(label, "attach")?;
                let access = if is_read_only { Access::Read } else { Access::ReadWrite };
                let attached = attach::attach(id, &name, "attach", access, Placement::default())?;
                let address = attached.address();
                self.attachments.push((label, attached));
                return Ok(Outcome::Address(address));
            }
            Request::Detach { label } => {
                let (_, detached) =
                    self.attachments.extract_if(.., |(other, _)| *other == label).next().ok_or_else(not_attached)?;
                detached.detach().map_err(|error| Error::call("detach the segment", error))?;
            }
            Request::Write { label, text } => {
                let contents = self.attached(label)?.contents(Access::ReadWrite);
                let cannot = |error: &io::Error| attach::page_error("write to the segment", error);
                contents.write_at(format!("{text}\0").as_bytes(), 0).map_err(|error| cannot(&error))?;
            }
            Request::Read { label, is_number: true } => {
                return Ok(Outcome::Text(race::number(self.attached(label)?).to_string()));
            }
            Request::Read { label, is_number: false } => return text(self.attached(label)?).map(Outcome::Text),
            Request::Store { label, byte } => {
                let attached = self.attached(label)?;
                leave_no_core_file();
                // The standard library's handler tries this, too, and if it fails the store is repeated for ever.
                linux::restore_default(Signal::SIGSEGV)
                    .map_err(|errno| Error::io("prepare for SIGSEGV", &errno.into()))?;
                attached.store_byte(0, byte);
            }
            Request::Clear { label } => race::clear(self.attached(label)?),
            Request::Add { label, count, is_locked } => {
                return race::add(self.attached(label)?, count, is_locked).map(Outcome::Updates);
            }
            Request::SetMode { label, mode } => {
                let (id, name) = self.existing(label, "change")?;
                let cannot = |error| Error::call(format_args!("change {name}"), error);
                let now = lookup::current(id).map_err(cannot)?.ok_or_else(|| gone("change", &name))?;
                sysv::set(id, now.uid, now.gid, Mode::from_raw(mode)).map_err(cannot)?;
            }
            Request::Stat { label } => {
                let id = self.id(label)?;
                sysv::stat(id).map_err(|error| Error::call(format_args!("inspect segment id:{id}"), error))?;
            }
            Request::Remove { label } => {
                let (id, name) = self.existing(label, "remove")?;
                sysv::remove(id).map_err(|error| Error::call(format_args!("remove {name}"), error))?;
            }
            Request::Fork { .. } => return self.fork().map(Outcome::Child),
            Request::Wait { pid } => {
                let ended = Pid::from_raw(pid).and_then(end_of_child);
                return ended.map(Outcome::Text).ok_or_else(|| Error::failed(format!("has no child {pid}")));
            }
            Request::Execute => return Err(execute()),
            Request::Become { uid } => {
                become_user(uid).map_err(|errno| Error::io(format_args!("become user {uid}"), &errno.into()))?;
            }
            Request::DropPrivileges => {
                let none = CapabilitySet::empty();
                let sets = CapabilitySets { effective: none, permitted: none, inheritable: none };
                set_capabilities(None, sets).map_err(|errno| Error::io("give up privileges", &errno.into()))?;
            }
            Request::Exit => std::process::exit(0),
        }
        Ok(Outcome::Nothing)
    }

    /// Forks. The child, which inherits the attachments, serves on its own connection.
    fn fork(&mut self) -> Result<i32> {
        let cannot = |error: io::Error| Error::io("fork", &error);
        let child = linux::in_child(|| match dup2_stdin(io::stdout()) {
            Ok(()) => i32::from(self.serve().is_err()),
            Err(_) => 1,
        });
        let child = child.map_err(|errno| cannot(errno.into()))?;
        // The child's connection must end with the child.
        dup2_stdout(io::stderr()).map_err(|errno| cannot(errno.into()))?;
        Ok(child.as_raw())
    }

    fn known(&self, label: Label) -> Result<&Known> {
        self.known.iter().find(|known| known.label == label).ok_or_else(|| Error::failed("does not know the segment"))
    }

    fn id(&self, label: Label) -> Result<ShmId> {
        let id = self.known(label)?.id.and_then(ShmId::new);
        id.ok_or_else(|| Error::failed("does not know the segment's identifier"))
    }

    /// Returns a segment's identifier and name, if it is still the one that was created: another one must not be
    /// touched.
    fn existing(&self, label: Label, verb: &str) -> Result<(ShmId, String)> {
        let (id, known) = (self.id(label)?, self.known(label)?);
        let name = match Key::from_raw(known.key) {
            Key::PRIVATE => format!("segment id:{id}"),
            key => format!("segment {key} (id {id})"),
        };
        let now = lookup::current(id).map_err(|error| Error::call(format_args!("look at {name}"), error))?;
        match now {
            Some(now) if now.cpid == known.creator => Ok((id, name)),
            _ => Err(gone(verb, &name)),
        }
    }

    fn attached(&self, label: Label) -> Result<&Attachment> {
        let found = self.attachments.iter().find(|(other, _)| *other == label);
        found.map(|(_, attachment)| attachment).ok_or_else(not_attached)
    }
}

fn not_attached() -> Error {
    Error::failed("has not attached the segment")
}

/// Writes a reply, as one line. If that fails, it ends the connection: otherwise the other end would wait for the reply
/// for ever, or would not show a call that was made.
fn say(reply: &Reply) {
    if write_line(reply).is_err() {
        // If it is closed already, the input has ended, too.
        let _ = shutdown(io::stdin(), Shutdown::Both);
    }
}

/// Writes a reply to standard input, which is the connection. No other descriptor is opened, so this works where none is
/// left.
fn write_line(reply: &Reply) -> io::Result<()> {
    let line = serde_json::to_string(reply)? + "\n";
    let mut rest = line.as_bytes();
    while !rest.is_empty() {
        match retry_on_intr(|| rustix::io::write(io::stdin(), rest))? {
            0 => return Err(io::ErrorKind::WriteZero.into()),
            written => rest = &rest[written..],
        }
    }
    Ok(())
}

/// Returns the error for a segment that does not exist any more.
fn gone(verb: &str, name: &str) -> Error {
    Error { kind: Kind::Missing, ..Error::cannot(format_args!("{verb} {name}"), "there is no such segment") }
}

/// Says what a missing segment means in a lesson: the user has not named it.
fn removed_by_another(error: Error) -> Error {
    match error.kind {
        Kind::Missing => Error { hint: None, ..error }.hint("somebody has removed it; run the demo again"),
        _ => error,
    }
}

/// Returns the text at the beginning of an attached segment, up to its NUL, escaped.
fn text(attachment: &Attachment) -> Result<String> {
    let contents = attachment.contents(Access::Read);
    let mut bytes = [0; 64];
    contents.read_at(&mut bytes, 0).map_err(|error| attach::page_error("read the segment", &error))?;
    let length = bytes.iter().position(|b| *b == 0).unwrap_or(bytes.len());
    Ok(visible(&bytes[..length]).into_owned())
}

/// Becomes another process of a lesson with execve(2), and returns the error if that fails.
fn execute() -> Error {
    let error = match std::env::current_exe() {
        Ok(program) => Command::new(program).arg0("shmadm").args(ACTOR).arg("exec").exec(),
        Err(error) => error,
    };
    Error::io("execute shmadm", &error)
}

/// Makes this process leave no core file, wherever core(5) would put it.
fn leave_no_core_file() {
    // If one of them fails, the other one suffices unless core_pattern is a program.
    let _ = setrlimit(Resource::RLIMIT_CORE, 0, 0);
    let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
}

/// Removes a segment of the lesson if it is still there.
fn remove_what_is_left(known: &Known) {
    // Nobody can be told of a failure, and usually the segment is already gone.
    if let Some(id) = known.id.and_then(ShmId::new)
        && let Ok(Some(segment)) = lookup::current(id)
        && segment.cpid == known.creator
        && !segment.is_marked()
    {
        let _ = sysv::remove(id);
    }
}
