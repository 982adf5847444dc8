//! The segments of every IPC namespace of the machine, and which of them could not be read.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::io;

use crate::error::{Error, Result};
use crate::system::namespace::{self, LiveNamespace, Rows, Survey, survey};
use crate::sysv::{Limits, Segment, Usage};

/// Why the segments of a namespace are unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unread {
    /// It may not be entered.
    Denied,
    /// Reading it failed.
    Failed,
}

/// The IPC namespaces of the machine, while their segments are read.
#[derive(Debug)]
pub(crate) struct AllNamespaces {
    survey: Survey,
    /// The number of counted segments in each namespace, by its inode.
    counted: RefCell<BTreeMap<u64, u64>>,
    /// The namespaces that may not be entered.
    denied: RefCell<BTreeSet<u64>>,
    /// The namespaces that could not be read for another reason.
    failed: RefCell<BTreeSet<u64>>,
    /// The namespaces that no longer exist.
    gone: RefCell<BTreeSet<u64>>,
    failures: RefCell<Vec<Error>>,
}

impl AllNamespaces {
    /// Finds the namespaces through /proc.
    ///
    /// # Errors
    /// /proc cannot be read.
    pub(crate) fn find() -> Result<AllNamespaces> {
        let mut survey =
            survey().map_err(|error| Error::io("see the processes in /proc", &error).hint("is it mounted?"))?;
        survey.note_incomplete();
        survey.find_representatives();
        Ok(AllNamespaces {
            survey,
            counted: RefCell::default(),
            denied: RefCell::default(),
            failed: RefCell::default(),
            gone: RefCell::default(),
            failures: RefCell::default(),
        })
    }

    /// Returns the segments of one namespace after the other.
    pub(crate) fn rows(&self) -> impl Iterator<Item = Result<Segment>> {
        namespace::rows(&self.survey.namespaces).flat_map(|(namespace, rows)| self.rows_of(namespace, rows))
    }

    fn rows_of(
        &self,
        namespace: &LiveNamespace,
        rows: io::Result<Option<Rows>>,
    ) -> impl Iterator<Item = Result<Segment>> + use<> {
        let what = format!("list {namespace}");
        let rows = self.tried(&what, namespace, rows);
        rows.into_iter().flatten().map(move |row| row.map_err(|error| Error::io(&what, &error)))
    }

    /// Returns each namespace that may be entered, with its limits and their usage.
    pub(crate) fn limits(&self) -> impl Iterator<Item = (&LiveNamespace, Limits, Usage)> {
        namespace::limits(&self.survey.namespaces).filter_map(|(namespace, limits)| {
            let what = format!("read the limits of {namespace}");
            let (limits, usage) = self.tried(&what, namespace, limits)?;
            Some((namespace, limits, usage))
        })
    }

    /// Returns the result of reading a namespace; `None` if it is gone, may not be entered, or reading failed.
    fn tried<T>(&self, what: &str, namespace: &LiveNamespace, done: io::Result<Option<T>>) -> Option<T> {
        match done {
            Ok(Some(done)) => return Some(done),
            Ok(None) => _ = self.gone.borrow_mut().insert(namespace.inode()),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                self.denied.borrow_mut().insert(namespace.inode());
            }
            Err(error) => {
                self.failed.borrow_mut().insert(namespace.inode());
                self.failures.borrow_mut().push(Error::io(what, &error));
            }
        }
        None
    }

    /// Counts a segment.
    pub(crate) fn count(&self, segment: &Segment) {
        if let Some(inode) = segment.namespace {
            *self.counted.borrow_mut().entry(inode).or_default() += 1;
        }
    }

    /// Returns each namespace that still exists with its number of counted segments, or why there is none. Call this
    /// after iterating over all rows.
    pub(crate) fn counts(&self) -> impl Iterator<Item = (&LiveNamespace, Result<u64, Unread>)> {
        self.survey.namespaces.iter().filter_map(|namespace| {
            let inode = namespace.inode();
            let is_among = |inodes: &RefCell<BTreeSet<u64>>| inodes.borrow().contains(&inode);
            let counted = if is_among(&self.denied) {
                Err(Unread::Denied)
            } else if is_among(&self.failed) {
                Err(Unread::Failed)
            } else {
                Ok(self.counted.borrow().get(&inode).copied().unwrap_or(0))
            };
            (!is_among(&self.gone)).then_some((namespace, counted))
        })
    }

    /// Returns the number of processes that may not be inspected.
    pub(crate) fn unseen_processes(&self) -> usize {
        self.survey.unseen
    }

    /// Returns the inodes of the namespaces whose segments were read.
    pub(crate) fn entered(&self) -> BTreeSet<u64> {
        let inodes = self.survey.namespaces.iter().map(LiveNamespace::inode);
        inodes.filter(|inode| !self.denied.borrow().contains(inode) && !self.failed.borrow().contains(inode)).collect()
    }

    /// Returns the number of namespaces that may not be entered.
    pub(crate) fn denied_namespaces(&self) -> usize {
        self.denied.borrow().len()
    }

    /// Returns the failures, and clears them.
    pub(crate) fn take_failures(&self) -> Vec<Error> {
        self.failures.take()
    }
}
