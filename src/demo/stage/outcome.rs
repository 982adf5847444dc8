//! What the requests of a lesson change, and the lines for what a C program does without a System V call.

use std::fmt;

use super::{Attached, Stage};
use crate::demo::Stop;
use crate::demo::name::{Label, Role};
use crate::demo::request::{Outcome, Request};
use crate::error::{Error, Result};
use crate::sysv::Access;
use crate::values::Key;

impl Stage {
    /// Records what a request has changed, and adds a line for what a C program writes without a System V call.
    pub(super) fn done(&mut self, role: Role, request: &Request, outcome: Outcome) -> Result<(), Stop> {
        match (request, outcome) {
            (Request::Create { label, .. }, Outcome::Id(id)) => {
                let creator = self.pid(role);
                if let Some(segment) = self.segment_mut(*label) {
                    (segment.known.id, segment.known.creator) = (Some(id), creator);
                }
                self.tell_all()?;
            }
            (Request::Get { label, .. }, Outcome::Id(id)) => self.is_ours(role, *label, id)?,
            (Request::Attach { label, is_read_only }, Outcome::Address(address)) => {
                let access = if *is_read_only { Access::Read } else { Access::ReadWrite };
                self.attached.push(Attached { role, label: *label, address, access });
            }
            (Request::Detach { label }, _) => {
                self.attached.retain(|attached| (attached.role, attached.label) != (role, *label));
            }
            (Request::Fork { child }, Outcome::Child(pid)) => {
                self.note(role, format!("in C: fork() returns {pid}, the pid of {child}"));
                self.cast.adopt(role, *child, pid)?;
                let inherited: Vec<_> =
                    self.attached.iter().filter(|attached| attached.role == role).copied().collect();
                self.attached.extend(inherited.into_iter().map(|attached| Attached { role: *child, ..attached }));
            }
            (Request::Execute, _) => {
                self.note(role, "in C: execl(\"./other\", ...) replaces the program");
                self.attached.retain(|attached| attached.role != role);
                self.tell_all()?;
            }
            (Request::Read { label, .. }, Outcome::Text(text)) => {
                let address = self.address(role, *label);
                self.note(role, format!("in C: puts({address:#x}) prints: {text}"));
            }
            (Request::Write { label, text }, _) => {
                let address = self.address(role, *label);
                self.note(role, format!("in C: strcpy({address:#x}, \"{text}\")"));
                self.mark_written(*label);
            }
            (Request::Store { .. }, _) => self.note_before(role, request),
            (Request::Clear { label }, _) => {
                let address = self.address(role, *label);
                self.note(role, format!("in C: memset({address:#x}, 0, 32)"));
                self.mark_written(*label);
            }
            (Request::Become { uid }, _) => self.note(role, format!("in C: setresuid({uid}, {uid}, {uid})")),
            (Request::DropPrivileges, _) => self.note(role, "gives up the privileges of root, if it has them"),
            _ => {}
        }
        Ok(())
    }

    /// Checks that a key has still led to our segment.
    pub(super) fn is_ours(&self, role: Role, label: Label, id: i32) -> Result<()> {
        let Some(known) = self.segments.iter().map(|segment| segment.known).find(|known| known.label == label) else {
            return Ok(());
        };
        match known.id {
            Some(ours) if ours != id => Err(Error::failed(format!(
                "cannot continue: process {role} cannot attach segment {} (id {ours}): somebody has removed it, and its key has \
                 another segment by now (id {id}); run the demo again",
                Key::from_raw(known.key)
            ))),
            _ => Ok(()),
        }
    }

    /// Notes a request that may end the process.
    pub(super) fn note_before(&mut self, role: Role, request: &Request) {
        match request {
            Request::Store { label, byte } => {
                let address = self.address(role, *label);
                self.note(role, format!("in C: *(char *) {address:#x} = '{}'", char::from(*byte)));
                self.mark_written(*label);
            }
            _ => self.note(role, "in C: exit(0)"),
        }
    }

    /// Returns whether a request ends the process: a store does on a read-only attachment.
    pub(super) fn ends_the_process(&self, role: Role, request: &Request) -> bool {
        match request {
            Request::Exit => true,
            Request::Store { label, .. } => self
                .attached
                .iter()
                .any(|attached| (attached.role, attached.label, attached.access) == (role, *label, Access::Read)),
            _ => false,
        }
    }

    pub(super) fn has_ended(&mut self, role: Role, calls: Vec<(String, bool)>) {
        self.show_calls(role, calls);
        self.attached.retain(|attached| attached.role != role);
        let ended = self.cast.find(role).and_then(|actor| actor.ended.clone()).unwrap_or_default();
        let verb = if ended.starts_with("killed") { "was" } else { "has" };
        self.note(role, format!("{verb} {ended}"));
    }

    pub(super) fn note(&mut self, role: Role, line: impl fmt::Display) {
        self.shown.push((Some(role), line.to_string()));
    }

    pub(super) fn mark_written(&mut self, label: Label) {
        if let Some(segment) = self.segment_mut(label) {
            segment.is_written = true;
        }
    }

    pub(super) fn address(&self, role: Role, label: Label) -> usize {
        let found = self.attached.iter().find(|attached| (attached.role, attached.label) == (role, label));
        found.map_or(0, |attached| attached.address)
    }
}
