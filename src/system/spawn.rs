//! A command that is run to its end, and is handed what asks us to end meanwhile.

use std::ffi::{CString, OsString};
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::sync::Arc;

use nix::errno::Errno;
use nix::spawn::{PosixSpawnAttr, PosixSpawnFileActions, PosixSpawnFlags, posix_spawnp};
use nix::sys::signal::{SigSet, SigmaskHow, Signal, kill};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::unistd::Pid;
use rustix::io::ioctl_fionbio;
use rustix::process::{self, WaitOptions, WaitStatus, waitpid};
use signal_hook::consts::SIGCHLD;

use crate::linux::uninterrupted;
use crate::system::signals::IGNORED;

/// What is handed on.
const HANDED_ON: [Signal; 3] = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP];

/// The code of a signal that the kernel itself sends, as for Ctrl-C on a terminal (include/uapi/asm-generic/siginfo.h):
/// such a signal goes to the whole process group, and the command has it already.
const SI_KERNEL: i32 = 0x80;

/// Runs a command to its end, and returns its status as a shell has it: 128+N where signal N ended it. What asks us to
/// end is handed on to it, but not what a terminal sends to both of us.
///
/// Errors: of waiting for it; and, within, of starting it.
pub(crate) fn run(command: &[OsString]) -> io::Result<Result<u8, Errno>> {
    let mut watched = SigSet::from_iter(HANDED_ON);
    watched.add(Signal::SIGCHLD);
    // A parent may have SIGCHLD ignored, and then nobody is told of an end. Any handler undoes that, here and, since
    // execve(2) makes a handler the default, in the command.
    signal_hook::flag::register(SIGCHLD, Arc::default())?;
    // Blocked before the command starts, so that none is lost; the command itself starts with the mask we had.
    let blocked = Blocked::add(&watched)?;
    let signals = SignalFd::with_flags(&watched, SfdFlags::SFD_CLOEXEC)?;
    let started = spawn(command, &blocked.before).or_else(|errno| match errno {
        // A script without a line that names its interpreter, which execvp(3) and so env(1) hand to the shell.
        Errno::ENOEXEC => spawn(&[&["/bin/sh".into()], command].concat(), &blocked.before),
        errno => Err(errno),
    });
    match started {
        Ok(child) => wait(child, &signals).map(|ended| Ok(code(ended))),
        Err(errno) => Ok(Err(errno)),
    }
}

/// Signals that are blocked while this lives. What came meanwhile, and was not read, acts on us after that.
struct Blocked {
    before: SigSet,
}

impl Blocked {
    fn add(signals: &SigSet) -> Result<Blocked, Errno> {
        Ok(Blocked { before: signals.thread_swap_mask(SigmaskHow::SIG_BLOCK)? })
    }
}

impl Drop for Blocked {
    fn drop(&mut self) {
        // The only error is another way to change a mask than the three that there are.
        let _ = self.before.thread_set_mask();
    }
}

/// Starts the command with this signal mask, and with the signals that we ignore as everybody expects them.
fn spawn(command: &[OsString], mask: &SigSet) -> Result<Pid, Errno> {
    let c_string = |bytes: Vec<u8>| CString::new(bytes).map_err(|_| Errno::EINVAL);
    let arguments: Vec<_> = command.iter().map(|word| c_string(word.clone().into_vec())).collect::<Result<_, _>>()?;
    let environment: Vec<_> = std::env::vars_os()
        .map(|(name, value)| c_string([name.into_vec(), value.into_vec()].join(&b'=')))
        .collect::<Result<_, _>>()?;
    let mut attributes = PosixSpawnAttr::init()?;
    attributes.set_flags(PosixSpawnFlags::POSIX_SPAWN_SETSIGMASK | PosixSpawnFlags::POSIX_SPAWN_SETSIGDEF)?;
    attributes.set_sigmask(mask)?;
    attributes.set_sigdefault(&SigSet::from_iter(IGNORED))?;
    posix_spawnp(&arguments[0], &PosixSpawnFileActions::init()?, &attributes, &arguments, &environment)
}

/// Waits for the command, and hands on to it what comes.
fn wait(child: Pid, signals: &SignalFd) -> io::Result<WaitStatus> {
    let pid = process::Pid::from_raw(child.as_raw());
    loop {
        if let Some((_, ended)) = uninterrupted(|| waitpid(pid, WaitOptions::NOHANG))? {
            forget(signals)?;
            return Ok(ended);
        }
        let Some(signal) = uninterrupted(|| signals.read_signal())? else { continue };
        let known = HANDED_ON.into_iter().find(|known| *known as u32 == signal.ssi_signo);
        if let Some(known) = known
            && signal.ssi_code != SI_KERNEL
        {
            // Nobody has waited for the command yet, so its pid is nobody else's.
            let _ = kill(child, known);
        }
    }
}

/// Forgets what has come and was not read before the command ended: it was meant for the command, as Ctrl-C is that
/// ended both, and must not end us before we have told what is left. What comes from now on is for us.
fn forget(signals: &SignalFd) -> io::Result<()> {
    ioctl_fionbio(signals, true)?;
    while uninterrupted(|| signals.read_signal())?.is_some() {}
    Ok(())
}

/// The numbers are the kernel's: nix has none for real-time signals.
fn code(ended: WaitStatus) -> u8 {
    let status = ended.exit_status().or_else(|| ended.terminating_signal().map(|signal| 128 + signal));
    status.and_then(|status| u8::try_from(status).ok()).unwrap_or(1)
}
