//! All IPC namespaces of the machine, as far as /proc shows processes in them, mounts of them, or open files of them.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io;

use nix::errno::Errno;

use super::keeper::{Keeper, Mounts, descriptors};
use super::named::{Identity, Namespace};
use crate::system::process::{is_kernel_thread, status_line};
use crate::system::units::{Unit, unit_of};

/// So many processes of a namespace are asked at most whether they are the first of their pid namespace.
const ASKED: usize = 64;

/// The namespaces that were found: our own first, the others by their inodes.
#[derive(Debug)]
pub(crate) struct Survey {
    /// Each of them once.
    pub namespaces: Vec<Inhabited>,
    /// How many processes may not be looked at.
    pub unseen: usize,
}

/// A namespace, and what keeps it.
#[derive(Debug)]
pub(crate) struct Inhabited {
    identity: Identity,
    is_ours: bool,
    /// Processes first, and of those the lowest pid. This process itself is left out.
    keepers: Vec<Keeper>,
}

impl fmt::Display for Inhabited {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "IPC namespace {}", self.inode())?;
        self.keepers.first().map_or(Ok(()), |keeper| write!(f, " ({keeper})"))
    }
}

/// Looks at the namespace of every process, at the mounts that each sees, and at its open files. A process is seen by its
/// first thread alone.
///
/// # Errors
/// /proc cannot be read.
pub(crate) fn survey() -> io::Result<Survey> {
    let ours = Identity::ours().ok();
    let (mut unseen, mut any, mut mounts) = (0, false, Mounts::default());
    // false is less than true: ours is first.
    let mut found = BTreeMap::<_, Vec<Keeper>>::new();
    let place = |identity| (Some(identity) != ours, identity);
    let me = fs::read_link("/proc/self").ok().and_then(|link| link.to_str()?.parse().ok());
    for entry in fs::read_dir("/proc")? {
        let Some(pid) = entry?.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else { continue };
        match Identity::of_process(pid) {
            Ok(identity) => {
                any = true;
                found.entry(place(identity)).or_default().extend((me != Some(pid)).then_some(Keeper::Process(pid)));
            }
            // A process that ends meanwhile, or a zombie, is in no namespace any more.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) if error.raw_os_error() == Some(libc::ESRCH) => continue,
            Err(_) => {
                unseen += 1;
                continue;
            }
        }
        for (identity, keeper) in mounts.of_process(pid).into_iter().chain(descriptors(pid)) {
            found.entry(place(identity)).or_default().push(keeper);
        }
    }
    // We are in one ourselves. A /proc that shows nobody at all is not mounted, and an empty answer would be a wrong one.
    if !any && unseen == 0 {
        return Err(Errno::ENOENT.into());
    }
    let namespaces = found.into_iter().map(|((is_another, identity), mut keepers)| {
        keepers.sort_unstable();
        Inhabited { identity, is_ours: !is_another, keepers }
    });
    Ok(Survey { namespaces: namespaces.collect(), unseen })
}

/// Opens the namespace of this inode; `None` if there is none that can be seen.
///
/// # Errors
/// /proc cannot be read, or the namespace may not be opened.
pub(super) fn find(inode: u64) -> io::Result<Option<Namespace>> {
    let survey = survey()?;
    let found = survey.namespaces.iter().find(|namespace| namespace.inode() == inode);
    match found {
        Some(namespace) if namespace.is_ours => Namespace::of_this_thread().map(Some),
        Some(namespace) => namespace.open(),
        None => Ok(None),
    }
}

impl Inhabited {
    /// Returns the number that lsns(8) shows.
    pub(crate) fn inode(&self) -> u64 {
        self.identity.inode
    }

    /// Whether it is this thread's own.
    pub(crate) fn is_ours(&self) -> bool {
        self.is_ours
    }

    /// Returns the process that stands for it, or else what keeps it: the first process of a pid namespace, which a
    /// container began with, else the one with the lowest pid that is no kernel thread. `None` if there is only this
    /// process.
    pub(crate) fn keeper(&self) -> Option<&Keeper> {
        let processes = || self.keepers.iter().filter(|keeper| matches!(keeper, Keeper::Process(_)));
        let is_first = |keeper: &&Keeper| {
            let pids = status_line(&keeper.pid().to_string(), "NSpid:").unwrap_or_default();
            pids.split_ascii_whitespace().next_back() == Some("1")
        };
        let first = processes().take(ASKED).find(is_first);
        let lowest = || processes().find(|keeper| !is_kernel_thread(keeper.pid()));
        first.or_else(lowest).or_else(|| self.keepers.first())
    }

    /// Returns the systemd unit, container or pod of the process that stands for it.
    pub(crate) fn unit(&self) -> Option<Unit> {
        match self.keeper()? {
            Keeper::Process(pid) => unit_of(*pid),
            Keeper::Mount { .. } | Keeper::Descriptor { .. } => None,
        }
    }

    /// Opens it by the first of what keeps it that is still there and still does.
    pub(super) fn open(&self) -> io::Result<Option<Namespace>> {
        let mut last = Ok(None);
        for keeper in &self.keepers {
            match keeper.open() {
                Ok(namespace) if namespace.identity == self.identity => return Ok(Some(namespace)),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => last = Err(error),
            }
        }
        last
    }
}
