//! The column widths of a table, and its rows.

use std::io::{self, Write};

use anstyle::{AnsiColor, Style};
use comfy_table::{CellAlignment, ColumnConstraint, ContentArrangement, Row, Table, TableStyle, Width};

use super::Output;
use super::charset::Charset;
use super::columns::{Alignment, Column, EXPENDABLE};
use super::grid::enough;
use super::record::View;
use crate::error::{Error, Result};
use crate::segments::state::is_orphan;
use crate::sysv::Segment;

/// The number of rows that are laid out at a time. Laying out all rows would keep every cell in memory. With a few rows
/// the memory is reused, which is a tenth faster than with hundreds.
const BATCH: usize = 8;
/// Spaces between columns.
const GAP: u16 = 2;
/// The minimum width of a text that is cut.
const MIN_TEXT_WIDTH: u16 = 10;

pub(super) const TITLE: Style = Style::new().bold();
const MARKED: Style = AnsiColor::Red.on_default();
const ORPHAN: Style = AnsiColor::Yellow.on_default();

/// The columns of a table, with the width of each.
#[derive(Debug, Clone)]
pub(crate) struct Layout {
    columns: Vec<(&'static Column, u16)>,
    gap: u16,
    headings: bool,
    charset: Charset,
}

impl Layout {
    /// Gives each column the width of its widest text. If they do not fit `width`, the command is cut first. Unless the
    /// user named the columns, some may then be hidden ([`EXPENDABLE`]).
    pub(crate) fn new(
        columns: &[&'static Column],
        may_leave_out: bool,
        headings: bool,
        segments: &[Segment],
        view: &View<'_>,
        width: Option<u16>,
    ) -> Layout {
        let natural = |column: &&'static Column| {
            let title = if headings { column.title.len() } else { 0 };
            let mut text = String::new();
            let widths = segments.iter().map(|segment| {
                text.clear();
                column.write(segment, view, &mut text);
                text_width(&text)
            });
            let widest = widths.max().unwrap_or(0).max(title);
            (*column, u16::try_from(widest).unwrap_or(u16::MAX))
        };
        let mut layout =
            Layout { columns: columns.iter().map(natural).collect(), gap: GAP, headings, charset: Charset::Unicode };
        if let Some(width) = width {
            layout.fit(u32::from(width), may_leave_out);
            layout.squeeze(u32::from(width), may_leave_out);
        }
        layout
    }

    /// Returns the layout with these characters for what it cuts.
    pub(crate) fn with_charset(self, charset: Charset) -> Layout {
        Layout { charset, ..self }
    }

    fn total(&self) -> u32 {
        let gaps = u32::from(self.gap) * (self.columns.len() as u32).saturating_sub(1);
        self.columns.iter().map(|(_, width)| u32::from(*width)).sum::<u32>() + gaps
    }

    /// Makes the table fit: first cuts texts that may be cut, then hides columns.
    fn fit(&mut self, width: u32, may_leave_out: bool) {
        for expendable in EXPENDABLE {
            if may_leave_out && self.min_width() > width {
                self.leave_out(expendable);
            }
        }
        self.cut(self.total().saturating_sub(width));
    }

    /// Returns the minimum width of the table: that with every text cut as short as allowed.
    fn min_width(&self) -> u32 {
        let cuttable = self.columns.iter().filter(|(column, _)| column.can_be_cut);
        self.total() - cuttable.map(|(_, width)| u32::from(width.saturating_sub(MIN_TEXT_WIDTH))).sum::<u32>()
    }

    /// Narrows the columns that may be cut by `excess` in total, the widest first.
    fn cut(&mut self, mut excess: u32) {
        while excess > 0 {
            let mut widths: Vec<_> =
                self.columns.iter_mut().filter(|(column, _)| column.can_be_cut).map(|(_, width)| width).collect();
            widths.sort_unstable_by_key(|width| std::cmp::Reverse(**width));
            let next = widths.get(1).map_or(MIN_TEXT_WIDTH, |second| (**second).max(MIN_TEXT_WIDTH));
            let Some(widest) = widths.first_mut().filter(|widest| ***widest > MIN_TEXT_WIDTH) else { return };
            // Two equally wide columns are narrowed alternately.
            let step = u32::from(widest.saturating_sub(next)).clamp(1, excess);
            **widest -= step as u16;
            excess -= step;
        }
    }

    /// Applies the last resort: narrower gaps, and no SIZE column.
    fn squeeze(&mut self, width: u32, may_leave_out: bool) {
        if self.total() > width {
            self.gap = 1;
        }
        if may_leave_out && self.total() > width {
            self.leave_out("SIZE");
        }
    }

    fn leave_out(&mut self, title: &str) {
        self.columns.retain(|(column, _)| column.title != title);
    }

    /// Writes the header line, if there is one.
    pub(crate) fn print_titles(&self, output: &mut Output) -> Result<()> {
        if !self.headings {
            return Ok(());
        }
        let color = output.color();
        let titles = self.table(vec![Row::from(self.columns.iter().map(|(column, _)| column.title))]);
        let written = write_lines(output.writer(), &titles, &mut std::iter::repeat(TITLE), color);
        written.map_err(|error| Error::output(&error))
    }

    /// Writes rows, in colour if the output has it.
    pub(crate) fn print(&self, output: &mut Output, segments: &[Segment], view: &View<'_>) -> Result<()> {
        let color = output.color();
        let written = self.write(output.writer(), segments, view, color);
        written.map_err(|error| Error::output(&error))
    }

    fn write(&self, out: &mut impl Write, segments: &[Segment], view: &View<'_>, color: bool) -> io::Result<()> {
        for batch in segments.chunks(BATCH) {
            let cells = |segment: &Segment| {
                let text = |(column, width): &(&Column, u16)| {
                    let mut text = column.text(segment, view);
                    text.truncate(enough(&text, *width, 1));
                    text
                };
                self.columns.iter().map(text).collect::<Vec<_>>()
            };
            let table = self.table(batch.iter().map(|segment| Row::from(cells(segment))).collect());
            let mut styles = batch.iter().map(|segment| style_of(segment, view));
            write_lines(out, &table, &mut styles, color)?;
        }
        Ok(())
    }

    fn table(&self, mut rows: Vec<Row>) -> Table {
        let mut table = Table::new();
        table.load_style(TableStyle::new());
        table.set_content_arrangement(ContentArrangement::Disabled);
        table.set_truncation_indicator(self.charset.ellipsis());
        for row in &mut rows {
            row.max_height(1);
        }
        table.add_rows(rows);
        let last = self.columns.len().saturating_sub(1);
        for (index, (laid_out, (column, width))) in table.column_iter_mut().zip(&self.columns).enumerate() {
            let gap = if index < last { self.gap } else { 0 };
            laid_out.set_padding((0, gap));
            laid_out.set_constraint(ColumnConstraint::Absolute(Width::Fixed(width.saturating_add(gap))));
            if column.alignment == Alignment::Right {
                laid_out.set_cell_alignment(CellAlignment::Right);
            }
        }
        table
    }
}

fn write_lines(
    out: &mut impl Write,
    table: &Table,
    styles: &mut dyn Iterator<Item = Style>,
    color: bool,
) -> io::Result<()> {
    for (line, style) in table.lines().zip(styles) {
        let line = line.trim_end_matches(' ');
        if color && style != Style::new() {
            writeln!(out, "{style}{line}{style:#}")?;
        } else {
            writeln!(out, "{line}")?;
        }
    }
    Ok(())
}

/// Returns the style that highlights marked segments and orphans.
fn style_of(segment: &Segment, view: &View<'_>) -> Style {
    if segment.is_marked() {
        MARKED
    } else if is_orphan(segment, view.lookups) {
        ORPHAN
    } else {
        Style::new()
    }
}

pub(super) fn text_width(text: &str) -> usize {
    // Nearly every cell is ASCII.
    if text.is_ascii() { text.len() } else { unicode_width::UnicodeWidthStr::width(text) }
}
