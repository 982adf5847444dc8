//! Running a command to its end, with the signals that ask for an end forwarded to it.

mod search;

use std::env;
use std::ffi::{CStr, CString, OsString};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::net::UnixStream;

use nix::errno::Errno;
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::signalfd::SignalFd;
use nix::unistd::{Pid, execve};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{self, WaitOptions, WaitStatus, waitpid};

use self::search::Program;
use super::signals::{BlockedSignals, IGNORED};
use crate::linux::seccomp::{Filter, Listener};
use crate::linux::{self, restore_default, uninterrupted};

/// The signals that are forwarded.
const FORWARDED: [Signal; 3] = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP];

/// The code of a signal that the kernel itself sends, as for Ctrl-C on a terminal (include/uapi/asm-generic/siginfo.h):
/// such a signal goes to the whole process group, so the command has it already.
const SI_KERNEL: i32 = 0x80;

/// What became of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It ran, and ended with this status: as in a shell, 128+N where signal N ended it.
    Ended(u8),
    /// It could not be executed: `ENOENT` where there is no such command.
    NotStarted(Errno),
}

/// Runs a command to its end, found and executed as execvp(3) does. SIGINT, SIGTERM and SIGHUP are forwarded to it,
/// except those that a terminal sends to both processes.
///
/// To be called while this process has one thread.
///
/// # Errors
/// Those of signalfd(2), poll(2) and waitpid(2).
///
/// The command gets this filter, if there is one. `started` is told the command's pid and the filter's listener, or why
/// there is none: the command runs nevertheless.
pub(crate) fn run(
    command: &[OsString],
    filter: Result<Filter, Errno>,
    started: impl FnOnce(Pid, io::Result<Listener>),
) -> io::Result<Outcome> {
    // While SIGCHLD is ignored, which a parent can have arranged, the status of a command is lost. The command gets the
    // default, too.
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

/// Starts the command with this signal mask, the default action for the signals that this process ignores, and the filter.
/// posix_spawn(3) cannot install one.
fn start(
    command: &[OsString],
    mask: &SigSet,
    filter: &Result<Filter, Errno>,
) -> Result<(Pid, io::Result<Listener>), Errno> {
    let program = Program::new(command)?;
    let environment = environment()?;
    let (ours, theirs) = UnixStream::pair().map_err(|error| Errno::from_raw(error.raw_os_error().unwrap_or(0)))?;
    let pid = linux::start(|| {
        for signal in IGNORED {
            // It can only fail for signals that cannot be ignored.
            let _ = restore_default(signal);
        }
        if let Ok(filter) = filter {
            filter.install(theirs.as_fd());
        }
        if let Err(errno) = mask.thread_set_mask() {
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

/// The environment of this process, as execve(2) takes it.
fn environment() -> Result<Vec<CString>, Errno> {
    let variable = |(name, value): (OsString, OsString)| [name.into_vec(), value.into_vec()].join(&b'=');
    env::vars_os().map(|pair| CString::new(variable(pair)).map_err(|_| Errno::EINVAL)).collect()
}

/// Waits until the command has ended, and forwards what arrives meanwhile.
fn wait(child: Pid, signals: &SignalFd) -> io::Result<WaitStatus> {
    let pid = process::Pid::from_raw(child.as_raw());
    loop {
        if let Some((_, ended)) = uninterrupted(|| waitpid(pid, WaitOptions::NOHANG))? {
            discard(signals)?;
            return Ok(ended);
        }
        uninterrupted(|| poll(&mut [PollFd::from_borrowed_fd(signals.as_fd(), PollFlags::IN)], None))?;
        while let Some(arrived) = uninterrupted(|| signals.read_signal())? {
            let known = FORWARDED.into_iter().find(|known| *known as u32 == arrived.ssi_signo);
            if let Some(known) = known
                && arrived.ssi_code != SI_KERNEL
            {
                // The command was not waited for yet, so its pid is not used again.
                let _ = kill(child, known);
            }
        }
    }
}

/// Discards the signals that arrived before the command ended: they were meant for the command, as a Ctrl-C that ended
/// both, and must not end this process before it has reported. Those that arrive later are for this process.
fn discard(signals: &SignalFd) -> io::Result<()> {
    while uninterrupted(|| signals.read_signal())?.is_some() {}
    Ok(())
}

/// The exit status of a shell. The numbers are the kernel's: nix has none for real-time signals.
fn status(ended: WaitStatus) -> u8 {
    let status = ended.exit_status().or_else(|| ended.terminating_signal().map(|signal| 128 + signal));
    status.and_then(|status| u8::try_from(status).ok()).unwrap_or(1)
}
