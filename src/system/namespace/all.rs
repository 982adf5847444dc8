//! All IPC namespaces of the machine that /proc shows: through processes in them, mounts of them, or open files of
//! them.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;

use nix::errno::Errno;

use super::cut::note_cut;
use super::descriptors::Descriptors;
use super::identity::Identity;
use super::keeper::{Keeper, Keepers};
use super::mounts::Mounts;
use super::opened::Namespace;
use crate::system::cgroup::unit_of;
use crate::system::patience::{ask, ask_all, note_missed};
use crate::system::process::all_pids;
use crate::system::units::Unit;

/// The maximum number of processes through which a namespace is opened.
const MAX_TRIED: usize = 64;

/// The namespaces found: our own first, then the others by their inodes.
#[derive(Debug)]
pub(crate) struct Survey {
    /// Each namespace once.
    pub namespaces: Vec<LiveNamespace>,
    /// The number of processes that may not be inspected.
    pub unseen: usize,
    /// The processes that did not answer. What only their mounts or open files keep is missing.
    unanswered: Vec<i32>,
    /// The processes with so many mounts or open files that only part of them was read.
    cut: Vec<i32>,
}

impl Survey {
    /// Returns whether every process was inspected, so that no namespace is missing.
    pub(crate) fn is_complete(&self) -> bool {
        self.unseen == 0 && self.unanswered.is_empty() && self.cut.is_empty()
    }

    /// Records that output made from this survey is incomplete, if it is.
    pub(crate) fn note_incomplete(&self) {
        note_missed(&self.unanswered);
        note_cut(&self.cut);
    }
}

/// A namespace, and what keeps it alive.
#[derive(Debug)]
pub(crate) struct LiveNamespace {
    identity: Identity,
    is_ours: bool,
    /// Processes first, in ascending order of pid. This process itself is left out.
    pub(super) keepers: Vec<Keeper>,
    /// The process that represents the namespace, once [`Survey::find_representatives`] has found it.
    pub(super) representative: Option<Keeper>,
}

impl fmt::Display for LiveNamespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "IPC namespace {}", self.inode())?;
        self.keepers.first().map_or(Ok(()), |keeper| write!(f, " ({keeper})"))
    }
}

/// Finds the IPC namespace of every process, of the mounts that each process sees, and of its open files. Only the
/// first thread of a process is considered.
///
/// # Errors
/// That of reading /proc, or of finding out which namespace is ours.
pub(crate) fn survey() -> io::Result<Survey> {
    let me = fs::read_link("/proc/self");
    let ours = match Identity::ours() {
        Ok(ours) => Some(ours),
        // /proc shows another pid namespace, and not this process.
        Err(error) if error.kind() == io::ErrorKind::NotFound && me.is_err() => None,
        Err(error) => return Err(error),
    };
    let (mut unseen, mut unanswered, mut any) = (0, Vec::new(), false);
    // false sorts before true, so our own namespace comes first.
    let mut found = BTreeMap::<_, Vec<Keeper>>::new();
    let place = |identity| (Some(identity) != ours, identity);
    let me = me.ok().and_then(|link| link.to_str()?.parse().ok());
    let pids = all_pids()?;
    // Even this waits for a process that is stuck in execve(2) (fs/proc/namespaces.c, `proc_ns_get_link`).
    let identities = ask_all(&pids, Identity::of_process);
    let mut seen = Vec::new();
    for (pid, identity) in pids.into_iter().zip(identities) {
        match identity {
            Some(Ok(identity)) => {
                any = true;
                seen.push(pid);
                found.entry(place(identity)).or_default().extend((me != Some(pid)).then_some(Keeper::Process(pid)));
            }
            None => {
                unanswered.push(pid);
                unseen += 1;
            }
            // A process that has ended, or a zombie, is in no namespace.
            Some(Err(error)) if has_ended(pid, &error) => {}
            Some(Err(_)) => unseen += 1,
        }
    }
    let (kept, cut) = read_keepers(&seen, &mut unseen, &mut unanswered);
    for (identity, keeper) in kept.take() {
        found.entry(place(identity)).or_default().push(keeper);
    }
    // Our own process is always in a namespace. If /proc shows no process at all, it is not mounted, and an empty
    // answer would be wrong.
    if !any && unseen == 0 {
        return Err(Errno::ENOENT.into());
    }
    let namespaces = found.into_iter().map(|((is_another, identity), mut keepers)| {
        keepers.sort_unstable();
        LiveNamespace { identity, is_ours: !is_another, keepers, representative: None }
    });
    Ok(Survey { namespaces: namespaces.collect(), unseen, unanswered, cut })
}

/// Finds the mounts and descriptors that keep namespaces. Also returns the processes that were read only in part.
fn read_keepers(seen: &[i32], unseen: &mut usize, unanswered: &mut Vec<i32>) -> (Arc<Keepers>, Vec<i32>) {
    let (mounts, descriptors, kept) = (Mounts::default(), Descriptors::default(), Arc::<Keepers>::default());
    let (found, mut cut) = (Arc::clone(&kept), Vec::new());
    // What a descriptor refers to changes at any time, perhaps to a file whose file system does not answer.
    let read = ask_all(seen, move |pid| [mounts.of_process(pid, &found), descriptors.of_process(pid, &found)]);
    for (pid, read) in seen.iter().zip(read) {
        let Some(read) = read else {
            unanswered.push(*pid);
            continue;
        };
        let is_unseen = |error: &io::Error| !has_ended(*pid, error);
        *unseen += usize::from(read.iter().filter_map(|read| read.as_ref().err()).any(is_unseen));
        cut.extend(read.iter().any(|read| matches!(read, Ok(false))).then_some(*pid));
    }
    (kept, cut)
}

/// Returns whether a file of /proc could not be read because its process has ended.
fn has_ended(pid: i32, error: &io::Error) -> bool {
    match error.raw_os_error() {
        // EINVAL is that of a zombie's mounts (fs/proc_namespace.c).
        Some(libc::ENOENT | libc::ESRCH | libc::EINVAL) => true,
        // The kernel also returns EACCES for a process that has just ended (fs/proc/namespaces.c).
        _ => matches!(Path::new(&format!("/proc/{pid}")).try_exists(), Ok(false)),
    }
}

/// Opens the namespace with this inode; `None` if none is visible.
///
/// # Errors
/// That of reading /proc, or of opening the namespace.
pub(super) fn find(inode: u64) -> io::Result<Option<Namespace>> {
    let survey = survey()?;
    let found = survey.namespaces.iter().find(|namespace| namespace.inode() == inode);
    match found {
        Some(namespace) if namespace.is_ours => Namespace::of_this_thread().map(Some),
        Some(namespace) => namespace.open(),
        None => {
            survey.note_incomplete();
            Ok(None)
        }
    }
}

impl LiveNamespace {
    /// Returns the inode number, as lsns(8) shows it.
    pub(crate) fn inode(&self) -> u64 {
        self.identity.inode
    }

    /// Returns whether it is this thread's own namespace.
    pub(crate) fn is_ours(&self) -> bool {
        self.is_ours
    }

    /// Returns the process that represents the namespace, or else what keeps it alive. `None` if only this process is in
    /// the namespace.
    pub(crate) fn keeper(&self) -> Option<&Keeper> {
        self.representative.as_ref().or(self.keepers.first())
    }

    /// Returns the systemd unit, container or pod of the process that represents the namespace.
    pub(crate) fn unit(&self) -> Option<Unit> {
        match self.keeper()? {
            Keeper::Process(pid) => unit_of(*pid),
            Keeper::Mount { .. } | Keeper::Descriptor { .. } => None,
        }
    }

    /// Opens the namespace through the first keeper that still exists and still refers to it.
    fn open(&self) -> io::Result<Option<Namespace>> {
        self.opened_by(self.tried_keepers().next().map(|keeper| self.open_by(keeper)))
    }

    /// Returns what opening the first keeper returned, or else opens the next ones.
    fn opened_by(&self, first: Option<io::Result<Namespace>>) -> io::Result<Option<Namespace>> {
        let mut last = Ok(None);
        for opened in first.into_iter().chain(self.tried_keepers().skip(1).map(|keeper| self.open_by(keeper))) {
            match opened {
                Ok(namespace) => return Ok(Some(namespace)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => last = Err(error),
            }
        }
        last
    }

    /// Returns the keepers through which the namespace is opened: some processes, and all others.
    fn tried_keepers(&self) -> impl Iterator<Item = &Keeper> {
        let processes = self.keepers.partition_point(|keeper| matches!(keeper, Keeper::Process(_)));
        self.keepers[..processes].iter().take(MAX_TRIED).chain(&self.keepers[processes..])
    }

    fn open_by(&self, keeper: &Keeper) -> io::Result<Namespace> {
        let (asked, identity) = (keeper.clone(), self.identity);
        let opened = ask(keeper.pid(), move |_| asked.open(identity));
        opened.unwrap_or_else(|| Err(io::ErrorKind::TimedOut.into()))
    }
}

/// Opens several namespaces as [`LiveNamespace::open`] does; `None` for our own, and for one that is gone.
pub(super) fn open_all(namespaces: &[LiveNamespace]) -> Vec<io::Result<Option<Namespace>>> {
    // A thread for each would take long if the processors are busy.
    let mut by_pid = BTreeMap::<i32, Vec<_>>::new();
    for (index, namespace) in namespaces.iter().enumerate().filter(|(_, namespace)| !namespace.is_ours) {
        if let Some(keeper) = namespace.tried_keepers().next() {
            by_pid.entry(keeper.pid()).or_default().push((index, keeper.clone(), namespace.identity));
        }
    }
    let pids: Vec<i32> = by_pid.keys().copied().collect();
    let open = move |pid| {
        let keepers = by_pid.get(&pid).into_iter().flatten();
        keepers.map(|(index, keeper, identity)| (*index, keeper.open(*identity))).collect::<Vec<_>>()
    };
    let mut opened: BTreeMap<usize, _> = ask_all(&pids, open).into_iter().flatten().flatten().collect();
    let opened = |(index, namespace): (usize, &LiveNamespace)| {
        if namespace.is_ours {
            return Ok(None);
        }
        let silent = || namespace.tried_keepers().next().map(|_| Err(io::ErrorKind::TimedOut.into()));
        namespace.opened_by(opened.remove(&index).or_else(silent))
    };
    namespaces.iter().enumerate().map(opened).collect()
}
