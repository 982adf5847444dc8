//! From the word that names a segment to the segment.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::io;

use crate::error::{Error, Result};
use crate::sysv::ftok;
use crate::sysv::{self, Limits, Segment, Segments, Usage};
use crate::values::{Key, SegmentRef, ShmId};

/// A segment that was named and found.
#[derive(Debug, Clone)]
pub(crate) struct Named {
    /// The key that it was named by, if it was.
    pub key: Option<Key>,
    /// Its identifier.
    pub id: ShmId,
}

impl From<&Segment> for Named {
    fn from(segment: &Segment) -> Named {
        Named { key: Some(segment.key).filter(|key| !key.is_private()), id: segment.id }
    }
}

impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.key {
            Some(key) => write!(f, "segment {key} (id {})", self.id),
            None => write!(f, "segment id:{}", self.id),
        }
    }
}

/// The key that a word stands for; `None` for an identifier.
///
/// Errors: a path that is not there is exit status 1.
pub(crate) fn key_of(segment: &SegmentRef) -> Result<Option<Key>> {
    match segment {
        SegmentRef::Key(key) => Ok(Some(*key)),
        SegmentRef::Id(_) => Ok(None),
        SegmentRef::Ftok(project, path) => ftok(path, *project)
            .map(Some)
            .map_err(|error| Error::io(format!("derive a key from {}", path.display()), &error)),
    }
}

/// Finds a segment by its key; an identifier is taken as it is, and the call that uses it tells whether it exists.
///
/// `verb` is what it is wanted for, as in "cannot read segment …".
pub(crate) fn find(verb: &str, segment: &SegmentRef) -> Result<Named> {
    if let SegmentRef::Id(id) = segment {
        return Ok(Named { key: None, id: *id });
    }
    let key = key_of(segment)?.filter(|key| !key.is_private());
    let Some(key) = key else {
        return Err(Error::failed(format!("cannot {verb} segment {segment}: its key is 0, which names no segment")));
    };
    match sysv::find(key) {
        Ok(Some(id)) => Ok(Named { key: Some(key), id }),
        Ok(None) => Err(missing(verb, &Word { segment, key: Some(key) }, Some(sysv::Errno::ENOENT))),
        Err(error) => Err(Error::call(format_args!("{verb} segment {key}"), error)),
    }
}

/// A segment's state, whatever its mode allows: by SHM_STAT_ANY, or on an old kernel from its row of the table.
pub(crate) fn look(id: ShmId) -> Result<Option<Segment>, sysv::Error> {
    match sysv::stat_any(id) {
        Ok(segment) => Ok(Some(segment)),
        // Before Linux 4.17 the command itself is invalid, which looks like a segment that is gone: IPC_STAT tells.
        Err(sysv::Error { reason: sysv::Reason::NoSuchSegment, .. }) => match sysv::stat(id) {
            Err(sysv::Error { reason: sysv::Reason::NoSuchSegment, .. }) => Ok(None),
            _ => Ok(row(id)),
        },
        Err(error) => Err(error),
    }
}

/// A segment's row of the kernel's table.
fn row(id: ShmId) -> Option<Segment> {
    rows_of(&HashSet::from([id])).remove(&id)
}

/// These segments' rows of the kernel's table, which is read once; those that are not to be had are left out.
pub(crate) fn rows_of(ids: &HashSet<ShmId>) -> HashMap<ShmId, Segment> {
    let rows = rows().into_iter().flatten().filter_map(Result::ok);
    rows.filter(|row| ids.contains(&row.id)).take(ids.len()).map(|row| (row.id, row)).collect()
}

/// The rows of the kernel's table, one at a time.
pub(crate) fn rows() -> Result<impl Iterator<Item = Result<Segment>>> {
    fn unreadable(error: &io::Error) -> Error {
        let told = Error::io("read /proc/sysvipc/shm", error);
        match error.kind() {
            io::ErrorKind::NotFound => {
                told.hint("it is there where /proc is mounted and the kernel has System V IPC (CONFIG_SYSVIPC)")
            }
            _ => told,
        }
    }
    let rows = Segments::open().map_err(|error| unreadable(&error))?;
    Ok(rows.map(|row| row.map_err(|error| unreadable(&error))))
}

/// The limits on shared memory, and what is used of them.
pub(crate) fn limits() -> Result<(Limits, Usage)> {
    let limits = sysv::limits().map_err(|error| Error::call("look up the limits (IPC_INFO)", error))?;
    let usage = sysv::usage().map_err(|error| Error::call("look up what is used (SHM_INFO)", error))?;
    Ok((limits, usage))
}

/// The error for a named segment that is not there.
pub(crate) fn missing(verb: &str, word: &impl fmt::Display, errno: Option<sysv::Errno>) -> Error {
    let mut error = Error::missing(format!("cannot {verb} {word}: there is no such segment"));
    error.errno = errno;
    error.hint("`shmadm list` shows those that exist")
}

struct Word<'a> {
    segment: &'a SegmentRef,
    key: Option<Key>,
}

impl fmt::Display for Word<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.segment, self.key) {
            (SegmentRef::Ftok(..), Some(key)) => write!(f, "segment {} ({key})", self.segment),
            _ => write!(f, "segment {}", self.segment),
        }
    }
}
