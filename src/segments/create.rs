//! Creating a segment or finding an existing one by its key, and undoing the creation.

mod refused;
mod same_id;
mod undoer;

use crate::error::{Error, Kind, Result};
use crate::segments::lookup;
use crate::system::signals::{BlockedSignals, UndoOnSignal};
use crate::sysv::{self, NewSegment, Reason, Segment};
use crate::values::{Key, ShmId};

pub(crate) use self::refused::{cannot_create, exists, may_remove, taken, too_small};
pub(crate) use self::same_id::create_with_id;
pub(crate) use self::undoer::Undoer;

use self::undoer::Creation;

/// The number of times that [`find_or_create`] tries to read a segment that shmget(2) finds, and the number of random keys
/// tried. Other processes can create and remove a segment between two calls, but not every time.
const TRIES: usize = 100;

/// A segment that this process created. Unless [`Created::finish`] succeeds, it is removed: after an error by the
/// calling thread, after SIGINT, SIGTERM or SIGHUP by another thread, after any other end by the [`Undoer`].
#[derive(Debug)]
#[must_use]
pub(crate) struct Created<'a> {
    segment: Segment,
    undo: Box<UndoOnSignal>,
    creation: Creation<'a>,
}

/// The result of [`find_or_create`].
#[derive(Debug)]
pub(crate) enum Found<'a> {
    /// A segment with the key existed. It is unchanged.
    Existing(Segment),
    /// No segment had the key, so one was created.
    Created(Created<'a>),
}

/// The failure of [`create()`].
#[derive(Debug)]
pub(crate) enum NotCreated {
    /// The key is taken. The segment that has it is included if its state could be read.
    Exists(Key, Option<Box<Segment>>),
    /// Any other failure.
    Failed(Error),
}

impl Created<'_> {
    /// Reads the state of a segment that shmget(2) has just created.
    fn new(id: ShmId, blocked: BlockedSignals, creation: Creation<'_>) -> Result<Created<'_>> {
        let undo = Box::new(blocked.undo_with(move || {
            let _ = sysv::remove(id);
        }));
        match lookup::current(id) {
            Ok(Some(segment)) => Ok(Created { segment, undo, creation }),
            // Its identifier may already belong to another segment, so nothing is removed.
            Ok(None) => Err(was_removed(id)),
            Err(error) => Err(roll_back(id, None, cannot_inspect_new(id, error))),
        }
    }

    /// Returns the segment's state right after shmget(2).
    pub(crate) fn segment(&self) -> &Segment {
        &self.segment
    }

    /// Performs the remaining steps. If one fails, the segment is removed and the error says so.
    pub(crate) fn finish<T>(self, steps: impl FnOnce(&Segment) -> Result<T>) -> Result<T> {
        let done = steps(&self.segment).map_err(|error| roll_back(self.segment.id, Some(&self.segment), error))?;
        drop(self.creation);
        drop(self.undo);
        Ok(done)
    }
}

/// Creates a segment, and never returns an existing one.
///
/// # Errors
/// [`NotCreated::Exists`] for `EEXIST`; otherwise the limit that was reached, as [`cannot_create`] explains it.
pub(crate) fn create<'a>(new: &NewSegment, undoer: &'a Undoer) -> Result<Created<'a>, NotCreated> {
    let blocked = BlockedSignals::shutdown();
    let creation = undoer.begin(new);
    match sysv::create(new) {
        Ok(id) => {
            creation.created(id);
            Created::new(id, blocked, creation).map_err(NotCreated::Failed)
        }
        Err(error) if error.reason == Reason::Exists => {
            let existing = sysv::find(new.key).ok().flatten().and_then(|id| lookup::current(id).ok().flatten());
            Err(NotCreated::Exists(new.key, existing.map(Box::new)))
        }
        Err(error) => Err(NotCreated::Failed(cannot_create(new, error))),
    }
}

/// Creates a segment with a random unused key. The key of `new` is ignored.
///
/// # Errors
/// Those of [`create`]; [`NotCreated::Exists`] only after 100 keys that were all taken.
pub(crate) fn create_random<'a>(new: &NewSegment, undoer: &'a Undoer) -> Result<Created<'a>, NotCreated> {
    let mut last = None;
    for _ in 0..TRIES {
        let new = NewSegment { key: Key::from_raw(fastrand::i32(1..)), ..*new };
        match create(&new, undoer) {
            Err(NotCreated::Exists(key, existing)) => last = Some(NotCreated::Exists(key, existing)),
            result => return result,
        }
    }
    Err(last.unwrap_or_else(|| NotCreated::Failed(Error::failed("no random key is free"))))
}

/// Finds the segment of a key. If there is none, creates it after `may_create` has agreed.
///
/// # Errors
/// Those of `may_create`, shmget(2) and shmctl(2). A segment that shmget(2) finds but whose state cannot be read.
pub(crate) fn find_or_create<'a>(
    new: &NewSegment,
    undoer: &'a Undoer,
    may_create: impl Fn() -> Result<()>,
) -> Result<Found<'a>> {
    let key = new.key;
    let mut hidden = None;
    for _ in 0..TRIES {
        if let Some(existing) = find(key, &mut hidden)? {
            return Ok(Found::Existing(existing));
        }
        if hidden.is_none() {
            may_create()?;
        }
        match create(new, undoer) {
            Ok(created) => return Ok(Found::Created(created)),
            Err(NotCreated::Exists(_, Some(existing))) => return Ok(Found::Existing(*existing)),
            // Another process created it in between, or it is hidden.
            Err(NotCreated::Exists(_, None)) => {}
            Err(NotCreated::Failed(error)) => return Err(error),
        }
    }
    Err(cannot_inspect(key, hidden))
}

/// Finds the segment of a key.
///
/// # Errors
/// Those of shmget(2) and shmctl(2). A segment that shmget(2) finds but whose state cannot be read.
pub(crate) fn find_existing(key: Key) -> Result<Option<Segment>> {
    let mut hidden = None;
    for _ in 0..TRIES {
        match find(key, &mut hidden)? {
            Some(existing) => return Ok(Some(existing)),
            None if hidden.is_none() => return Ok(None),
            None => {}
        }
    }
    Err(cannot_inspect(key, hidden))
}

/// Tries once to find the segment of a key. `hidden` is set to the identifier if shmget(2) finds a segment whose state
/// cannot be read.
fn find(key: Key, hidden: &mut Option<ShmId>) -> Result<Option<Segment>> {
    *hidden = sysv::find(key).map_err(|error| Error::call(format_args!("find segment {key}"), error))?;
    match *hidden {
        Some(id) => lookup::current(id).map_err(|error| Error::call(format_args!("inspect segment {key}"), error)),
        None => Ok(None),
    }
}

fn cannot_inspect(key: Key, hidden: Option<ShmId>) -> Error {
    match hidden {
        Some(id) => Error::cannot(
            format_args!("inspect segment {key} (id {id})"),
            "shmget(2) finds it, but neither shmctl(2) nor /proc/sysvipc/shm shows it",
        )
        .hint("a security policy or a sandbox may hide it; try without that, or as another user"),
        None => Error::cannot(
            format_args!("create segment {key}"),
            format!("another process created and removed it {TRIES} times meanwhile"),
        ),
    }
}

/// Returns the state of a segment that this process has just created.
pub(crate) fn current_state(id: ShmId) -> Result<Segment> {
    lookup::current(id).map_err(|error| cannot_inspect_new(id, error))?.ok_or_else(|| was_removed(id))
}

fn cannot_inspect_new(id: ShmId, error: sysv::Error) -> Error {
    Error::call(format_args!("inspect the new segment id:{id}"), error)
}

fn was_removed(id: ShmId) -> Error {
    Error::failed(format!("the new segment id:{id} was removed by another process at once"))
}

/// Removes a segment whose set-up failed, and adds that to the error. The failure is the caller's own, so it is never
/// [`Kind::Missing`].
fn roll_back(id: ShmId, created: Option<&Segment>, error: Error) -> Error {
    let error = if error.kind == Kind::Missing { Error { kind: Kind::Failed, ..error } } else { error };
    // Another process may have removed it, and a third one's new segment may have its identifier.
    if let (Some(created), Ok(Some(now))) = (created, lookup::current(id))
        && created.identity() != now.identity()
    {
        return error.hint("the new segment is gone, too");
    }
    match sysv::remove(id) {
        Ok(()) => error.hint("the new segment was removed again"),
        Err(gone) if gone.reason == Reason::NoSuchSegment => error.hint("the new segment is gone, too"),
        Err(removal) => error.hint(format_args!("and the new segment id:{id} could not be removed: {removal}")),
    }
}
