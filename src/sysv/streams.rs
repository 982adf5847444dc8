//! The standard streams as a program may expect them, which the standard library sees to where it has `main`.

use std::process;

use nix::errno::Errno;
use nix::sys::signal::{SigHandler, Signal, signal};

/// Opens /dev/null in place of each standard stream that is closed, so that nothing opened later gets its number, and
/// text meant for it; and has a write to a pipe without a reader fail with `EPIPE` instead of ending the process, so
/// that what a command has begun can be undone (pipe(7)). To be called first, before anything is opened.
///
/// Ends the process where there is no /dev/null: an unopened stream cannot be told of.
pub fn secure_streams() {
    for stream in 0..=2 {
        // SAFETY: F_GETFD takes no third argument, and any number may be asked about.
        let flags = unsafe { libc::fcntl(stream, libc::F_GETFD) };
        if flags == -1 && Errno::last() == Errno::EBADF {
            // SAFETY: the path is a C string that lives as long as the program. The lowest number that is free is this
            // stream's (open(2)), as those below are open by now.
            let opened = unsafe { libc::open(c"/dev/null".as_ptr(), libc::O_RDWR) };
            if opened != stream {
                process::abort();
            }
        }
    }
    // SAFETY: to ignore a signal runs no code of ours. SIGPIPE can be ignored, so this does not fail.
    let _ = unsafe { signal(Signal::SIGPIPE, SigHandler::SigIgn) };
}
