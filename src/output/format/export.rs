//! `export`: assignments for `eval` of the shell.

use std::io::Write;

use super::delimited::{Delimited, Lines, RowWriter};
use crate::values::escape;

/// `KEY="0x0000002a" ID="5"`.
pub struct Export;

impl Delimited for Export {
    const HAS_TITLES: bool = false;
    const HAS_ALL_COLUMNS: bool = true;

    fn writer<'a>(out: &'a mut dyn Write) -> Box<dyn RowWriter + 'a> {
        Box::new(Lines::new(out, append))
    }
}

/// Appends `TITLE="TEXT"`.
fn append(line: &mut String, title: &str, text: &str) {
    line.push_str(title);
    line.push_str("=\"");
    push(line, text);
    line.push('"');
}

/// Appends text. Escapes what a shell interprets within double quotes, but not the backslash of an already
/// escaped byte.
fn push(line: &mut String, text: &str) {
    if !text.contains(['"', '$', '`', '\\']) {
        return line.push_str(text);
    }
    for (at, c) in text.char_indices() {
        let is_escape = || {
            let byte = text[at + 1..].strip_prefix('x').and_then(|rest| rest.get(..2));
            byte.is_some_and(|byte| byte.chars().all(|c| c.is_ascii_hexdigit()))
        };
        match c {
            '"' | '$' | '`' => escape(line, &[c as u8]),
            '\\' if !is_escape() => escape(line, b"\\"),
            other => line.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::delimited::row_of;
    use super::*;

    #[test]
    fn characters_special_to_a_shell_are_escaped() {
        for (text, row) in [
            ("a \"$(b)\" `c` \\d", "COMMAND=\"a \\x22\\x24(b)\\x22 \\x60c\\x60 \\x5cd\"\n"),
            ("\\x1b \\xz", "COMMAND=\"\\x1b \\x5cxz\"\n"),
        ] {
            assert_eq!(row_of::<Export>(&[text]), row);
        }
    }
}
