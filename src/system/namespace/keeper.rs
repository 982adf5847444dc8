//! What keeps an IPC namespace alive: a process in it, a mount of its file, or an open descriptor of its file.

use std::collections::BTreeSet;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use memchr::memmem;

use super::named::{Identity, Namespace, NamespaceRef};
use crate::system::patience::ask;
use crate::values::{unescaped_path, visible};

/// The maximum number of bytes read of a list of mounts. The owner of the process controls its length.
const MAX_MOUNTS_BYTES: u64 = 16 << 20;
const MAX_DESCRIPTORS: usize = 1 << 16;

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

    /// Opens the namespace.
    ///
    /// # Errors
    /// `NotFound` if it is gone; `PermissionDenied`; `TimedOut` if a file system does not answer.
    pub(super) fn open(&self) -> io::Result<Namespace> {
        match self {
            Self::Process(pid) => Namespace::open(&NamespaceRef::Process(*pid)),
            // By now the process can have any other file there.
            Self::Descriptor { pid, number } => open_theirs(*pid, format!("/proc/{pid}/fd/{number}").into()),
            Self::Mount { pid, path } => {
                // The links in /proc lead into the process's own mounts, so the path must be relative.
                let relative = path.strip_prefix("/").unwrap_or(path);
                open_theirs(*pid, Path::new(&format!("/proc/{pid}/root")).join(relative))
            }
        }
    }
}

/// Opens a namespace at a path that a process controls: its file system may not answer, and the file can be any.
fn open_theirs(pid: i32, path: PathBuf) -> io::Result<Namespace> {
    ask(pid, move |_| Namespace::open_unopened(&path)).unwrap_or_else(|| Err(io::ErrorKind::TimedOut.into()))
}

impl fmt::Display for Keeper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Process(pid) => write!(f, "process {pid}"),
            Self::Mount { pid, path } => {
                write!(f, "the mount {} that process {pid} sees", visible(path.as_os_str().as_bytes()))
            }
            Self::Descriptor { pid, number } => write!(f, "descriptor {number} of process {pid}"),
        }
    }
}

/// Finds mounts of IPC namespaces, and reads each mount namespace only once.
#[derive(Debug, Default)]
pub(super) struct Mounts {
    seen: Mutex<BTreeSet<u64>>,
}

impl Mounts {
    /// Returns the mounts that a process sees, unless another process in the same mount namespace was read before.
    /// Returns none for a process that may not be inspected.
    pub(super) fn of_process(&self, pid: i32) -> Vec<(Identity, Keeper)> {
        let mount_namespace = fs::metadata(format!("/proc/{pid}/ns/mnt")).map(|metadata| metadata.ino());
        let is_first = |inode| self.seen.lock().unwrap_or_else(PoisonError::into_inner).insert(inode);
        if !mount_namespace.is_ok_and(is_first) {
            return Vec::new();
        }
        let Ok(file) = File::open(format!("/proc/{pid}/mountinfo")) else { return Vec::new() };
        let lines = BufReader::new(file.take(MAX_MOUNTS_BYTES)).split(b'\n').map_while(Result::ok);
        let mounts = lines.filter_map(|line| mount(&line));
        mounts.map(|(identity, path)| (identity, Keeper::Mount { pid, path })).collect()
    }
}

/// Parses `607 23 0:4 ipc:[4026532205] /run/kept rw shared:9 - nsfs nsfs rw` (proc_pid_mountinfo(5)).
fn mount(line: &[u8]) -> Option<(Identity, PathBuf)> {
    memmem::find(line, b" - nsfs ")?;
    let mut words = line.split(|byte| *byte == b' ').skip(2);
    let (device, root, path) = (words.next()?, words.next()?, words.next()?);
    let (major, minor) = str::from_utf8(device).ok()?.split_once(':')?;
    let device = nix::sys::stat::makedev(major.parse().ok()?, minor.parse().ok()?);
    Some((Identity::new(inode(root)?, device), unescaped_path(path)))
}

/// Parses the number in `ipc:[4026532205]`.
fn inode(name: &[u8]) -> Option<u64> {
    str::from_utf8(name.strip_prefix(b"ipc:[")?.strip_suffix(b"]")?).ok()?.parse().ok()
}

/// Returns a process's open descriptors of IPC namespaces. Returns none for a process that may not be inspected.
pub(super) fn descriptors(pid: i32) -> Vec<(Identity, Keeper)> {
    let entries = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().filter_map(Result::ok);
    let found = entries.take(MAX_DESCRIPTORS).filter_map(|entry| {
        inode(fs::read_link(entry.path()).ok()?.as_os_str().as_bytes())?;
        let number = entry.file_name().to_str()?.parse().ok()?;
        Some((Identity::of_file(&entry.path()).ok()?, Keeper::Descriptor { pid, number }))
    });
    found.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_mounts_of_ipc_namespaces_are_taken() {
        let identity = Identity::new(4_026_532_205, nix::sys::stat::makedev(0, 4));
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
}
