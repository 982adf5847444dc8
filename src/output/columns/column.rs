//! A column: its title, its help, and how it shows a segment.

use std::cmp::Ordering;
use std::fmt;

use super::COLUMNS;
use crate::output::record::View;
use crate::sysv::Segment;

/// A column of `list`.
pub struct Column {
    /// Its name: in the header line, and in `-o` and `--sort`, where case does not matter.
    pub title: &'static str,
    /// A description of its contents, in at most 48 characters.
    pub help: &'static str,
    /// The alignment of its text in a table.
    pub alignment: Alignment,
    /// Whether it reads the memory map of every process. Such a column is only shown to a user who names it.
    pub is_expensive: bool,
    /// Whether a table may cut its text to fit the terminal.
    pub can_be_cut: bool,
    /// A function that appends the text for a segment; nothing if there is nothing to show.
    pub(super) write: fn(&Segment, &View<'_>, &mut String),
    /// A function that compares two segments. If it is `None`, their texts are compared.
    pub(super) order: Option<fn(&Segment, &Segment) -> Ordering>,
}

/// The alignment of a text in its column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Alignment {
    /// For words.
    Left,
    /// For numbers, so that their digits line up.
    Right,
}

/// The default columns of a table and of `raw`.
pub(super) const DEFAULT_COLUMNS: &[&str] =
    &["KEY", "ID", "OWNER", "PERMS", "SIZE", "RSS", "NATTCH", "STATUS", "IDLE", "COMMAND"];

/// The columns that a narrow terminal hides, in this order.
pub(in crate::output) const EXPENDABLE: &[&str] = &["COMMAND", "RSS", "IDLE", "PERMS", "OWNER"];

impl Column {
    /// Returns whether a narrow terminal hides it.
    pub(crate) fn is_expendable(&self) -> bool {
        EXPENDABLE.contains(&self.title)
    }

    /// Returns the column with this title, in upper or lower case.
    ///
    /// # Errors
    /// There is no such column; the error lists all columns.
    pub fn named(title: &str) -> Result<&'static Column, UnknownColumn> {
        COLUMNS.iter().find(|column| column.title.eq_ignore_ascii_case(title)).ok_or(UnknownColumn)
    }

    /// Appends the text for a segment; nothing if there is nothing to show.
    pub fn write(&self, segment: &Segment, view: &View<'_>, text: &mut String) {
        (self.write)(segment, view, text);
    }

    /// Returns the text for a segment.
    pub fn text(&self, segment: &Segment, view: &View<'_>) -> String {
        let mut text = String::new();
        self.write(segment, view, &mut text);
        text
    }

    /// Compares two segments by this column: numbers and times by value, ages by age, the rest by text.
    pub fn compare(&self, a: &Segment, b: &Segment, view: &View<'_>) -> Ordering {
        match self.order {
            Some(order) => order(a, b),
            None => self.text(a, view).cmp(&self.text(b, view)),
        }
    }

    /// Returns the default columns of a table.
    pub fn defaults() -> Vec<&'static Column> {
        DEFAULT_COLUMNS.iter().filter_map(|title| Column::named(title).ok()).collect()
    }

    /// Returns all columns except the expensive ones.
    pub fn inexpensive() -> Vec<&'static Column> {
        COLUMNS.iter().filter(|column| !column.is_expensive).collect()
    }
}

impl PartialEq for Column {
    fn eq(&self, other: &Column) -> bool {
        self.title == other.title
    }
}

impl fmt::Debug for Column {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.title)
    }
}

/// The error for a word that is not the title of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnknownColumn;

impl fmt::Display for UnknownColumn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let titles: Vec<_> = COLUMNS.iter().map(|column| column.title).collect();
        write!(f, "the columns are {}", titles.join(" "))
    }
}

impl std::error::Error for UnknownColumn {}
