//! Small tables of texts, and wrapping of long texts.

use comfy_table::{CellAlignment, ColumnConstraint, ContentArrangement, Row, Table, TableStyle, Width};
use unicode_width::UnicodeWidthChar;

/// Spaces between columns.
const GAP: u16 = 2;

/// Returns the lines of a small table. Each title says whether its column is numeric.
pub(crate) fn grid(titles: &[(&str, bool)], rows: Vec<Vec<String>>) -> Vec<String> {
    let mut table = Table::new();
    table.load_style(TableStyle::new());
    table.set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(titles.iter().map(|(title, _)| *title));
    table.add_rows(rows);
    for (column, (_, is_numeric)) in table.column_iter_mut().zip(titles) {
        column.set_padding((0, GAP));
        if *is_numeric {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table.lines().map(|line| line.trim_end().to_owned()).collect()
}

/// Wraps a text to a width, between words if possible. Text beyond `limit` lines is dropped, and the cut is marked.
pub(crate) fn wrapped(text: &str, width: u16, limit: usize) -> Vec<String> {
    let mut table = Table::new();
    table.load_style(TableStyle::new());
    table.set_content_arrangement(ContentArrangement::Disabled);
    let mut row = Row::from([&text[..enough(text, width, limit)]]);
    row.max_height(limit);
    table.add_row(row);
    for column in table.column_iter_mut() {
        column.set_padding((0, 0));
        column.set_constraint(ColumnConstraint::Absolute(Width::Fixed(width)));
    }
    table.lines().map(|line| line.trim_end().to_owned()).collect()
}

/// Returns a number of bytes that certainly fills this many lines of a width. The library wraps the whole text before
/// it takes the first lines, and its time grows with the square of their number.
pub(super) fn enough(text: &str, width: u16, lines: usize) -> usize {
    // A line before a long word can be nearly empty.
    let limit = 3 * usize::from(width) * lines;
    if text.len() <= limit {
        return text.len();
    }
    let mut seen = 0;
    let end = text.char_indices().find(|(_, c)| {
        seen += c.width().unwrap_or(0).max(1);
        seen > limit
    });
    end.map_or(text.len(), |(at, _)| at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_are_wrapped_and_cut() {
        let words = "word ".repeat(1_000_000);
        let letters = "x".repeat(5_000_000);
        let marks = "e\u{301}".repeat(1_000_000);
        for text in [&words, &letters, &marks] {
            for width in [1, 10, 80] {
                let lines = wrapped(text, width, 4);
                assert_eq!(lines.len(), 4, "{width}");
                assert!(lines[3].ends_with('…'), "what is left out is marked: {lines:?}");
            }
        }
        assert_eq!(wrapped("a bc d", 4, 4), ["a bc", "d"]);
    }
}
