//! All IPC namespaces of the machine, as far as processes are in them and /proc shows these.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Cursor, Write};

use nix::errno::Errno;
use nix::unistd::Pid;
use procfs::Current;

use super::named::{Identity, Namespace, NamespaceRef};
use super::owners::Owners;
use crate::linux::written_by_child;
use crate::system::process::proc_is_ours;
use crate::sysv::{self, Segment, Segments, Table};

/// The namespaces that were found: our own first, the others by their inodes.
#[derive(Debug)]
pub(crate) struct Survey {
    /// Each of them once.
    pub namespaces: Vec<Inhabited>,
    /// How many processes may not be looked at.
    pub unseen: usize,
}

/// A namespace with processes in it.
#[derive(Debug)]
pub(crate) struct Inhabited {
    identity: Identity,
    is_ours: bool,
    /// The lowest first.
    pids: Vec<i32>,
}

/// The rows of a namespace's table.
pub(crate) type Rows = Box<dyn Iterator<Item = io::Result<Segment>>>;

/// Looks at the namespace of every process. A process is seen by its first thread alone, and a namespace that only a
/// mount or an open file keeps is not seen.
///
/// Errors: /proc cannot be read.
pub(crate) fn survey() -> io::Result<Survey> {
    let ours = Identity::ours().ok();
    let mut unseen = 0;
    let mut found = BTreeMap::<_, Vec<i32>>::new();
    for entry in fs::read_dir("/proc")? {
        let Some(pid) = entry?.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        match Identity::of_process(pid) {
            // false is less than true.
            Ok(identity) => found.entry((Some(identity) != ours, identity)).or_default().push(pid),
            // A process that ends meanwhile, or a zombie, is in no namespace any more.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) if error.raw_os_error() == Some(libc::ESRCH) => {}
            Err(_) => unseen += 1,
        }
    }
    // We are in one ourselves. A /proc that shows nobody at all is not mounted, and an empty answer would be a wrong one.
    if found.is_empty() && unseen == 0 {
        return Err(Errno::ENOENT.into());
    }
    let namespaces = found.into_iter().map(|((is_another, identity), mut pids)| {
        pids.sort_unstable();
        Inhabited { identity, is_ours: !is_another, pids }
    });
    Ok(Survey { namespaces: namespaces.collect(), unseen })
}

impl Inhabited {
    /// The number that lsns(8) shows.
    pub(crate) fn inode(&self) -> u64 {
        self.identity.inode
    }

    /// Whether it is this thread's own.
    pub(crate) fn is_ours(&self) -> bool {
        self.is_ours
    }

    /// A process in it: of those that are seen the one with the lowest pid, which mostly was there first.
    pub(crate) fn pid(&self) -> i32 {
        self.pids.first().copied().unwrap_or(0)
    }

    /// Its segments. The namespace of this thread stays what it is; to be called while the process has one thread.
    ///
    /// `None` where it has gone meanwhile. Errors: `PermissionDenied` where it may not be entered.
    pub(crate) fn rows(&self) -> io::Result<Option<Rows>> {
        let inode = self.inode();
        let mark = move |row: io::Result<Segment>| row.map(|row| Segment { namespace: Some(inode), ..row });
        if self.is_ours {
            return Ok(Some(Box::new(rows_here()?.map(mark))));
        }
        let Some(namespace) = self.open()? else { return Ok(None) };
        // The rows stay those of the namespace that they were asked for in (ipc/util.c, `sysvipc_proc_open`).
        match namespace.inside(rows_here) {
            Err(error) if error.raw_os_error() == Some(libc::EPERM) => {
                let (table, owners) = copy_table(&namespace)?;
                let rows = Segments::new(Cursor::new(table))?;
                Ok(Some(Box::new(rows.map(move |row| row.map(|row| owners.as_seen_here(row))).map(mark))))
            }
            rows => Ok(Some(Box::new(rows?.map(mark)))),
        }
    }

    /// Opens it by the first of its processes that is still there and still in it.
    fn open(&self) -> io::Result<Option<Namespace>> {
        let mut last = Ok(None);
        for pid in &self.pids {
            match Namespace::open(&NamespaceRef::Process(*pid)) {
                Ok(namespace) if namespace.identity == self.identity => return Ok(Some(namespace)),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => last = Err(error),
            }
        }
        last
    }
}

/// The segments of this thread's namespace.
fn rows_here() -> io::Result<sysv::Rows> {
    sysv::rows().map_err(|error| error.errno.into())
}

/// Copies a namespace's table for the user who owns the user namespace around it: only a process of its own can go there. The users in
/// this table are those of that user namespace.
fn copy_table(namespace: &Namespace) -> io::Result<(Vec<u8>, Owners)> {
    // Below, the child is looked at by its pid.
    if !proc_is_ours() {
        return Err(Errno::EPERM.into());
    }
    let copy = |mut out: File| {
        namespace.enter_as_owner()?;
        io::copy(&mut File::open(Table::PATH)?, &mut out)?;
        out.flush()
    };
    written_by_child(copy, |child: Pid| Owners::of_process(child.as_raw()))
}
