//! A child process that acts when this process has ended, whatever ended it.

use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use nix::sys::signal::{SigSet, Signal, kill};
use nix::unistd::{ForkResult, Pid};
use rustix::process::{WaitOptions, waitpid};

use super::detach::detach;
use super::fork::{exit_now, fork};
use super::{restore_default, uninterrupted};

/// The maximum time that the child may take to make room for a message. It only stores them.
const PATIENCE: Duration = Duration::from_secs(2);

/// A child process that reads messages until this process ends. It runs in its own session, with all signals blocked and
/// with none of our files open. So neither Ctrl-C nor a signal to our process group reaches it, and nobody waits for it.
///
/// If this is dropped, the child sees the end of the messages, as after the end of this process.
#[derive(Debug)]
pub(crate) struct Companion {
    messages: UnixStream,
    child: Pid,
}

impl Companion {
    /// Starts a child that runs `work`, and returns when the child is ready. This process must have only one thread.
    ///
    /// `work` is a function without captured values, because the child closes the descriptors of this process.
    ///
    /// # Errors
    /// Those of fork(2) and socketpair(2); `EBUSY` if this process has more than one thread.
    pub(crate) fn start(work: fn(UnixStream)) -> io::Result<Companion> {
        // If SIGCHLD is ignored, the pid of a child that has ended may be reused, and we would kill another process. Our
        // parent may have set it so.
        restore_default(Signal::SIGCHLD)?;
        let (mut ours, theirs) = UnixStream::pair()?;
        ours.set_write_timeout(Some(PATIENCE))?;
        // SAFETY: the child leaves by exit_now, even if `work` panics.
        match unsafe { fork() }? {
            ForkResult::Child => {
                // Otherwise its own copy would hide the end of this process.
                drop(ours);
                let done = catch_unwind(AssertUnwindSafe(|| attend(theirs, work)));
                exit_now(i32::from(done.is_err()))
            }
            ForkResult::Parent { child } => {
                drop(theirs);
                let is_ready = ours.read_exact(&mut [0]);
                let companion = Companion { messages: ours, child };
                match is_ready {
                    Ok(()) => Ok(companion),
                    Err(error) => {
                        companion.dismiss();
                        Err(error)
                    }
                }
            }
        }
    }

    /// Sends a message to the child.
    ///
    /// # Errors
    /// `EPIPE` if the child is gone, `EAGAIN` if it is stopped. Do not send another message after that, because a part of
    /// this one may have been sent.
    pub(crate) fn send(&self, message: &[u8]) -> io::Result<()> {
        (&self.messages).write_all(message)
    }

    /// Ends the child, and waits for its end. It does nothing any more.
    pub(crate) fn dismiss(self) {
        let Companion { messages, child } = self;
        // Before it sees the end of the messages. It may also be stopped, and would never see it.
        let _ = kill(child, Signal::SIGKILL);
        drop(messages);
        let _ = uninterrupted(|| waitpid(rustix::process::Pid::from_raw(child.as_raw()), WaitOptions::empty()));
    }
}

/// Prepares the child, and runs `work`.
fn attend(messages: UnixStream, work: fn(UnixStream)) {
    // This cannot fail.
    let _ = SigSet::all().thread_block();
    // SAFETY: `work` has captured nothing, and this process returns to nothing that uses a descriptor.
    unsafe { detach(messages.as_fd()) };
    // If this fails, the parent has ended, or waits in vain: the end of this process tells it.
    if (&messages).write_all(&[0]).is_ok() {
        work(messages);
    }
}
