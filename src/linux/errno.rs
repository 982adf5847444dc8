//! The text of an errno, and repeating interrupted calls.

use std::io;

/// Returns the text of an error. For an errno it is that of strerror(3), which strace(1) and most programs print.
///
/// nix uses texts of its own for some errnos ("Try again" for `EAGAIN`), and the standard library appends the number.
pub(crate) fn cause(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(errno) => error.to_string().replace(&format!(" (os error {errno})"), ""),
        None => error.to_string(),
    }
}

/// Repeats a call while signals interrupt it (`EINTR`, signal(7)), and returns its first other result.
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
