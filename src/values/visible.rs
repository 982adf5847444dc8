//! Text that others chose, made safe to show: command lines, user names, file names.

use std::borrow::Cow;
use std::fmt::Write;

/// Writes control characters (U+0000–1F, U+007F–9F), marks that turn the direction of text, and bytes that are not
/// UTF-8 as `\xNN`, a byte each. What is left can neither steer a terminal nor end a line.
pub fn visible(bytes: &[u8]) -> Cow<'_, str> {
    if let Ok(text) = str::from_utf8(bytes)
        && !text.contains(is_unsafe)
    {
        return text.into();
    }
    let mut shown = String::with_capacity(bytes.len() + 16);
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            if is_unsafe(c) {
                escape(&mut shown, c.encode_utf8(&mut [0; 4]).as_bytes());
            } else {
                shown.push(c);
            }
        }
        escape(&mut shown, chunk.invalid());
    }
    shown.into()
}

/// Appends each byte as `\xNN`.
pub(crate) fn escape(shown: &mut String, bytes: &[u8]) {
    for byte in bytes {
        // Writing to a String does not fail.
        let _ = write!(shown, "\\x{byte:02x}");
    }
}

/// Control characters; and the bidirectional and line separators of Unicode, which let text pose as other text.
fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_steers_a_terminal() {
        for (bytes, shown) in [
            (&b"postgres -D /srv/pg"[..], "postgres -D /srv/pg"),
            (b"a\x1b[31mb\nc\x7f", r"a\x1b[31mb\x0ac\x7f"),
            ("é\u{85}ü".as_bytes(), r"é\xc2\x85ü"),
            ("a\u{202e}b".as_bytes(), r"a\xe2\x80\xaeb"),
            (b"a\xff\xc3", r"a\xff\xc3"),
        ] {
            assert_eq!(visible(bytes), shown);
        }
    }
}
