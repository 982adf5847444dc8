//! Running a command until it exits, and forwarding shutdown signals to it.

mod search;

use std::env;
use std::ffi::{CStr, CString, OsString};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::{SigSet, SigmaskHow, Signal, kill, sigprocmask};
use nix::sys::signalfd::SignalFd;
use nix::unistd::{Pid, execve, getpid, getsid};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{self, WaitOptions, WaitStatus, waitpid};

use self::search::Program;
use super::signals::{BlockedSignals, IGNORED};
use crate::linux::seccomp::{Filter, Listener, NotTraced};
use crate::linux::{self, restore_default, uninterrupted};

/// How often to check whether the command has exited, if poll(2) fails.
const PAUSE: Duration = Duration::from_millis(10);
/// How often to check whether the command has exited, if no signal says so. Normally SIGCHLD does.
const MAX_WAIT: Timespec = Timespec { tv_sec: 1, tv_nsec: 0 };
/// The signals that are forwarded.
const FORWARDED: [Signal; 3] = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP];

/// The `si_code` of a signal that the kernel itself sends, for example for Ctrl-C on a terminal
/// (include/uapi/asm-generic/siginfo.h). The signal of a key goes to the whole process group, so the command already has
/// it. But that of a terminal that hangs up goes only to the leader of the session (credentials(7)).
const SI_KERNEL: i32 = 0x80;

/// The result of running a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The command exited with this status. As in a shell, 128+N means that signal N ended it.
    Ended(u8),
    /// The command could not be executed: `ENOENT` if there is no such command.
    NotStarted(Errno),
}

/// Runs a command until it exits. It is found and executed as by execvp(3). SIGINT, SIGTERM and SIGHUP are forwarded to
/// it, except those that a terminal sends to both processes.
///
/// The command gets `filter`, if there is one. `started` receives the command's pid, and the filter's listener or the
/// reason why there is none: the command runs nevertheless. Call this while the process has one thread.
///
/// # Errors
/// Those of signalfd(2) and waitpid(2).
pub(crate) fn run(
    command: &[OsString],
    filter: Result<Filter, Errno>,
    started: impl FnOnce(Pid, Result<Listener, NotTraced>),
) -> io::Result<Outcome> {
    // While SIGCHLD is ignored, the status of a command is lost; the parent may have set it so. The command also gets
    // the default.
    restore_default(Signal::SIGCHLD)?;
    // Blocked before the command starts, so that no signal is lost.
    let blocked = BlockedSignals::block([Signal::SIGCHLD].into_iter().chain(FORWARDED));
    let signals = blocked.descriptor()?;
    match start(command, blocked.before(), &filter) {
        Ok((child, listener)) => {
            started(child, listener);
            wait(child, &signals).map(|ended| Outcome::Ended(status(ended)))
        }
        Err(errno) => Ok(Outcome::NotStarted(errno)),
    }
}

/// Starts the command with this signal mask, the default action for the signals that this process ignores, and the
/// filter. posix_spawn(3) cannot install a filter.
fn start(
    command: &[OsString],
    mask: &SigSet,
    filter: &Result<Filter, Errno>,
) -> Result<(Pid, Result<Listener, NotTraced>), Errno> {
    let program = Program::new(command)?;
    let environment = environment()?;
    let (ours, theirs) = UnixStream::pair().map_err(|error| Errno::from_raw(error.raw_os_error().unwrap_or(0)))?;
    let pid = linux::start(|| {
        for signal in IGNORED {
            // This fails only for signals that cannot be ignored.
            let _ = restore_default(signal);
        }
        if let Ok(filter) = filter {
            filter.install(theirs.as_fd());
        }
        // Not `thread_set_mask`: see `BlockedSignals::block`.
        if let Err(errno) = sigprocmask(SigmaskHow::SIG_SETMASK, Some(mask), None) {
            return errno;
        }
        let Err(errno) = program.execute(|path: &CStr, arguments: &[&CStr]| execve(path, arguments, &environment));
        errno
    })?;
    drop(theirs);
    let listener = match filter {
        Ok(_) => Listener::receive_from(ours.as_fd()),
        Err(errno) => Err((*errno).into()),
    };
    Ok((pid, listener))
}

/// Returns the environment of this process in the form that execve(2) takes.
fn environment() -> Result<Vec<CString>, Errno> {
    let variable = |(name, value): (OsString, OsString)| [name.into_vec(), value.into_vec()].join(&b'=');
    env::vars_os().map(|pair| CString::new(variable(pair)).map_err(|_| Errno::EINVAL)).collect()
}

/// Waits until the command has exited, and forwards signals until then.
fn wait(child: Pid, signals: &SignalFd) -> io::Result<WaitStatus> {
    let pid = process::Pid::from_raw(child.as_raw());
    loop {
        if let Some((_, ended)) = uninterrupted(|| waitpid(pid, WaitOptions::NOHANG))? {
            discard(signals);
            return Ok(ended);
        }
        if poll(&mut [PollFd::from_borrowed_fd(signals.as_fd(), PollFlags::IN)], Some(&MAX_WAIT)).is_err() {
            // The command runs, whatever fails here.
            thread::sleep(PAUSE);
        }
        while let Ok(Some(arrived)) = signals.read_signal() {
            let known = FORWARDED.into_iter().find(|known| *known as u32 == arrived.ssi_signo);
            if let Some(known) = known
                && (arrived.ssi_code != SI_KERNEL || known == Signal::SIGHUP && leads_session())
            {
                // The command has not been waited for, so its pid cannot have been reused.
                let _ = kill(child, known);
            }
        }
    }
}

/// Returns whether this process leads its session, for example as the command of `ssh -t` or of a container.
fn leads_session() -> bool {
    getsid(None) == Ok(getpid())
}

/// Discards the signals that arrived before the command exited. They were meant for the command, for example a Ctrl-C
/// that ended both, and must not end this process before it has reported. Later signals are meant for this process.
fn discard(signals: &SignalFd) {
    while let Ok(Some(_)) = signals.read_signal() {}
}

/// Returns the exit status that a shell would report. The raw number is used because nix does not know real-time
/// signals.
fn status(ended: WaitStatus) -> u8 {
    let status = ended.exit_status().or_else(|| ended.terminating_signal().map(|signal| 128 + signal));
    status.and_then(|status| u8::try_from(status).ok()).unwrap_or(1)
}
