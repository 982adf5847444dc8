//! Making a segment, or finding the one that has the key, and undoing what was made.

mod refused;
mod same_id;

use crate::error::{Error, Kind, Result};
use crate::segments::lookup;
use crate::system::signals::{BlockedSignals, UndoOnSignal};
use crate::sysv::{self, NewSegment, Reason, Segment};
use crate::values::{Key, ShmId};

pub(crate) use self::refused::{cannot_create, exists, taken, too_small};
pub(crate) use self::same_id::create_with_id;

/// How often [`find_or_create`] looks for a segment that shmget(2) finds, or tries random keys. Other processes can make
/// and remove a segment between two calls, but not each time.
const TRIES: usize = 100;

/// A segment that this process made. It is removed again, unless [`Created::finish`] succeeds: after an error by the
/// caller's own thread, after SIGINT, SIGTERM or SIGHUP by another one.
#[derive(Debug)]
#[must_use]
pub(crate) struct Created {
    segment: Segment,
    undo: Box<UndoOnSignal>,
}

/// The result of [`find_or_create`].
#[derive(Debug)]
pub(crate) enum Found {
    /// A segment had the key. It is as it was.
    Existing(Segment),
    /// None had the key, and now one has.
    Created(Created),
}

/// Why [`create`] made no segment.
#[derive(Debug)]
pub(crate) enum NotCreated {
    /// The key is taken, by this segment if it could be looked at.
    Exists(Key, Option<Box<Segment>>),
    /// Anything else.
    Failed(Error),
}

impl Created {
    /// The segment, as it was right after shmget(2).
    pub(crate) fn segment(&self) -> &Segment {
        &self.segment
    }

    /// Takes the remaining steps. If one fails, the segment is removed again and the error says so.
    pub(crate) fn finish<T>(self, steps: impl FnOnce(&Segment) -> Result<T>) -> Result<T> {
        let done = steps(&self.segment).map_err(|error| remove_again(self.segment.id, Some(&self.segment), error))?;
        drop(self.undo);
        Ok(done)
    }
}

/// Makes a segment, and never takes one that exists.
///
/// # Errors
/// [`NotCreated::Exists`] for `EEXIST`; else the limit that was reached, as [`cannot_create`] explains it.
pub(crate) fn create(new: &NewSegment) -> Result<Created, NotCreated> {
    let blocked = BlockedSignals::shutdown();
    match sysv::create(new) {
        Ok(id) => Created::new(id, blocked).map_err(NotCreated::Failed),
        Err(error) if error.reason == Reason::Exists => {
            let existing = sysv::find(new.key).ok().flatten().and_then(|id| lookup::look(id).ok().flatten());
            Err(NotCreated::Exists(new.key, existing.map(Box::new)))
        }
        Err(error) => Err(NotCreated::Failed(cannot_create(new.key, new.size, new.huge.is_some(), error))),
    }
}

/// Makes a segment with a random key that no other segment has. The key of `new` does not count.
///
/// # Errors
/// Those of [`create`]; [`NotCreated::Exists`] only after a hundred keys that were all taken.
pub(crate) fn create_random(new: &NewSegment) -> Result<Created, NotCreated> {
    let mut last = None;
    for _ in 0..TRIES {
        let new = NewSegment { key: Key::from_raw(fastrand::i32(1..)), ..*new };
        match create(&new) {
            Err(NotCreated::Exists(key, existing)) => last = Some(NotCreated::Exists(key, existing)),
            result => return result,
        }
    }
    Err(last.unwrap_or_else(|| NotCreated::Failed(Error::failed("no random key is free"))))
}

/// Finds the segment of a key or, where there is none, makes it once `may_create` agrees.
///
/// # Errors
/// Those of `may_create`, shmget(2) and shmctl(2). A segment that shmget(2) finds but no look can see is an error, too.
pub(crate) fn find_or_create(new: &NewSegment, may_create: impl Fn() -> Result<()>) -> Result<Found> {
    let key = new.key;
    let mut hidden = None;
    for _ in 0..TRIES {
        if let Some(existing) = find(key, &mut hidden)? {
            return Ok(Found::Existing(existing));
        }
        if hidden.is_none() {
            may_create()?;
        }
        match create(new) {
            Ok(created) => return Ok(Found::Created(created)),
            Err(NotCreated::Exists(_, Some(existing))) => return Ok(Found::Existing(*existing)),
            // Another process made it after the first look, or it is hidden.
            Err(NotCreated::Exists(_, None)) => {}
            Err(NotCreated::Failed(error)) => return Err(error),
        }
    }
    Err(cannot_look(key, hidden))
}

/// Finds the segment of a key.
///
/// # Errors
/// Those of shmget(2) and shmctl(2). A segment that shmget(2) finds but no look can see is an error, too.
pub(crate) fn find_existing(key: Key) -> Result<Option<Segment>> {
    let mut hidden = None;
    for _ in 0..TRIES {
        match find(key, &mut hidden)? {
            Some(existing) => return Ok(Some(existing)),
            None if hidden.is_none() => return Ok(None),
            None => {}
        }
    }
    Err(cannot_look(key, hidden))
}

/// Looks once for the segment of a key. `hidden` becomes the identifier that shmget(2) finds where no look sees it.
fn find(key: Key, hidden: &mut Option<ShmId>) -> Result<Option<Segment>> {
    *hidden = sysv::find(key).map_err(|error| Error::call(format_args!("find segment {key}"), error))?;
    match *hidden {
        Some(id) => lookup::look(id).map_err(|error| Error::call(format_args!("look at segment {key}"), error)),
        None => Ok(None),
    }
}

fn cannot_look(key: Key, hidden: Option<ShmId>) -> Error {
    match hidden {
        Some(id) => Error::cannot(
            format_args!("look at segment {key} (id {id})"),
            "shmget(2) finds it, but neither shmctl(2) nor /proc/sysvipc/shm shows it",
        )
        .hint("a security policy or a sandbox may hide it; try without that, or as another user"),
        None => Error::cannot(
            format_args!("create segment {key}"),
            format_args!("another process made and removed it again {TRIES} times meanwhile").to_string(),
        ),
    }
}

impl Created {
    /// Looks at the segment that shmget(2) made just now.
    fn new(id: ShmId, blocked: BlockedSignals) -> Result<Created> {
        let undo = Box::new(blocked.undo_with(move || {
            let _ = sysv::remove(id);
        }));
        match look_again(id) {
            Ok(segment) => Ok(Created { segment, undo }),
            // Removed by another process: its identifier may be another segment's by now.
            Err(error) if error.errno.is_none() => Err(error),
            Err(error) => Err(remove_again(id, None, error)),
        }
    }
}

/// Returns the state of a segment that this process made just now.
pub(crate) fn look_again(id: ShmId) -> Result<Segment> {
    lookup::look(id)
        .map_err(|error| Error::call(format_args!("look at the new segment id:{id}"), error))?
        .ok_or_else(|| Error::failed(format!("the new segment id:{id} was removed by another process at once")))
}

/// Removes a segment whose making failed, and adds that to the error. The failure is the caller's own, so it is never
/// [`Kind::Missing`].
fn remove_again(id: ShmId, made: Option<&Segment>, error: Error) -> Error {
    let error = if error.kind == Kind::Missing { Error { kind: Kind::Failed, ..error } } else { error };
    // Another process may have removed it, and a third one's new segment have its identifier.
    if let (Some(made), Ok(Some(now))) = (made, lookup::look(id))
        && made.identity() != now.identity()
    {
        return error.hint("the new segment is gone, too");
    }
    match sysv::remove(id) {
        Ok(()) => error.hint("the new segment was removed again"),
        Err(gone) if gone.reason == Reason::NoSuchSegment => error.hint("the new segment is gone, too"),
        Err(removal) => error.hint(format_args!("and the new segment id:{id} could not be removed: {removal}")),
    }
}
