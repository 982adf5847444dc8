//! `raw`: for `read` of the shell, and for awk.

use std::io::{self, Write};

use super::delimited::{Delimited, RowWriter};
use crate::values::escape;

/// One space between fields, spaces in a value as `\x20`, an empty value as `-`.
pub struct Raw;

struct Line<'a> {
    line: String,
    out: &'a mut dyn Write,
}

impl Delimited for Raw {
    const HAS_TITLES: bool = true;
    const HAS_ALL_COLUMNS: bool = false;

    fn writer<'a>(out: &'a mut dyn Write) -> Box<dyn RowWriter + 'a> {
        Box::new(Line { line: String::new(), out })
    }
}

impl RowWriter for Line<'_> {
    fn field(&mut self, _: &str, text: &str) -> io::Result<()> {
        if !self.line.is_empty() {
            self.line.push(' ');
        }
        push(&mut self.line, text);
        Ok(())
    }

    fn end_row(&mut self) -> io::Result<()> {
        self.line.push('\n');
        self.out.write_all(self.line.as_bytes())?;
        self.line.clear();
        Ok(())
    }
}

fn push(line: &mut String, text: &str) {
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
    fn each_value_stays_one_word() {
        assert_eq!(row_of::<Raw>(&["a b", "", "c"]), "a\\x20b - c\n");
        assert_eq!(row_of::<Raw>(&["", "a"]), "- a\n");
    }
}
