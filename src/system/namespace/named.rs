//! The namespace that `--ns` names.

use std::ffi::OsString;
use std::fmt;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use nix::errno::Errno;

use super::all::find;
use super::identity::Identity;
use super::opened::Namespace;
use crate::error::{Error, Result};
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
    let opened = match named {
        NamespaceRef::Process(pid) => Namespace::of_process(*pid),
        NamespaceRef::Inode(inode) => find(*inode).and_then(|found| found.ok_or(io::ErrorKind::NotFound.into())),
        NamespaceRef::Path(path) => Namespace::open(path),
    };
    let namespace = opened.map_err(cannot)?;
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
