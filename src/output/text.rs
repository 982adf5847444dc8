//! Decides whether bytes are text, and shows text on a terminal.

use std::borrow::Cow;

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use crate::values::visible;

/// Returns text with its newlines and tabs, and with all other control characters escaped.
pub(crate) fn escaped_lines(bytes: &[u8]) -> String {
    let pieces = bytes.split_inclusive(|b| matches!(b, b'\n' | b'\t'));
    pieces.fold(String::new(), |mut shown, piece| {
        let kept = usize::from(matches!(piece.last(), Some(b'\n' | b'\t')));
        let (text, end) = piece.split_at(piece.len() - kept);
        shown.push_str(&visible(text));
        shown.extend(end.iter().map(|b| char::from(*b)));
        shown
    })
}

/// Cuts a line to a width in columns, and marks the cut with `…`.
pub(super) fn cut(text: &str, width: usize) -> Cow<'_, str> {
    if text.width() <= width {
        return text.into();
    }
    let mut taken = "…".width();
    let end = text.char_indices().find(|(_, c)| {
        taken += c.width().unwrap_or(0);
        taken > width
    });
    format!("{}…", end.map_or(text, |(at, _)| &text[..at])).into()
}

/// Returns the length of the bytes without an incomplete character at the end.
pub(crate) fn whole_characters(bytes: &[u8]) -> usize {
    match str::from_utf8(bytes) {
        Err(error) if error.error_len().is_none() => error.valid_up_to(),
        _ => bytes.len(),
    }
}

/// Decides piece by piece whether bytes are text followed only by NULs.
#[derive(Debug)]
pub(crate) struct Text {
    is_possible: bool,
    any: bool,
    ended: bool,
    cut: Vec<u8>,
}

impl Default for Text {
    fn default() -> Text {
        Text { is_possible: true, any: false, ended: false, cut: Vec::new() }
    }
}

impl Text {
    /// Adds the next piece.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        let (text, nuls) = match bytes.iter().position(|b| *b == 0) {
            _ if self.ended => bytes.split_at(0),
            Some(nul) => bytes.split_at(nul),
            None => bytes.split_at(bytes.len()),
        };
        self.any |= !text.is_empty();
        self.cut.extend_from_slice(text);
        let whole = whole_characters(&self.cut);
        let is_text = |text: &str| !text.contains(|c: char| c.is_control() && !matches!(c, '\n' | '\t' | '\r'));
        self.is_possible &= str::from_utf8(&self.cut[..whole]).is_ok_and(is_text);
        self.cut.drain(..whole);
        if !nuls.is_empty() {
            self.ended = true;
            self.is_possible &= self.any && self.cut.is_empty() && nuls.iter().all(|b| *b == 0);
        }
    }

    /// Returns whether the bytes can still be text. If they cannot, reading more is useless.
    pub(crate) fn is_possible(&self) -> bool {
        self.is_possible
    }

    /// Returns whether the bytes were text, and not empty.
    pub(crate) fn is_whole(&self) -> bool {
        self.is_possible && self.any && self.cut.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_text(pieces: &[&[u8]]) -> bool {
        let mut text = Text::default();
        pieces.iter().for_each(|piece| text.push(piece));
        text.is_whole()
    }

    #[test]
    fn text_is_characters_followed_by_nuls() {
        assert!(is_text(&[b"hello\n\0\0"]));
        assert!(is_text(&[b"hel", b"lo", b"\0", b"\0\0"]));
        assert!(is_text(&[b"no nul at all"]));
        assert!(is_text(&[b"\xc3", b"\xa9\0"]));
        for other in [&b"\0\0"[..], b"", b"a\0b", b"\xc3\0", b"\xc3", b"\x1b[31m", b"\xff\0"] {
            assert!(!is_text(&[other]), "{other:?}");
        }
    }

    #[test]
    fn bytes_that_cannot_be_text_are_recognized_early() {
        let can_be = |bytes: &[u8]| {
            let mut text = Text::default();
            text.push(bytes);
            text.is_possible()
        };
        for text in [&b""[..], b"a", b"a\0\0", b"\xc3"] {
            assert!(can_be(text), "{text:?}");
        }
        for other in [&b"\0"[..], b"\0a", b"a\0b", b"\xc3\0", b"\x1b"] {
            assert!(!can_be(other), "{other:?}");
        }
    }

    #[test]
    fn lines_are_cut_to_a_width() {
        assert_eq!(cut("abc", 3), "abc");
        assert_eq!(cut("abc", 2), "a…");
        // A wide character that does not fit is left out.
        assert_eq!(cut("a漢字", 4), "a漢…");
        assert_eq!(cut("a漢字", 3), "a…");
        assert_eq!(cut("é", 1), "é");
    }

    #[test]
    fn newlines_and_tabs_are_not_escaped() {
        assert_eq!(escaped_lines(b"a\tb\nc\x1b[2J\r\n"), "a\tb\nc\\x1b[2J\\x0d\n");
    }
}
