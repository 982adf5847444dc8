//! Lists as text for other programs: raw, export and csv.

use std::fmt::Write as _;
use std::io::{self, Write};

use super::column::Column;
use super::record::View;
use crate::escape::escape;
use crate::sysv::Segment;

/// How one of these formats writes its titles and its rows.
#[derive(Debug, Clone, Copy)]
pub struct Delimited {
    fields: WriteFields,
    /// Whether a line of titles goes first.
    has_titles: bool,
}

/// Writes one line of fields.
type WriteFields = fn(&mut dyn Write, &mut Fields<'_>) -> io::Result<()>;
type Fields<'a> = dyn Iterator<Item = (Column, &'a str)> + 'a;

/// One blank between fields, blanks in a value as `\x20`, an empty value as `-`: for `read` and awk.
pub const RAW: Delimited = Delimited { fields: raw_line, has_titles: true };

/// `KEY="0x0000002a" ID="5"`: for a shell's `eval`.
pub const EXPORT: Delimited = Delimited { fields: export_line, has_titles: false };

/// RFC 4180.
pub const CSV: Delimited = Delimited { fields: csv_line, has_titles: true };

impl Delimited {
    /// Writes the line of titles, where the format has one.
    pub fn titles(self, out: &mut dyn Write, columns: &[Column]) -> io::Result<()> {
        if !self.has_titles {
            return Ok(());
        }
        (self.fields)(out, &mut columns.iter().map(|column| (*column, column.title())))
    }

    /// Writes one segment.
    pub fn row(self, out: &mut dyn Write, columns: &[Column], segment: &Segment, view: &View<'_>) -> io::Result<()> {
        let texts: Vec<_> = columns.iter().map(|column| column.text(segment, view)).collect();
        (self.fields)(out, &mut columns.iter().copied().zip(texts.iter().map(AsRef::as_ref)))
    }
}

fn raw_line(out: &mut dyn Write, fields: &mut Fields<'_>) -> io::Result<()> {
    let mut line = String::new();
    for (_, text) in fields {
        if !line.is_empty() {
            line.push(' ');
        }
        match text {
            "" => line.push('-'),
            text => push_escaped(&mut line, text, |c| c.is_whitespace()),
        }
    }
    line.push('\n');
    out.write_all(line.as_bytes())
}

fn export_line(out: &mut dyn Write, fields: &mut Fields<'_>) -> io::Result<()> {
    let mut line = String::new();
    for (column, text) in fields {
        if !line.is_empty() {
            line.push(' ');
        }
        // Writing to a String does not fail.
        let _ = write!(line, "{}=\"", column.title());
        push_for_shell(&mut line, text);
        line.push('"');
    }
    line.push('\n');
    out.write_all(line.as_bytes())
}

fn csv_line(out: &mut dyn Write, fields: &mut Fields<'_>) -> io::Result<()> {
    let mut writer = csv::WriterBuilder::new().buffer_capacity(512).from_writer(out);
    writer.write_record(fields.map(|(_, text)| text))?;
    writer.flush()
}

/// Escapes what a shell would act on within double quotes; but not the backslash of a byte that is escaped already.
fn push_for_shell(line: &mut String, text: &str) {
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

fn push_escaped(line: &mut String, text: &str, escaped: fn(char) -> bool) {
    for c in text.chars() {
        if escaped(c) {
            escape(line, c.encode_utf8(&mut [0; 4]).as_bytes());
        } else {
            line.push(c);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(format: Delimited, fields: &[&str]) -> String {
        let mut out = Vec::new();
        (format.fields)(&mut out, &mut fields.iter().map(|text| (Column::Command, *text))).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn each_value_stays_one_field() {
        assert_eq!(line(RAW, &["a b", "", "c"]), "a\\x20b - c\n");
        assert_eq!(line(RAW, &["", "a"]), "- a\n");
        assert_eq!(line(EXPORT, &["a \"$(b)\" `c` \\d"]), "COMMAND=\"a \\x22\\x24(b)\\x22 \\x60c\\x60 \\x5cd\"\n");
        assert_eq!(line(EXPORT, &["\\x1b \\xz"]), "COMMAND=\"\\x1b \\x5cxz\"\n");
        assert_eq!(line(CSV, &["a,b", "say \"x\"", ""]), "\"a,b\",\"say \"\"x\"\"\",\n");
    }
}
