//! An open IPC namespace, which can be entered.

use std::fs::OpenOptions;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::thread;

use nix::errno::Errno;
use nix::sched::{CloneFlags, setns};

use super::identity::Identity;
use crate::linux::{NamespaceFile, forget_maps};
use crate::system::foreign_file::CachedStatus;

/// An open namespace file, which keeps the namespace alive.
#[derive(Debug)]
pub(crate) struct Namespace {
    file: NamespaceFile,
    /// The namespace's identity.
    pub identity: Identity,
}

impl Namespace {
    /// Opens a namespace file. Only entering it shows whether it is an IPC namespace.
    ///
    /// # Errors
    /// Those of open(2), and `ENOTTY` for a file that is not a namespace.
    pub(super) fn open(path: &Path) -> io::Result<Namespace> {
        // A FIFO named by mistake must not block, and a terminal must not become our controlling terminal.
        let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(path)?;
        let identity = Identity::from(&file.metadata()?);
        Ok(Namespace { file: NamespaceFile::new(file)?, identity })
    }

    /// Opens the namespace of a process or thread.
    ///
    /// # Errors
    /// Those of open(2): `PermissionDenied`, or `NotFound` if it does not exist or has ended.
    pub(crate) fn of_process(pid: i32) -> io::Result<Namespace> {
        Namespace::open(Path::new(&format!("/proc/{pid}/ns/ipc")))
    }

    /// Opens a file that another process controls, found with `O_PATH`, if it is this namespace. Any other file is not
    /// opened, which could have an effect.
    ///
    /// # Errors
    /// `InvalidData` if it is another file.
    pub(super) fn open_found(found: &OwnedFd, identity: Identity) -> io::Result<Namespace> {
        if Identity::from(CachedStatus::of(found)?) != identity {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "another file is there now"));
        }
        Namespace::open(Path::new(&format!("/proc/self/fd/{}", found.as_raw_fd())))
    }

    /// Opens the namespace of this thread.
    pub(crate) fn of_this_thread() -> io::Result<Namespace> {
        Namespace::open(Path::new("/proc/thread-self/ns/ipc"))
    }

    /// Moves this thread into the namespace with setns(2).
    ///
    /// # Errors
    /// `EINVAL` if it is not an IPC namespace, `EPERM` without the privilege to enter it.
    pub(crate) fn enter(&self) -> Result<(), Errno> {
        setns(&self.file, CloneFlags::CLONE_NEWIPC)
    }

    /// Runs `act` inside each of the namespaces, in one new thread. The calling thread stays in its own namespace.
    ///
    /// # Errors
    /// That of creating the thread. Each result has those of [`Namespace::enter`] and of `act`.
    pub(super) fn inside_each<T: Send>(
        namespaces: &[&Namespace],
        act: fn() -> io::Result<T>,
    ) -> io::Result<Vec<io::Result<T>>> {
        let enter = |namespace: &&Namespace| {
            namespace.enter()?;
            act()
        };
        thread::scope(|scope| {
            let thread = thread::Builder::new().spawn_scoped(scope, || namespaces.iter().map(enter).collect())?;
            thread.join().map_err(|_| io::Error::other("the thread in the namespace has panicked"))
        })
    }

    /// Enters the namespace through the user namespace that owns it. The creator of that user namespace may enter it,
    /// and becomes root there. Only for a single-threaded process.
    ///
    /// # Errors
    /// `EPERM` for every other user.
    pub(crate) fn enter_as_owner(&self) -> Result<(), Errno> {
        let owner = self.file.owner()?;
        match setns(owner, CloneFlags::CLONE_NEWUSER) {
            Ok(()) => {
                forget_maps();
                self.enter()
            }
            // `EINVAL` means that we are already in that user namespace, and lack the privilege there.
            Err(Errno::EINVAL) => Err(Errno::EPERM),
            Err(errno) => Err(errno),
        }
    }
}
