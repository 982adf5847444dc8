//! What errno values mean to people, and to a call that is made again.

use std::io;

/// Returns the text of an error: for an errno that of strerror(3), as strace(1) and most programs print it.
///
/// nix has texts of its own for some ("Try again" for `EAGAIN`), and the standard library appends the number.
pub(crate) fn cause(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(errno) => error.to_string().replace(&format!(" (os error {errno})"), ""),
        None => error.to_string(),
    }
}

/// Repeats a call while a signal interrupts it (`EINTR`, signal(7)), and returns its first other result.
///
/// # Errors
/// Every other error of the call.
pub(crate) fn uninterrupted<T, E: Into<io::Error>>(mut call: impl FnMut() -> Result<T, E>) -> io::Result<T> {
    loop {
        match call().map_err(E::into) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}
