//! What keeps an IPC namespace alive: a process in it, a mount of its file, or an open descriptor of its file.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs::{self, DirEntry, File};
use std::io::{self, BufRead, BufReader, Read};
use std::mem;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use memchr::memmem;
use nix::time::{ClockId, clock_gettime};
use nix::unistd::Pid;
use rustix::fs::makedev;

use super::identity::Identity;
use super::opened::Namespace;
use crate::linux::compare_files;
use crate::system::budget::Budget;
use crate::system::foreign_file::{CachedStatus, find_by_link, find_in_root_of};
use crate::system::patience::ask;
use crate::values::{unescaped_path, visible_path};

/// The maximum number of bytes of a line of a list of mounts. A longer path than this cannot be opened.
const MAX_LINE: u64 = 32 << 10;
/// The kernel prepares as many lines as are read at once, and a line can take it milliseconds.
const READ_AT_ONCE: usize = 2048;
/// The processor time that counts as much as a byte. The kernel needs less, except for mounts on top of each other: for
/// each line it follows all mounts below.
const NANOSECONDS_PER_BYTE: u64 = 20;
/// The maximum number of mounts and of descriptors that are kept for each namespace.
const MAX_KEPT: usize = 4;
/// The number of open files from which on it is checked whether a table was read before.
const LARGE: u64 = 1024;

/// Something that keeps a namespace alive. Without a keeper, the kernel destroys the namespace and its segments.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Keeper {
    /// A process in the namespace.
    Process(i32),
    /// A mount of the namespace's file, at a path that this process sees.
    Mount { pid: i32, path: PathBuf },
    /// An open descriptor of the namespace's file.
    Descriptor { pid: i32, number: u32 },
}

impl Keeper {
    /// Returns the process through which the namespace is found.
    pub(crate) fn pid(&self) -> i32 {
        match self {
            Self::Process(pid) | Self::Mount { pid, .. } | Self::Descriptor { pid, .. } => *pid,
        }
    }

    /// Opens the namespace with this identity.
    ///
    /// # Errors
    /// `NotFound` if the process is gone, or is no longer in it; `PermissionDenied`; `InvalidData` if another file hides
    /// the mount.
    pub(super) fn open(&self, identity: Identity) -> io::Result<Namespace> {
        let (pid, find): (_, Box<dyn Fn() -> io::Result<OwnedFd> + Send + Sync>) = match self.clone() {
            Self::Process(pid) => (pid, Box::new(move || find_by_link(&format!("/proc/{pid}/ns/ipc")))),
            Self::Descriptor { pid, number } => {
                (pid, Box::new(move || find_by_link(&format!("/proc/{pid}/fd/{number}"))))
            }
            Self::Mount { pid, path } => (pid, Box::new(move || find_in_root_of(pid, &path))),
        };
        // On an old kernel, a file system may be asked that does not answer.
        let opened = ask(pid, move |_| Namespace::open_found(&find()?, identity));
        match opened.unwrap_or_else(|| Err(io::ErrorKind::TimedOut.into())) {
            // A process enters another namespace, and a descriptor is closed, at any time.
            Err(error) if error.kind() == io::ErrorKind::InvalidData && !matches!(self, Self::Mount { .. }) => {
                Err(io::ErrorKind::NotFound.into())
            }
            // The mount's own path has no links and is in the kernel's cache.
            Err(error) if matches!(error.raw_os_error(), Some(libc::ELOOP | libc::EAGAIN | libc::ENOTDIR)) => {
                Err(io::Error::new(io::ErrorKind::InvalidData, "another file hides it"))
            }
            opened => opened,
        }
    }
}

impl fmt::Display for Keeper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Process(pid) => write!(f, "process {pid}"),
            Self::Mount { pid, path } => {
                write!(f, "the mount {} that process {pid} sees", visible_path(path))
            }
            Self::Descriptor { pid, number } => write!(f, "descriptor {number} of process {pid}"),
        }
    }
}

/// The mounts and descriptors found: the first few of each kind for each namespace.
#[derive(Debug, Default)]
pub(super) struct Keepers(Mutex<BTreeMap<(Identity, bool), BTreeSet<Keeper>>>);

impl Keepers {
    fn add(&self, identity: Identity, keeper: Keeper) {
        let mut found = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = found.entry((identity, matches!(keeper, Keeper::Descriptor { .. }))).or_default();
        if kept.len() < MAX_KEPT || kept.last().is_some_and(|last| keeper < *last) {
            kept.insert(keeper);
        }
        if kept.len() > MAX_KEPT {
            kept.pop_last();
        }
    }

    /// Takes all of them, with their namespaces.
    pub(super) fn take(&self) -> impl Iterator<Item = (Identity, Keeper)> {
        let found = mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        found.into_iter().flat_map(|((identity, _), kept)| kept.into_iter().map(move |keeper| (identity, keeper)))
    }
}

/// Finds mounts of IPC namespaces, and reads each mount namespace only once.
#[derive(Debug)]
pub(super) struct Mounts {
    seen: Mutex<BTreeSet<u64>>,
    /// In bytes.
    budget: Budget,
}

impl Default for Mounts {
    fn default() -> Mounts {
        Mounts { seen: Mutex::default(), budget: Budget::new(64 << 10, 8 << 20, 24 << 20) }
    }
}

impl Mounts {
    /// Finds the mounts that a process sees, unless another process in the same mount namespace was read before. Returns
    /// whether all were read.
    ///
    /// # Errors
    /// Those of reading /proc.
    pub(super) fn of_process(&self, pid: i32, found: &Keepers) -> io::Result<bool> {
        let mount_namespace = fs::metadata(format!("/proc/{pid}/ns/mnt"))?.ino();
        let seen = || self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if !seen().insert(mount_namespace) {
            return Ok(true);
        }
        self.read(pid, found).inspect_err(|_| {
            // Another process in the mount namespace may still show them.
            seen().remove(&mount_namespace);
        })
    }

    fn read(&self, pid: i32, found: &Keepers) -> io::Result<bool> {
        let file = File::open(format!("/proc/{pid}/mountinfo"))?;
        let mut reader = BufReader::with_capacity(READ_AT_ONCE, file);
        let (mut share, mut line) = (self.budget.share(pid), Vec::new());
        let mut before = processor_time();
        loop {
            line.clear();
            let length = reader.by_ref().take(MAX_LINE).read_until(b'\n', &mut line)? as u64;
            let now = processor_time();
            let cost = length.max(now.saturating_sub(before) / NANOSECONDS_PER_BYTE);
            before = now;
            if length == 0 {
                return Ok(true);
            }
            if let Some((identity, path)) = mount(&line) {
                found.add(identity, Keeper::Mount { pid, path });
            }
            if line.last() != Some(&b'\n') || !share.take(cost) {
                return Ok(false);
            }
        }
    }
}

/// Returns the processor time of this thread in nanoseconds.
fn processor_time() -> u64 {
    let time = clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map_or(Duration::ZERO, Duration::from);
    time.as_nanos() as u64
}

/// Parses `607 23 0:4 ipc:[4026532205] /run/kept rw shared:9 - nsfs nsfs rw` (proc_pid_mountinfo(5)).
fn mount(line: &[u8]) -> Option<(Identity, PathBuf)> {
    memmem::find(line, b" - nsfs ")?;
    let mut words = line.split(|byte| *byte == b' ').skip(2);
    let (device, root, path) = (words.next()?, words.next()?, words.next()?);
    let (major, minor) = str::from_utf8(device).ok()?.split_once(':')?;
    let device = makedev(major.parse().ok()?, minor.parse().ok()?);
    Some((Identity::new(inode(root)?, device), unescaped_path(path)))
}

/// Parses the number in `ipc:[4026532205]`.
fn inode(name: &[u8]) -> Option<u64> {
    str::from_utf8(name.strip_prefix(b"ipc:[")?.strip_suffix(b"]")?).ok()?.parse().ok()
}

/// Finds open descriptors of IPC namespaces, and reads each large table of open files only once: many processes can share
/// one (clone(2) with `CLONE_FILES`).
#[derive(Debug)]
pub(super) struct Descriptors {
    /// A process of each large table that was read, in the kernel's order of the tables.
    seen: Mutex<Vec<i32>>,
    /// In descriptors.
    budget: Budget,
}

impl Default for Descriptors {
    fn default() -> Descriptors {
        Descriptors { seen: Mutex::default(), budget: Budget::new(256, 1 << 16, 1 << 17) }
    }
}

impl Descriptors {
    /// Finds a process's descriptors. Returns whether all were read.
    ///
    /// # Errors
    /// Those of reading the directory.
    pub(super) fn of_process(&self, pid: i32, found: &Keepers) -> io::Result<bool> {
        let path = format!("/proc/{pid}/fd");
        // The size is the number of open files, since Linux 6.2.
        if fs::metadata(&path).is_ok_and(|directory| directory.len() >= LARGE) && self.was_read(pid) {
            return Ok(true);
        }
        let (mut share, mut known) = (self.budget.share(pid), BTreeSet::new());
        for entry in fs::read_dir(path)? {
            let entry = entry?;
            if !share.take(1) {
                return Ok(false);
            }
            // One descriptor of each namespace is enough.
            if let Some(inode) = linked(&entry)
                && !known.contains(&inode)
                && let Some((identity, keeper)) = descriptor(pid, &entry, inode)
            {
                known.insert(inode);
                found.add(identity, keeper);
            }
        }
        Ok(true)
    }

    /// Returns whether the table of a process was read before, and otherwise remembers it.
    fn was_read(&self, pid: i32) -> bool {
        let lock = || self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        // Compared without the lock, because kcmp(2) waits for a process that is stuck in execve(2).
        let seen = lock().clone();
        let compare = |other: &i32| compare_files(Pid::from_raw(*other), Pid::from_raw(pid)).unwrap_or(Ordering::Less);
        let Err(place) = seen.binary_search_by(compare) else { return true };
        let mut seen = lock();
        let place = place.min(seen.len());
        seen.insert(place, pid);
        false
    }
}

/// Returns the inode of the IPC namespace that a descriptor seems to refer to.
fn linked(entry: &DirEntry) -> Option<u64> {
    inode(fs::read_link(entry.path()).ok()?.as_os_str().as_bytes())
}

fn descriptor(pid: i32, entry: &DirEntry, inode: u64) -> Option<(Identity, Keeper)> {
    let number = entry.file_name().to_str()?.parse().ok()?;
    // The descriptor may be another file by now.
    let status = CachedStatus::of(find_by_link(entry.path().to_str()?).ok()?).ok()?;
    (status.inode == inode).then(|| (Identity::from(status), Keeper::Descriptor { pid, number }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_mounts_of_ipc_namespaces_are_taken() {
        let identity = Identity::new(4_026_532_205, makedev(0, 4));
        for (line, found) in [
            ("607 23 0:4 ipc:[4026532205] /run/kept rw shared:9 - nsfs nsfs rw", Some("/run/kept")),
            (r"607 23 0:4 ipc:[4026532205] /a\040b rw - nsfs nsfs rw", Some("/a b")),
            ("607 23 0:4 net:[4026532205] /run/kept rw shared:9 - nsfs nsfs rw", None),
            ("607 23 0:4 ipc:[4026532205] /run/kept rw shared:9 - tmpfs nsfs rw", None),
            ("607 23 0:4 ipc:[] /run/kept rw - nsfs nsfs rw", None),
            ("", None),
        ] {
            assert_eq!(mount(line.as_bytes()), found.map(|path| (identity, path.into())), "{line}");
        }
    }

    #[test]
    fn another_file_is_not_opened() {
        let identity = |path: &str| Identity::of_file(path.as_ref()).expect(path);
        let namespace = find_by_link("/proc/self/ns/ipc").expect("a namespace");
        assert!(Namespace::open_found(&namespace, identity("/proc/self/ns/ipc")).is_ok());
        for (file, expected) in [("/proc/self/ns/mnt", "/proc/self/ns/ipc"), ("/dev/null", "/proc/self/ns/ipc")] {
            let found = find_by_link(file).expect(file);
            let error = Namespace::open_found(&found, identity(expected)).err();
            assert_eq!(error.map(|error| error.kind()), Some(io::ErrorKind::InvalidData), "{file}");
        }
        // A link is not followed, and a path that the kernel does not have in its cache is not looked up.
        assert!(find_in_root_of(std::process::id() as i32, "/proc/self/ns/ipc".as_ref()).is_err());
    }
}
