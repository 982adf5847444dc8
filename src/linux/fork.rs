//! A child process that runs our own code, without execve(2).

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process;

use nix::errno::Errno;
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::Signal;
use nix::unistd::{ForkResult, Pid};
use rustix::process::{WaitOptions, waitpid};

use super::{restore_default, uninterrupted};

/// Creates a child process with fork(2). This process must have only one thread.
///
/// # Errors
/// `EBUSY` if the process has other threads, or if that cannot be determined: a lock that another thread holds would
/// stay locked in the child for ever. `EAGAIN` if no more processes are allowed, `ENOMEM`.
///
/// # Safety
/// The child must neither return from the function that called this nor unwind out of it. Otherwise what the parent
/// owns would be dropped, flushed and removed twice. The child must end by [`exit_now`] or by execve(2).
pub(crate) unsafe fn fork() -> Result<ForkResult, Errno> {
    if !has_one_thread() {
        return Err(Errno::EBUSY);
    }
    // SAFETY: this is the only thread, so the child inherits no lock held by another thread. The caller guarantees the
    // rest.
    unsafe { nix::unistd::fork() }
}

/// Returns whether this process has one thread. unshare(2) with `CLONE_THREAD` fails if there are more, and otherwise
/// does nothing. If a seccomp profile forbids the call, /proc is read instead.
fn has_one_thread() -> bool {
    unshare(CloneFlags::CLONE_THREAD).is_ok() || fs::read_dir("/proc/self/task").is_ok_and(is_one)
}

/// Returns whether a directory was read to its end and has one entry.
fn is_one<T>(mut entries: impl Iterator<Item = io::Result<T>>) -> bool {
    matches!((entries.next(), entries.next()), (Some(Ok(_)), None))
}

/// Ends this process with _exit(2), without flushing, dropping or unwinding anything.
pub(crate) fn exit_now(status: i32) -> ! {
    // SAFETY: _exit does not return, and runs no code of this process.
    unsafe { libc::_exit(status) }
}

/// Starts a program in a child with fork(2) and execve(2). `exec` prepares the child and executes the program; it
/// returns only on failure.
///
/// # Errors
/// What `exec` returns; those of [`fork`] and pipe(2).
pub(crate) fn start(exec: impl FnOnce() -> Errno) -> Result<Pid, Errno> {
    // Both ends close on exec: if it succeeds, the parent reads nothing.
    let (mut reader, mut writer) = io::pipe().map_err(|error| Errno::from_raw(error.raw_os_error().unwrap_or(0)))?;
    // SAFETY: the child leaves by execve, exit_now or abort, even if `exec` panics.
    match unsafe { fork() }? {
        ForkResult::Child => {
            let Ok(errno) = catch_unwind(AssertUnwindSafe(exec)) else { process::abort() };
            // If this fails, the parent is gone and needs no answer.
            let _ = writer.write_all(&(errno as i32).to_ne_bytes());
            exit_now(127)
        }
        ForkResult::Parent { child } => {
            drop(writer);
            let mut errno = [0; 4];
            if reader.read_exact(&mut errno).is_err() {
                return Ok(child);
            }
            let pid = rustix::process::Pid::from_raw(child.as_raw());
            // The child ends by itself.
            let _ = uninterrupted(|| waitpid(pid, WaitOptions::empty()));
            Err(Errno::from_raw(i32::from_ne_bytes(errno)))
        }
    }
}

/// Runs `work` in a child process, which then exits with the status that `work` returns. Does not wait for it.
///
/// # Errors
/// Those of fork(2); `EBUSY` if this process has more than one thread.
pub(crate) fn in_child(work: impl FnOnce() -> i32) -> Result<Pid, Errno> {
    // SAFETY: the child leaves by exit_now or abort, even if `work` panics.
    match unsafe { fork() }? {
        ForkResult::Child => match catch_unwind(AssertUnwindSafe(work)) {
            Ok(status) => exit_now(status),
            Err(_) => process::abort(),
        },
        ForkResult::Parent { child } => Ok(child),
    }
}

/// Runs `work` in a child process with one thread, and returns what it writes. Changes to the child, such as setns(2)
/// into a user namespace, end with it. `inspect` gets the child's pid while the pid cannot be reused.
///
/// # Errors
/// Those of `work`, `inspect` and fork(2); `EBUSY` if this process has more than one thread.
pub(crate) fn written_by_child<T>(
    work: impl FnOnce(File) -> io::Result<()>,
    inspect: impl FnOnce(Pid) -> io::Result<T>,
) -> io::Result<(Vec<u8>, T)> {
    // While SIGCHLD is ignored, a child's status and pid are gone as soon as it exits. The parent may have set it so.
    restore_default(Signal::SIGCHLD)?;
    let (mut reader, writer) = io::pipe()?;
    // SAFETY: the child leaves by exit_now or abort, even if `work` panics.
    match unsafe { fork() }? {
        ForkResult::Child => {
            drop(reader);
            let done = catch_unwind(AssertUnwindSafe(|| work(OwnedFd::from(writer).into())));
            match done {
                Ok(Ok(())) => exit_now(0),
                Ok(Err(error)) => exit_now(error.raw_os_error().unwrap_or(libc::EIO)),
                Err(_) => process::abort(),
            }
        }
        ForkResult::Parent { child } => {
            drop(writer);
            let mut written = Vec::new();
            let read = reader.read_to_end(&mut written);
            let inspected = inspect(child);
            let pid = rustix::process::Pid::from_raw(child.as_raw());
            let ended = uninterrupted(|| waitpid(pid, WaitOptions::empty()))?;
            read?;
            match ended.and_then(|(_, status)| status.exit_status()) {
                Some(0) => Ok((written, inspected?)),
                // An exit status has eight bits, enough for every errno of Linux (errno(3): at most 133).
                Some(errno) => Err(io::Error::from_raw_os_error(errno)),
                // A signal ended the child.
                None => Err(Errno::EINTR.into()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_with_other_threads_does_not_fork() {
        // The test harness runs each test in a thread of its own.
        let forked = written_by_child(|_| Ok(()), |_| Ok(()));
        assert_eq!(forked.err().and_then(|error| error.raw_os_error()), Some(libc::EBUSY));
    }

    #[test]
    fn a_directory_that_cannot_be_read_does_not_have_one_entry() {
        let failed = || Err(io::Error::from(io::ErrorKind::OutOfMemory));
        for (entries, expected) in [
            (vec![Ok(1)], true),
            (vec![Ok(1), Ok(2)], false),
            (vec![failed()], false),
            (vec![Ok(1), failed()], false),
            (vec![], false),
        ] {
            let shown = format!("{entries:?}");
            assert_eq!(is_one(entries.into_iter()), expected, "{shown}");
        }
    }
}
