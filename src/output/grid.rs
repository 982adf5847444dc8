//! Small tables of texts, and long texts in lines.

use comfy_table::{CellAlignment, ColumnConstraint, ContentArrangement, Row, Table, TableStyle, Width};

/// Blanks between columns.
const GAP: u16 = 2;

/// A small table of texts: titles, each with whether its column is numeric, and rows.
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

/// A text in lines of a width, broken between words where it can be. Of more than `most` lines the rest is left out,
/// which is marked.
pub(super) fn wrapped(text: &str, width: u16, most: usize) -> Vec<String> {
    let mut table = Table::new();
    table.load_style(TableStyle::new());
    table.set_content_arrangement(ContentArrangement::Disabled);
    let mut row = Row::from([text]);
    row.max_height(most);
    table.add_row(row);
    for column in table.column_iter_mut() {
        column.set_padding((0, 0));
        column.set_constraint(ColumnConstraint::Absolute(Width::Fixed(width)));
    }
    table.lines().map(|line| line.trim_end().to_owned()).collect()
}
