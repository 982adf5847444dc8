//! Finding the segment that a name refers to.

use std::collections::{HashMap, HashSet};
use std::fmt;

use crate::error::{Error, Result};
use crate::segments::hints::with_hint;
use crate::sysv::ftok;
use crate::sysv::{self, Limits, Reason, Segment, Usage};
use crate::values::{Key, SegmentRef, ShmId, visible_path};

/// A segment that was named and found.
#[derive(Debug, Clone)]
pub(crate) struct Named {
    /// The key by which it was named, if any.
    pub key: Option<Key>,
    /// Its identifier.
    pub id: ShmId,
    /// Whether the user wrote the key as a decimal. Messages then show the decimal, too.
    pub is_decimal: bool,
}

impl From<&Segment> for Named {
    fn from(segment: &Segment) -> Named {
        Named { key: Some(segment.key).filter(|key| !key.is_private()), id: segment.id, is_decimal: false }
    }
}

impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.key {
            Some(key) if self.is_decimal => write!(f, "segment {key} ({}, id {})", key.as_unsigned(), self.id),
            Some(key) => write!(f, "segment {key} (id {})", self.id),
            None => write!(f, "segment id:{}", self.id),
        }
    }
}

/// Returns the key that a name refers to; `None` for an identifier.
///
/// # Errors
/// The path does not exist (exit status 1).
pub(crate) fn key_of(segment: &SegmentRef) -> Result<Option<Key>> {
    match segment {
        SegmentRef::Key(key) | SegmentRef::Decimal(key) => Ok(Some(*key)),
        SegmentRef::Id(_) => Ok(None),
        SegmentRef::Ftok(project, path) => ftok(path, *project)
            .map(Some)
            .map_err(|error| Error::io(format!("derive a key from {}", visible_path(path)), &error)),
    }
}

/// Finds a segment by its key. An identifier is not checked: the call that uses it shows whether it exists.
///
/// `verb` names the purpose in errors, as in "cannot read segment …".
///
/// # Errors
/// `ENOENT` becomes [`Kind::Missing`](crate::error::Kind::Missing), with a hint. The others are failures: those of
/// shmget(2), and a path that does not exist.
pub(crate) fn find(verb: &str, segment: &SegmentRef) -> Result<Named> {
    if let SegmentRef::Id(id) = segment {
        return Ok(Named { key: None, id: *id, is_decimal: false });
    }
    let key = key_of(segment)?.filter(|key| !key.is_private());
    let Some(key) = key else {
        return Err(Error::failed(format!("cannot {verb} segment {segment}: its key is 0, which names no segment")));
    };
    match sysv::find(key) {
        Ok(Some(id)) => Ok(Named { key: Some(key), id, is_decimal: matches!(segment, SegmentRef::Decimal(_)) }),
        Ok(None) => {
            let error = none(verb, &Word { segment, key: Some(key) }, Some(sysv::Errno::ENOENT));
            Err(with_hint(error, key))
        }
        Err(error) => Err(Error::call(format_args!("{verb} segment {key}"), error)),
    }
}

/// Finds a named segment, and returns its current state.
///
/// # Errors
/// Those of [`find`] and [`current`]; an identifier without a segment.
pub(crate) fn find_current(verb: &str, segment: &SegmentRef) -> Result<Segment> {
    let named = find(verb, segment)?;
    match current(named.id) {
        Ok(Some(segment)) => Ok(segment),
        Ok(None) => Err(missing(verb, &named, Some(sysv::Errno::EINVAL))),
        Err(error) => Err(Error::call(format_args!("{verb} {named}"), error)),
    }
}

/// Returns a segment's current state, whatever its mode: shmctl(2) `SHM_STAT_ANY`. On a kernel before 4.17, or if that is
/// denied, it uses `IPC_STAT`; without read permission, the segment's row of the table. Returns `None` only if the kernel
/// reports that there is no such segment.
///
/// # Errors
/// `EACCES` is [`Reason::PermissionDenied`], if the table cannot be read either.
pub(crate) fn current(id: ShmId) -> Result<Option<Segment>, sysv::Error> {
    match sysv::stat_any(id) {
        Ok(segment) => Ok(Some(segment)),
        // Before Linux 4.17 the command itself is invalid, which returns the same error as a missing segment.
        Err(error)
            if matches!(error.reason, Reason::NoSuchSegment | Reason::PermissionDenied | Reason::NotPermitted) =>
        {
            match sysv::stat(id) {
                Ok(segment) => Ok(Some(segment)),
                Err(error) if error.reason == Reason::NoSuchSegment => Ok(None),
                Err(error) => row(id).map_err(|_| error),
            }
        }
        Err(error) => Err(error),
    }
}

/// Returns a segment's row of the table.
///
/// # Errors
/// The table cannot be read to its end, so the row may be missing.
fn row(id: ShmId) -> Result<Option<Segment>> {
    for row in rows()? {
        let row = row?;
        if row.id == id {
            return Ok(Some(row));
        }
    }
    Ok(None)
}

/// Returns the rows of these segments, and reads the kernel's table once. Unavailable rows are left out.
pub(crate) fn rows_of(ids: &HashSet<ShmId>) -> HashMap<ShmId, Segment> {
    let rows = rows().into_iter().flatten().filter_map(Result::ok);
    rows.filter(|row| ids.contains(&row.id)).take(ids.len()).map(|row| (row.id, row)).collect()
}

/// Returns all segments of this namespace one by one: the rows of the kernel's table or, if that is missing or masked,
/// the results of shmctl(2).
///
/// # Errors
/// The kernel has no System V shared memory. An item can also be an error: some segments are not visible.
pub(crate) fn rows() -> Result<impl Iterator<Item = Result<Segment>>> {
    let rows = sysv::rows().map_err(|error| Error::call("list the segments", error))?;
    Ok(rows.map(|row| row.map_err(|error| Error::io("read /proc/sysvipc/shm", &error))))
}

/// Returns the limits on shared memory and their usage: shmctl(2) `IPC_INFO` and `SHM_INFO`.
///
/// # Errors
/// The kernel has no System V shared memory, or denies the calls and hides /proc.
pub(crate) fn limits() -> Result<(Limits, Usage)> {
    let limits = sysv::limits().map_err(|error| Error::call("read the limits (IPC_INFO)", error))?;
    let usage = sysv::usage().map_err(|error| Error::call("read the use of the limits (SHM_INFO)", error))?;
    Ok((limits, usage))
}

/// Returns the error for a named segment that does not exist.
pub(crate) fn missing(verb: &str, word: &impl fmt::Display, errno: Option<sysv::Errno>) -> Error {
    none(verb, word, errno).hint("`shmadm list` shows those that exist")
}

fn none(verb: &str, word: &impl fmt::Display, errno: Option<sysv::Errno>) -> Error {
    let action = Some(format!("{verb} {word}"));
    Error { action, errno, ..Error::missing("there is no such segment") }
}

struct Word<'a> {
    segment: &'a SegmentRef,
    key: Option<Key>,
}

impl fmt::Display for Word<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.segment, self.key) {
            (SegmentRef::Ftok(..), Some(key)) => write!(f, "segment {} ({key})", self.segment),
            (SegmentRef::Decimal(_), Some(key)) => write!(f, "segment {key} ({})", self.segment),
            _ => write!(f, "segment {}", self.segment),
        }
    }
}
