//! What keeps an IPC namespace alive: a process in it, a mount of its file, or an open descriptor of its file.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
use std::mem;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use super::identity::Identity;
use super::opened::Namespace;
use crate::system::foreign_file::{find_by_link, find_in_root_of};
use crate::values::visible_path;

/// The maximum number of mounts and of descriptors that are kept for each namespace.
const MAX_KEPT: usize = 4;
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
    /// This blocks if the process is stuck in execve(2), and on an old kernel if a file system does not answer: see
    /// [`crate::system::patience`].
    ///
    /// # Errors
    /// `NotFound` if the process is gone, or is no longer in it; `PermissionDenied`; `InvalidData` if another file hides
    /// the mount.
    pub(super) fn open(&self, identity: Identity) -> io::Result<Namespace> {
        let found = match self {
            Self::Process(pid) => find_by_link(&format!("/proc/{pid}/ns/ipc")),
            Self::Descriptor { pid, number } => find_by_link(&format!("/proc/{pid}/fd/{number}")),
            Self::Mount { pid, path } => find_in_root_of(*pid, path),
        };
        match found.and_then(|found| Namespace::open_found(&found, identity)) {
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
    pub(super) fn add(&self, identity: Identity, keeper: Keeper) {
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

/// Parses the inode in `ipc:[4026532205]`.
pub(super) fn inode(name: &[u8]) -> Option<u64> {
    str::from_utf8(name.strip_prefix(b"ipc:[")?.strip_suffix(b"]")?).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

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
