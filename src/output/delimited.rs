//! Lists as text for other programs: raw, export and csv.

use std::io::{self, Write};

use super::columns::Column;
use super::record::View;
use crate::sysv::Segment;
use crate::values::escape;

/// One of these formats.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DelimitedFormat {
    /// One blank between fields, blanks in a value as `\x20`, an empty value as `-`: for `read` and awk.
    Raw,
    /// `KEY="0x0000002a" ID="5"`: for a shell's `eval`.
    Export,
    /// RFC 4180.
    Csv,
}

/// Writes segments in one of these formats. The texts of all rows are made in the same two buffers.
pub struct Delimited<'a> {
    lines: Lines<'a>,
    columns: &'a [&'static Column],
    text: String,
}

/// Where the fields go.
enum Lines<'a> {
    Raw(Line<'a>),
    Export(Line<'a>),
    Csv(Box<csv::Writer<&'a mut dyn Write>>),
}

/// A line that is being made.
struct Line<'a> {
    line: String,
    out: &'a mut dyn Write,
}

impl<'a> Delimited<'a> {
    /// Nothing is written yet.
    pub fn new(format: DelimitedFormat, out: &'a mut dyn Write, columns: &'a [&'static Column]) -> Delimited<'a> {
        let line = String::new();
        let lines = match format {
            DelimitedFormat::Raw => Lines::Raw(Line { line, out }),
            DelimitedFormat::Export => Lines::Export(Line { line, out }),
            DelimitedFormat::Csv => Lines::Csv(csv::Writer::from_writer(out).into()),
        };
        Delimited { lines, columns, text: String::new() }
    }

    /// Writes the line of titles, where the format has one.
    pub fn titles(&mut self) -> io::Result<()> {
        if let Lines::Export(_) = self.lines {
            return Ok(());
        }
        for column in self.columns {
            self.lines.field(column, column.title)?;
        }
        self.lines.end()
    }

    /// Writes one segment.
    pub fn row(&mut self, segment: &Segment, view: &View<'_>) -> io::Result<()> {
        for column in self.columns {
            self.text.clear();
            column.write(segment, view, &mut self.text);
            self.lines.field(column, &self.text)?;
        }
        self.lines.end()
    }

    /// Hands on what csv still holds.
    pub fn finish(self) -> io::Result<()> {
        match self.lines {
            Lines::Csv(mut writer) => writer.flush(),
            Lines::Raw(_) | Lines::Export(_) => Ok(()),
        }
    }
}

impl Lines<'_> {
    fn field(&mut self, column: &Column, text: &str) -> io::Result<()> {
        match self {
            Self::Raw(Line { line, .. }) => {
                push_separator(line);
                push_raw(line, text);
            }
            Self::Export(Line { line, .. }) => {
                push_separator(line);
                line.push_str(column.title);
                line.push_str("=\"");
                push_for_shell(line, text);
                line.push('"');
            }
            Self::Csv(writer) => writer.write_field(text)?,
        }
        Ok(())
    }

    fn end(&mut self) -> io::Result<()> {
        match self {
            Self::Raw(Line { line, out }) | Self::Export(Line { line, out }) => {
                line.push('\n');
                out.write_all(line.as_bytes())?;
                line.clear();
            }
            Self::Csv(writer) => writer.write_record(None::<&[u8]>)?,
        }
        Ok(())
    }
}

fn push_separator(line: &mut String) {
    if !line.is_empty() {
        line.push(' ');
    }
}

fn push_raw(line: &mut String, text: &str) {
    // Nearly every value is like this.
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

/// Escapes what a shell would act on within double quotes; but not the backslash of a byte that is escaped already.
fn push_for_shell(line: &mut String, text: &str) {
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
    use super::*;

    fn line(format: DelimitedFormat, fields: &[&str]) -> String {
        let mut out = Vec::new();
        let mut lines = Delimited::new(format, &mut out, &[]);
        let command = Column::named("command").unwrap();
        fields.iter().for_each(|text| lines.lines.field(command, text).unwrap());
        lines.lines.end().unwrap();
        lines.finish().unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn each_value_stays_one_field() {
        assert_eq!(line(DelimitedFormat::Raw, &["a b", "", "c"]), "a\\x20b - c\n");
        assert_eq!(line(DelimitedFormat::Raw, &["", "a"]), "- a\n");
        assert_eq!(
            line(DelimitedFormat::Export, &["a \"$(b)\" `c` \\d"]),
            "COMMAND=\"a \\x22\\x24(b)\\x22 \\x60c\\x60 \\x5cd\"\n"
        );
        assert_eq!(line(DelimitedFormat::Export, &["\\x1b \\xz"]), "COMMAND=\"\\x1b \\x5cxz\"\n");
        assert_eq!(line(DelimitedFormat::Csv, &["a,b", "say \"x\"", ""]), "\"a,b\",\"say \"\"x\"\"\",\n");
    }
}
