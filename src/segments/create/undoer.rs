//! A process that removes an incomplete segment if this process is killed, even by SIGKILL.

mod known;
mod message;

use std::cell::RefCell;
use std::io::Read;
use std::os::unix::net::UnixStream;
use std::process;
use std::thread;
use std::time::SystemTime;

use self::known::Known;
use self::message::{LENGTH, Message};
use crate::linux::Companion;
use crate::segments::lookup;
use crate::sysv::{self, NewSegment};
use crate::values::ShmId;

/// Removes the segment that this process is about to complete, if this process ends before that. A child process does so.
///
/// The child starts at the first creation. If it cannot be started, or if it is killed, nothing else changes.
#[derive(Debug)]
pub(crate) struct Undoer(RefCell<State>);

#[derive(Debug)]
enum State {
    NotStarted,
    Running(Companion),
    /// It is not wanted, or could not be started, or has ended.
    Absent,
}

/// A creation that has begun. The segment is complete, or gone, when this is dropped, unless a panic drops it.
#[derive(Debug)]
#[must_use]
pub(super) struct Creation<'a>(&'a Undoer);

impl Undoer {
    /// Returns one for segments that need more steps after their creation. Call [`create`](super::create()) while this
    /// process has one thread.
    pub(crate) fn new() -> Undoer {
        Undoer(RefCell::new(State::NotStarted))
    }

    /// Returns one that does nothing, for segments that are complete when they are created.
    pub(crate) fn none() -> Undoer {
        Undoer(RefCell::new(State::Absent))
    }

    /// Announces a segment before it is created.
    pub(super) fn begin(&self, new: &NewSegment) -> Creation<'_> {
        let mut state = self.0.borrow_mut();
        if matches!(*state, State::NotStarted) {
            *state = Companion::start(undo_at_end).map_or(State::Absent, State::Running);
            drop(state);
            self.introduce();
        } else {
            drop(state);
        }
        self.tell(Message::Begun { key: new.key, size: new.size, time: now() });
        Creation(self)
    }

    /// Tells the child what it needs to recognize the segments that this process creates from now on.
    fn introduce(&self) {
        if matches!(*self.0.borrow(), State::Absent) {
            return;
        }
        let creator = process::id().cast_signed();
        // A program may have created segments before it executed shmadm, and so may an earlier process with this pid.
        let earlier = lookup::rows().and_then(|rows| {
            rows.filter(|row| row.as_ref().map_or(true, |row| row.cpid == creator)).collect::<Result<Vec<_>, _>>()
        });
        self.tell(Message::Creator { pid: creator, can_search: earlier.is_ok() });
        earlier.iter().flatten().for_each(|segment| self.tell(Message::Earlier(segment.id)));
    }

    fn tell(&self, message: Message) {
        let mut state = self.0.borrow_mut();
        if let State::Running(companion) = &*state
            && companion.send(&message.to_bytes()).is_err()
            && let State::Running(companion) = std::mem::replace(&mut *state, State::Absent)
        {
            companion.dismiss();
        }
    }
}

impl Drop for Undoer {
    fn drop(&mut self) {
        // After a panic, the child must undo: it sees the end of this process.
        if !thread::panicking()
            && let State::Running(companion) = self.0.replace(State::Absent)
        {
            companion.dismiss();
        }
    }
}

impl Creation<'_> {
    /// Announces the identifier of the new segment.
    pub(super) fn created(&self, id: ShmId) {
        self.0.tell(Message::Created(id));
    }
}

impl Drop for Creation<'_> {
    fn drop(&mut self) {
        if !thread::panicking() {
            self.0.tell(Message::Over);
        }
    }
}

/// Reads messages until the other process ends, and then removes the segment that it did not complete.
fn undo_at_end(mut messages: UnixStream) {
    let mut known = Known::default();
    let mut bytes = [0; LENGTH];
    while messages.read_exact(&mut bytes).is_ok() {
        Message::from_bytes(bytes).into_iter().for_each(|message| known.learn(message));
    }
    if let Some(id) = known.incomplete() {
        // It may be gone.
        let _ = sysv::remove(id);
    }
}

fn now() -> i64 {
    let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    since_epoch.as_secs().cast_signed()
}
