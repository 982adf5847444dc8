//! The standard streams as a program may expect them, which the standard library sees to where it has `main`.

use std::process;

use nix::errno::Errno;
use nix::sys::signal::{SigHandler, Signal, signal};

/// The signals that [`secure_streams`] sets to be ignored.
pub(crate) const IGNORED: [Signal; 2] = [Signal::SIGPIPE, Signal::SIGXFSZ];

/// Opens /dev/null in place of each standard stream that is closed, so that nothing opened later gets its number, and
/// text meant for it. It is opened the wrong way round: to use the stream is `EBADF`, as if it were closed still.
///
/// Has a write to a pipe without a reader fail with `EPIPE`, and one past the limit on a file's size (`RLIMIT_FSIZE`) with
/// `EFBIG`, instead of ending the process, so that it is told of, and what a command has begun is undone (signal(7)).
///
/// To be called first, before anything is opened.
///
/// Ends the process where there is no /dev/null: an unopened stream cannot be told of.
pub fn secure_streams() {
    for stream in 0..=2 {
        // SAFETY: F_GETFD takes no third argument, and any number may be asked about.
        let flags = unsafe { libc::fcntl(stream, libc::F_GETFD) };
        if flags == -1 && Errno::last() == Errno::EBADF {
            let wrong_way = if stream == libc::STDIN_FILENO { libc::O_WRONLY } else { libc::O_RDONLY };
            // SAFETY: the path is a C string that lives as long as the program. The lowest number that is free is this
            // stream's (open(2)), as those below are open by now.
            let opened = unsafe { libc::open(c"/dev/null".as_ptr(), wrong_way) };
            if opened != stream {
                process::abort();
            }
        }
    }
    for ignored in IGNORED {
        // SAFETY: to ignore a signal runs no code of ours. These can be ignored, so this does not fail.
        let _ = unsafe { signal(ignored, SigHandler::SigIgn) };
    }
}
