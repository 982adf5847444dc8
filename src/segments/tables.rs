//! The kernel's table of each watched IPC namespace.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use crate::error::{Error, Result};
use crate::segments::lookup::rows;
use crate::system::namespace::{self, survey};
use crate::sysv::Segment;

/// Which IPC namespaces are watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scope {
    /// This process's namespace.
    Ours,
    /// All IPC namespaces.
    All,
}

/// The tables at one time.
#[derive(Debug, Default)]
pub(crate) struct Tables {
    /// The segments of each namespace, by its inode.
    pub read: BTreeMap<u64, Vec<Segment>>,
    /// The namespaces that were found, but could not be read.
    pub unread: BTreeSet<u64>,
    /// Whether every process could be inspected, so that every namespace was found.
    pub is_complete: bool,
}

impl Tables {
    /// Reads the tables. `ours` stands for this process's namespace if that is the only one.
    ///
    /// # Errors
    /// A table cannot be read, or /proc does not show the namespaces.
    pub(crate) fn read(scope: Scope, ours: u64) -> Result<Tables> {
        if scope == Scope::Ours {
            let read = BTreeMap::from([(ours, rows()?.collect::<Result<_>>()?)]);
            return Ok(Tables { read, is_complete: true, ..Tables::default() });
        }
        let survey = survey().map_err(unreadable)?;
        survey.note_incomplete();
        let mut tables = Tables { is_complete: survey.is_complete(), ..Tables::default() };
        for (live, rows) in namespace::rows(&survey.namespaces) {
            match rows {
                Ok(Some(rows)) => {
                    tables.read.insert(live.inode(), rows.collect::<io::Result<_>>().map_err(unreadable)?);
                }
                // It vanished meanwhile.
                Ok(None) => {}
                // It may not be entered.
                Err(_) => _ = tables.unread.insert(live.inode()),
            }
        }
        Ok(tables)
    }

    /// Returns whether an earlier namespace may still exist, although its table was not read now. It is gone only if
    /// looking for it did not fail. `was_complete` is [`Tables::is_complete`] of the first tables.
    pub(crate) fn may_have(&self, namespace: u64, was_complete: bool) -> bool {
        self.read.contains_key(&namespace) || self.unread.contains(&namespace) || (was_complete && !self.is_complete)
    }
}

/// Returns the error for an unreadable /proc.
pub(super) fn unreadable(error: io::Error) -> Error {
    Error::io("read /proc", &error)
}
