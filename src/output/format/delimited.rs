//! The common part of the formats for other programs: rows of texts under the titles of their columns.

use std::io::{self, Write};

use super::{Format, List};
use crate::error::{Error, Result};
use crate::output::Output;
use crate::output::columns::Column;
use crate::output::record::View;
use crate::output::sums::Sums;
use crate::sysv::Segment;

/// A format whose rows are texts.
pub trait Delimited {
    /// Whether the first line contains the titles.
    const HAS_TITLES: bool;

    /// Whether all inexpensive columns are the default, instead of those of a table.
    const HAS_ALL_COLUMNS: bool;

    /// Creates a writer of rows.
    fn writer<'a>(out: &'a mut dyn Write) -> Box<dyn RowWriter + 'a>;
}

/// Writes rows, text by text.
pub trait RowWriter {
    /// Writes one text of a row.
    fn field(&mut self, title: &str, text: &str) -> io::Result<()>;

    /// Ends a row.
    fn end_row(&mut self) -> io::Result<()>;

    /// Writes out what is still buffered.
    fn finish(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes rows as lines with one space between fields.
pub(super) struct Lines<'a> {
    line: String,
    out: &'a mut dyn Write,
    /// A function that appends a field, given its title and its text.
    append: fn(&mut String, &str, &str),
}

impl<'a> Lines<'a> {
    pub(super) fn new(out: &'a mut dyn Write, append: fn(&mut String, &str, &str)) -> Lines<'a> {
        Lines { line: String::new(), out, append }
    }
}

impl RowWriter for Lines<'_> {
    fn field(&mut self, title: &str, text: &str) -> io::Result<()> {
        if !self.line.is_empty() {
            self.line.push(' ');
        }
        (self.append)(&mut self.line, title, text);
        Ok(())
    }

    fn end_row(&mut self) -> io::Result<()> {
        self.line.push('\n');
        self.out.write_all(self.line.as_bytes())?;
        self.line.clear();
        Ok(())
    }
}

impl<F: Delimited> Format for F {
    fn default_columns(&self) -> Vec<&'static Column> {
        if F::HAS_ALL_COLUMNS { Column::inexpensive() } else { Column::defaults() }
    }

    fn list(&self, list: List<'_>, output: &mut Output) -> Result<()> {
        let mut writer = F::writer(output.writer());
        let titles = list.columns.iter().map(|column| column.title);
        write_titles::<F>(list.has_headings, titles, &mut *writer).map_err(|error| Error::output(&error))?;
        let mut text = String::new();
        list.rows.try_for_each(|segment| {
            write_row(segment, &list.columns, &list.view, &mut text, &mut *writer)
                .map_err(|error| Error::output(&error))
        })?;
        writer.finish().map_err(|error| Error::output(&error))
    }

    fn sums(&self, sums: &Sums<'_>, output: &mut Output) -> Result<()> {
        let mut writer = F::writer(output.writer());
        let written = write_titles::<F>(sums.has_headings, Sums::TITLES.into_iter(), &mut *writer).and_then(|()| {
            for sum in sums.iter() {
                for (title, text) in Sums::TITLES.into_iter().zip(sums.texts(sum)) {
                    writer.field(title, &text)?;
                }
                writer.end_row()?;
            }
            writer.finish()
        });
        written.map_err(|error| Error::output(&error))
    }
}

fn write_titles<F: Delimited>(
    wanted: bool,
    mut titles: impl Iterator<Item = &'static str>,
    writer: &mut dyn RowWriter,
) -> io::Result<()> {
    if !F::HAS_TITLES || !wanted {
        return Ok(());
    }
    titles.try_for_each(|title| writer.field(title, title))?;
    writer.end_row()
}

/// Writes a segment. All cells are formatted in the same buffer.
fn write_row(
    segment: &Segment,
    columns: &[&Column],
    view: &View<'_>,
    text: &mut String,
    writer: &mut dyn RowWriter,
) -> io::Result<()> {
    for column in columns {
        text.clear();
        column.write(segment, view, text);
        writer.field(column.title, text)?;
    }
    writer.end_row()
}

/// Writes segments without titles, for `cargo bench`.
pub fn write_rows<F: Delimited>(
    segments: &[Segment],
    columns: &[&Column],
    view: &View<'_>,
    out: &mut dyn Write,
) -> io::Result<()> {
    let (mut writer, mut text) = (F::writer(out), String::new());
    for segment in segments {
        write_row(segment, columns, view, &mut text, &mut *writer)?;
    }
    writer.finish()
}

/// Returns one row in a format.
#[cfg(test)]
pub(super) fn row_of<F: Delimited>(fields: &[&str]) -> String {
    let mut out = Vec::new();
    let mut writer = F::writer(&mut out);
    fields.iter().for_each(|text| writer.field("COMMAND", text).unwrap());
    writer.end_row().unwrap();
    writer.finish().unwrap();
    drop(writer);
    String::from_utf8(out).unwrap()
}
