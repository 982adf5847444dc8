//! `raw`: words for `read` of the shell, and for awk(1).

use std::io::Write;

use super::delimited::{Delimited, Lines, RowWriter};
use crate::values::escape;

/// One space between fields, spaces in a value as `\x20`, an empty value as `-`.
pub struct Raw;

impl Delimited for Raw {
    const HAS_TITLES: bool = true;
    const HAS_ALL_COLUMNS: bool = false;

    fn writer<'a>(out: &'a mut dyn Write) -> Box<dyn RowWriter + 'a> {
        Box::new(Lines::new(out, append))
    }
}

/// Appends a value as one word.
fn append(line: &mut String, _: &str, text: &str) {
    // Nearly every value needs no escaping.
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return line.push_str(text);
    }
    if text.is_empty() {
        line.push('-');
    }
    for c in text.chars() {
        if c.is_whitespace() {
            escape(line, c.encode_utf8(&mut [0; 4]).as_bytes());
        } else {
            line.push(c);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::delimited::row_of;
    use super::*;

    #[test]
    fn each_value_is_one_word() {
        assert_eq!(row_of::<Raw>(&["a b", "", "c"]), "a\\x20b - c\n");
        assert_eq!(row_of::<Raw>(&["", "a"]), "- a\n");
    }
}
