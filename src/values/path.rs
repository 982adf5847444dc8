//! Paths in text: as the kernel writes them, and as they are shown.

use std::borrow::Cow;
use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use super::visible;

/// Decodes a path of `/proc/PID/mountinfo` (proc_pid_mountinfo(5)), where a space is written as `\040`.
pub(crate) fn unescaped_path(word: &[u8]) -> PathBuf {
    let mut bytes = Vec::with_capacity(word.len());
    let mut rest = word;
    while let Some((first, after)) = rest.split_first() {
        let octal = (*first == b'\\').then(|| after.get(..3)).flatten();
        let byte = octal.and_then(|digits| u8::from_str_radix(str::from_utf8(digits).ok()?, 8).ok());
        bytes.push(byte.unwrap_or(*first));
        rest = if byte.is_some() { &after[3..] } else { after };
    }
    OsString::from_vec(bytes).into()
}

/// Returns a path made visible: bytes that are not UTF-8 as `\xNN`, which [`Path::display`] replaces by one character.
pub(crate) fn visible_path(path: &Path) -> Cow<'_, str> {
    visible(path.as_os_str().as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_are_decoded() {
        for (word, path) in
            [(r"/a\040b\134c", "/a b\\c"), ("/a", "/a"), (r"/\04", r"/\04"), (r"\999", r"\999"), ("", "")]
        {
            assert_eq!(unescaped_path(word.as_bytes()), PathBuf::from(path), "{word}");
        }
    }
}
