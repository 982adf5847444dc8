//! What identifies an IPC namespace.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::system::foreign_file::CachedStatus;

/// The device and inode of a namespace's file, which identify it among all existing namespaces (namespaces(7)).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Identity {
    /// The number that lsns(8) and `ls -l /proc/PID/ns` show.
    pub inode: u64,
    device: u64,
}

impl Identity {
    /// Returns the identity for this inode on this device.
    pub(super) fn new(inode: u64, device: u64) -> Identity {
        Identity { inode, device }
    }

    /// Returns the identity of a process's IPC namespace.
    ///
    /// # Errors
    /// `PermissionDenied` for a process that may not be inspected, `NotFound` if it does not exist or has ended.
    pub(crate) fn of_process(pid: i32) -> io::Result<Identity> {
        let file = format!("/proc/{pid}/ns/ipc");
        Identity::of_file(Path::new(&file)).or_else(|error| Identity::only_one(&format!("/proc/{pid}")).ok_or(error))
    }

    /// Returns the identity of the namespace that a namespace file refers to.
    pub(crate) fn of_file(path: &Path) -> io::Result<Identity> {
        fs::metadata(path).map(|metadata| Identity::from(&metadata))
    }

    /// Returns the identity of this thread's IPC namespace.
    pub(crate) fn ours() -> io::Result<Identity> {
        let found = Identity::of_file(Path::new("/proc/thread-self/ns/ipc"));
        found.or_else(|error| Identity::only_one("/proc/self").ok_or(error))
    }

    /// Returns whether this is the namespace that the machine has started with. Its inode is fixed
    /// (include/linux/proc_ns.h, `PROC_IPC_INIT_INO`).
    pub(crate) fn is_initial(self) -> bool {
        matches!(self.inode, 0 | 0xEFFF_FFFF)
    }

    /// Returns the namespace of all processes if the kernel has only one (without CONFIG_IPC_NS), and so has no
    /// namespace files. Its inode is 0, which no file has. `None` if the kernel has namespaces, or there is no such
    /// process.
    pub(super) fn only_one(process: &str) -> Option<Identity> {
        let is_missing = |error: &io::Error| error.kind() == io::ErrorKind::NotFound;
        let file = fs::symlink_metadata("/proc/self/ns/ipc");
        let has_no_files = Path::new("/proc/self").exists() && file.is_err_and(|error| is_missing(&error));
        (has_no_files && Path::new(process).exists()).then_some(Identity { inode: 0, device: 0 })
    }
}

impl From<&fs::Metadata> for Identity {
    fn from(metadata: &fs::Metadata) -> Identity {
        Identity { inode: metadata.ino(), device: metadata.dev() }
    }
}

impl From<CachedStatus> for Identity {
    fn from(status: CachedStatus) -> Identity {
        Identity { inode: status.inode, device: status.device }
    }
}
