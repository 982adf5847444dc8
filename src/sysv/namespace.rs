//! What namespaces want from the kernel that has no safe name yet: ioctl_ns(2), and a process of its own for setns(2).

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::sync::Arc;

use nix::errno::Errno;
use nix::unistd::{ForkResult, Pid, fork};
use rustix::process::{self, WaitOptions, waitpid};
use signal_hook::consts::SIGCHLD;

use super::uninterrupted;

nix::ioctl_none!(
    /// include/uapi/linux/nsfs.h
    ns_get_userns,
    0xb7,
    1
);

/// ioctl_ns(2) `NS_GET_USERNS`: the user namespace that owns a namespace.
///
/// Errors: `EPERM` where it is no descendant of our own user namespace, `ENOTTY` where this is no namespace.
pub(crate) fn owner_of(namespace: impl AsFd) -> Result<OwnedFd, Errno> {
    // SAFETY: NS_GET_USERNS takes no argument and touches no memory of ours; another file's driver that takes the number
    // for its own finds no argument either. The descriptor is open as long as it is borrowed.
    let owner = unsafe { ns_get_userns(namespace.as_fd().as_raw_fd()) }?;
    // SAFETY: a call that succeeded returned a new descriptor, which nobody else knows.
    Ok(unsafe { OwnedFd::from_raw_fd(owner) })
}

/// Runs `work` in a process of its own, which has one thread, and returns what it writes. What it does to itself, such as
/// setns(2) of a user namespace, is gone with it. `look` is told its pid before that is anybody else's.
///
/// To be called while this process has one thread. Errors: those of `work`, and of fork(2).
pub(crate) fn written_by_child<T>(
    work: impl FnOnce(File) -> io::Result<()>,
    look: impl FnOnce(Pid) -> io::Result<T>,
) -> io::Result<(Vec<u8>, T)> {
    // A parent may have SIGCHLD ignored, and then the child's pid is free, and its status lost, as soon as it ends. Any
    // handler undoes that.
    signal_hook::flag::register(SIGCHLD, Arc::default())?;
    let (mut reader, writer) = io::pipe()?;
    // SAFETY: the callers have joined the threads that they started, so that nobody holds a lock that the child would
    // wait for; and the child leaves by _exit, so that nothing of ours is flushed or dropped twice.
    match unsafe { fork() }? {
        ForkResult::Child => {
            drop(reader);
            let errno = work(OwnedFd::from(writer).into())
                .map_or_else(|error| error.raw_os_error().unwrap_or(libc::EIO), |()| 0);
            // SAFETY: _exit ends this process and returns to nobody.
            unsafe { libc::_exit(errno) }
        }
        ForkResult::Parent { child } => {
            drop(writer);
            let mut written = Vec::new();
            let read = reader.read_to_end(&mut written);
            let looked = look(child);
            let pid = process::Pid::from_raw(child.as_raw());
            let ended = uninterrupted(|| waitpid(pid, WaitOptions::empty()))?;
            read?;
            match ended.and_then(|(_, status)| status.exit_status()) {
                Some(0) => Ok((written, looked?)),
                // An exit status has eight bits, and every errno of Linux fits (errno(3): 133 at most).
                Some(errno) => Err(io::Error::from_raw_os_error(errno)),
                // A signal has ended it, a real-time one perhaps, for which nix has no number.
                None => Err(Errno::EINTR.into()),
            }
        }
    }
}
