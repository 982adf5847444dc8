//! The namespace that `--ns` names.

use std::ffi::OsString;
use std::fmt;
use std::fs::{self, OpenOptions};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::thread;

use nix::errno::Errno;
use nix::sched::{CloneFlags, setns};

use crate::error::{Error, Result};
use crate::linux::{NamespaceFile, forget_maps};
use crate::system::foreign_file::CachedStatus;
use crate::system::process::is_hidden;
use crate::values::visible_path;

/// The largest possible pid on a 64-bit machine (PID_MAX_LIMIT). Namespaces have larger inodes.
const MAX_PID: u64 = 4_194_304;

/// A namespace as given to `--ns`: a number is a pid or an inode, anything else a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum NamespaceRef {
    /// The IPC namespace of the process with this pid in /proc.
    Process(i32),
    /// The namespace with this inode, as in the column NS of `list`.
    Inode(u64),
    /// A namespace file: `/proc/PID/ns/ipc`, or a bind mount of one.
    Path(PathBuf),
}

/// The error for a word that names no namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ParseNamespaceError;

impl fmt::Display for ParseNamespaceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a process has a number from 1 to 4194304, and a namespace a larger one; anything else is a path")
    }
}

impl std::error::Error for ParseNamespaceError {}

impl TryFrom<OsString> for NamespaceRef {
    type Error = ParseNamespaceError;

    fn try_from(word: OsString) -> Result<NamespaceRef, ParseNamespaceError> {
        let digits = word.as_bytes().strip_prefix(b"-").unwrap_or(word.as_bytes());
        if !digits.iter().all(u8::is_ascii_digit) {
            return Ok(NamespaceRef::Path(word.into()));
        }
        match word.to_str().and_then(|word| word.parse::<u64>().ok()) {
            None | Some(0) => Err(ParseNamespaceError),
            Some(pid @ 1..=MAX_PID) => Ok(NamespaceRef::Process(pid as i32)),
            Some(inode) => Ok(NamespaceRef::Inode(inode)),
        }
    }
}

impl fmt::Display for NamespaceRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Process(pid) => write!(f, "the IPC namespace of process {pid}"),
            Self::Inode(inode) => write!(f, "IPC namespace {inode}"),
            Self::Path(path) => write!(f, "the IPC namespace {}", visible_path(path)),
        }
    }
}

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
    fn only_one(process: &str) -> Option<Identity> {
        let has_no_files = Path::new("/proc/self").exists() && fs::symlink_metadata("/proc/self/ns/ipc").is_err();
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
    pub(crate) fn open(named: &NamespaceRef) -> io::Result<Namespace> {
        let path = match named {
            NamespaceRef::Process(pid) => format!("/proc/{pid}/ns/ipc").into(),
            NamespaceRef::Inode(inode) => return super::all::find(*inode)?.ok_or(io::ErrorKind::NotFound.into()),
            NamespaceRef::Path(path) => path.clone(),
        };
        // A FIFO named by mistake must not block, and a terminal must not become our controlling terminal.
        let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(path)?;
        let identity = Identity::from(&file.metadata()?);
        Ok(Namespace { file: NamespaceFile::new(file)?, identity })
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
        Namespace::open(&NamespaceRef::Path(format!("/proc/self/fd/{}", found.as_raw_fd()).into()))
    }

    /// Opens the namespace of this thread.
    pub(super) fn of_this_thread() -> io::Result<Namespace> {
        Namespace::open(&NamespaceRef::Path("/proc/thread-self/ns/ipc".into()))
    }

    /// Moves this thread into the namespace with setns(2).
    ///
    /// # Errors
    /// `EINVAL` if it is not an IPC namespace, `EPERM` without the privilege to enter it.
    pub(crate) fn enter(&self) -> Result<(), Errno> {
        setns(&self.file, CloneFlags::CLONE_NEWIPC)
    }

    /// Runs `act` inside the namespace in a new thread. The calling thread stays in its own namespace.
    ///
    /// # Errors
    /// Those of [`Namespace::enter`] and those of `act`.
    pub(crate) fn inside<T: Send>(&self, act: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
        thread::scope(|scope| {
            let thread = thread::Builder::new().spawn_scoped(scope, || {
                self.enter()?;
                act()
            })?;
            thread.join().unwrap_or_else(|_| Err(io::Error::other("the thread in the namespace has panicked")))
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

/// Moves this process, which has a single thread, into a namespace permanently.
///
/// # Errors
/// A failure (exit status 1) with advice.
pub(crate) fn enter(named: &NamespaceRef) -> Result<()> {
    let cannot = |error: io::Error| explain(named, &error);
    if let NamespaceRef::Process(pid) = named
        && Identity::only_one(&format!("/proc/{pid}")).is_some()
    {
        return Ok(());
    }
    let namespace = Namespace::open(named).map_err(cannot)?;
    // The kernel lets only root enter a namespace, even the current one.
    if Identity::ours().is_ok_and(|ours| ours == namespace.identity) {
        return Ok(());
    }
    let entered = match namespace.enter() {
        Err(Errno::EPERM) => namespace.enter_as_owner(),
        result => result,
    };
    entered.map_err(|errno| cannot(errno.into()))
}

fn explain(named: &NamespaceRef, error: &io::Error) -> Error {
    let errno = error.raw_os_error().map(Errno::from_raw);
    let because = |cause: &str| Error { errno, ..Error::failed(format!("cannot enter {named}: {cause}")) };
    match (named, errno) {
        (NamespaceRef::Process(pid), Some(Errno::ENOENT)) if is_hidden(*pid) => {
            because("/proc does not show that process")
                .hint("it is mounted with hidepid, or not at all; root sees all processes")
        }
        (NamespaceRef::Process(_), Some(Errno::ENOENT | Errno::ESRCH)) => {
            because("there is no such process").hint("`lsns -t ipc` lists a process of each IPC namespace")
        }
        (NamespaceRef::Inode(_), None) if error.kind() == io::ErrorKind::NotFound => {
            because("no process, mount or open file of it can be seen from here")
                .hint("`shmadm list --all-namespaces` shows the namespaces; root sees all of them")
        }
        (NamespaceRef::Path(_), Some(Errno::EINVAL | Errno::ENOTTY | Errno::ENXIO)) => {
            because("that is not a file of an IPC namespace").hint("/proc/PID/ns/ipc is one")
        }
        (_, Some(Errno::EPERM | Errno::EACCES)) => {
            because("permission denied").hint("only root may enter it, and the user who created its user namespace")
        }
        _ => Error::io(format_args!("enter {named}"), error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_a_process_or_an_inode_and_other_words_are_paths() {
        let parse = |word: &str| NamespaceRef::try_from(OsString::from(word));
        assert_eq!(parse("1"), Ok(NamespaceRef::Process(1)));
        assert_eq!(parse("4194304"), Ok(NamespaceRef::Process(4_194_304)));
        assert_eq!(parse("4194305"), Ok(NamespaceRef::Inode(4_194_305)));
        assert_eq!(parse("4026531839"), Ok(NamespaceRef::Inode(4_026_531_839)));
        for path in ["/proc/1/ns/ipc", "1x", "./1", "+1", "0x1"] {
            assert_eq!(parse(path), Ok(NamespaceRef::Path(path.into())), "{path:?}");
        }
        for word in ["", "0", "-1", "99999999999999999999", "-"] {
            assert_eq!(parse(word), Err(ParseNamespaceError), "{word:?}");
        }
    }
}
