//! `--all-namespaces`: where the rows come from, and what could not be seen.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io;
use std::iter;

use nix::unistd::geteuid;

use crate::error::{Error, Result, Status};
use crate::output::{NamespaceRecord, say};
use crate::system::namespace::{Inhabited, Survey, survey};
use crate::sysv::Segment;

/// The IPC namespaces of the machine, while their segments are listed.
#[derive(Debug)]
pub(super) struct Everywhere {
    survey: Survey,
    /// How many segments of each are listed, by its inode.
    listed: RefCell<BTreeMap<u64, u64>>,
    /// Those that may not be entered.
    denied: RefCell<Vec<u64>>,
    status: Cell<Status>,
}

impl Everywhere {
    /// Finds them.
    pub(super) fn look() -> Result<Everywhere> {
        let survey =
            survey().map_err(|error| Error::io("see the processes in /proc", &error).hint("is it mounted?"))?;
        Ok(Everywhere {
            survey,
            listed: RefCell::default(),
            denied: RefCell::default(),
            status: Cell::new(Status::Done),
        })
    }

    /// The segments of one after the other. Each namespace is entered when the one before it is done.
    pub(super) fn rows(&self) -> impl Iterator<Item = Result<Segment>> {
        self.survey.namespaces.iter().flat_map(|namespace| self.rows_of(namespace))
    }

    fn rows_of(&self, namespace: &Inhabited) -> Box<dyn Iterator<Item = Result<Segment>>> {
        let what = format!("list IPC namespace {} (process {})", namespace.inode(), namespace.pid());
        match namespace.rows() {
            Ok(Some(rows)) => return Box::new(rows.map(move |row| row.map_err(|error| Error::io(&what, &error)))),
            // It went with its last process.
            Ok(None) => {}
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                self.denied.borrow_mut().push(namespace.inode());
            }
            Err(error) => {
                say(Error::io(what, &error));
                self.status.set(Status::Failed);
            }
        }
        Box::new(iter::empty())
    }

    /// Counts a segment that is listed.
    pub(super) fn count(&self, segment: &Segment) {
        if let Some(inode) = segment.namespace {
            *self.listed.borrow_mut().entry(inode).or_default() += 1;
        }
    }

    /// The namespaces, once the rows are through.
    pub(super) fn records(&self) -> impl Iterator<Item = (u64, NamespaceRecord)> {
        self.survey.namespaces.iter().map(|namespace| {
            let inode = namespace.inode();
            let listed = self.listed.borrow().get(&inode).copied().unwrap_or(0);
            let segments = (!self.denied.borrow().contains(&inode)).then_some(listed);
            (inode, NamespaceRecord::new(namespace, segments))
        })
    }

    /// Says what could not be seen, and how the listing ended: a user who sees only what is his has all that there is
    /// for him.
    pub(super) fn tell(&self) -> Status {
        let (unseen, denied) = (self.survey.unseen, self.denied.borrow().len());
        let processes = match unseen {
            0 => None,
            1 => Some("1 process may not be looked at".to_owned()),
            many => Some(format!("{many} processes may not be looked at")),
        };
        let namespaces = match denied {
            0 => None,
            1 => Some("1 IPC namespace may not be entered".to_owned()),
            many => Some(format!("{many} IPC namespaces may not be entered")),
        };
        let reasons: Vec<_> = [processes, namespaces].into_iter().flatten().collect();
        if !reasons.is_empty() {
            let who = if geteuid().is_root() { "" } else { "; root sees all" };
            say(format_args!("{}: there may be more segments{who}", reasons.join(", ")));
        }
        self.status.get()
    }
}
