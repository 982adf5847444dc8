//! Text that others chose, made safe to show: command lines, user names, file names.

use std::borrow::Cow;
use std::fmt::Write;

use unicode_properties::{GeneralCategory, UnicodeGeneralCategory};

/// Returns text in which every character is visible. Other characters, and bytes that are not UTF-8, are written as `\xNN`,
/// byte by byte. The result has no control characters or line ends, and cannot look like another text.
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

/// Returns whether a character is invisible, or looks like another one.
fn is_unsafe(c: char) -> bool {
    if c.is_ascii() {
        return c.is_ascii_control();
    }
    match c.general_category() {
        // Directional marks, zero-width characters, tags, the soft hyphen.
        GeneralCategory::Format | GeneralCategory::Control => true,
        // Spaces other than U+0020, and line separators.
        GeneralCategory::SpaceSeparator | GeneralCategory::LineSeparator | GeneralCategory::ParagraphSeparator => true,
        // How a terminal shows these is unknown.
        GeneralCategory::Unassigned | GeneralCategory::PrivateUse | GeneralCategory::Surrogate => true,
        _ => is_ignorable_letter_or_mark(c),
    }
}

/// Returns whether a letter or a mark is invisible: the code points of `Default_Ignorable_Code_Point`
/// (DerivedCoreProperties.txt of Unicode) that the categories above do not cover, and the blank of Braille.
fn is_ignorable_letter_or_mark(c: char) -> bool {
    matches!(c,
        '\u{34f}'
        | '\u{115f}'..='\u{1160}'
        | '\u{17b4}'..='\u{17b5}'
        | '\u{180b}'..='\u{180f}'
        | '\u{2800}'
        | '\u{3164}'
        | '\u{fe00}'..='\u{fe0f}'
        | '\u{ffa0}'
        | '\u{e0100}'..='\u{e01ef}')
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

    #[test]
    fn invisible_characters_are_escaped() {
        let ignorable =
            regex::Regex::new(r"\p{Default_Ignorable_Code_Point}|\p{White_Space}|\p{Cc}|\p{Cf}|\p{Co}").unwrap();
        // The planes in between have no characters.
        for c in ('\u{80}'..='\u{3ffff}').chain('\u{e0000}'..='\u{e1fff}') {
            if ignorable.is_match(c.encode_utf8(&mut [0; 4])) {
                assert!(is_unsafe(c), "U+{:04X}", u32::from(c));
            }
        }
        // Letters, marks, symbols and emoji of living scripts stay.
        for text in ["naïve", "e\u{301}", "日本語", "한국어", "עברית", "हिन्दी", "→", "😀", "a b"]
        {
            assert_eq!(visible(text.as_bytes()), text);
        }
    }
}
