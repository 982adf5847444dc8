//! The formats of a list, one file for each.

mod csv;
mod delimited;
mod export;
mod ids;
mod json;
mod jsonl;
mod raw;
mod table;

use super::columns::Column;
use super::record::View;
use super::{NamespaceRecord, Output};
use crate::error::Result;
use crate::output::sums::Sums;
use crate::sysv::Segment;

pub use csv::Csv;
pub use delimited::{Delimited, write_rows};
pub use export::Export;
pub(crate) use ids::print_ids;
pub(crate) use json::Json;
pub(crate) use jsonl::JsonLines;
pub use raw::Raw;
pub(crate) use table::{Table, print_sums};

/// A format of `list`.
pub(crate) trait Format {
    /// Returns the default columns.
    fn default_columns(&self) -> Vec<&'static Column> {
        Column::defaults()
    }

    /// Prints segments.
    fn list(&self, list: List<'_>, output: &mut Output) -> Result<()>;

    /// Prints the sums for each value of a column.
    fn sums(&self, sums: &Sums<'_>, output: &mut Output) -> Result<()>;
}

/// The input of a format.
pub(crate) struct List<'a> {
    /// The columns in display order. JSON always has all fields.
    pub columns: Vec<&'static Column>,
    /// Whether a table may leave out columns that do not fit.
    pub may_leave_out: bool,
    /// Whether to print a header line, and totals below a table on a terminal.
    pub has_headings: bool,
    /// How cells are formatted.
    pub view: View<'a>,
    /// The segments.
    pub rows: Rows<'a>,
    /// The namespaces of `--all-namespaces`, computed after the last row.
    pub namespaces: Option<&'a dyn Fn() -> Vec<NamespaceRecord>>,
    /// Which namespaces a table shows.
    pub groups: Groups,
}

/// Which namespaces get a heading above their segments in a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Groups {
    /// None of them.
    None,
    /// Those with segments.
    NotEmpty,
    /// All of them.
    All,
}

/// Segments, either streamed from the kernel or collected.
pub(crate) enum Rows<'a> {
    /// Each segment is written before the next is read, so that memory use does not grow with their number.
    Streamed(Box<dyn Iterator<Item = Result<Segment>> + 'a>),
    /// Sorted segments.
    Collected(Vec<Segment>),
}

impl Rows<'_> {
    /// Returns all segments.
    pub(crate) fn collect(self) -> Result<Vec<Segment>> {
        match self {
            Rows::Streamed(rows) => rows.collect(),
            Rows::Collected(segments) => Ok(segments),
        }
    }

    /// Calls `each` for each segment, until one call fails.
    pub(crate) fn try_for_each(self, mut each: impl FnMut(&Segment) -> Result<()>) -> Result<()> {
        match self {
            Rows::Streamed(mut rows) => rows.try_for_each(|row| each(&row?)),
            Rows::Collected(segments) => segments.iter().try_for_each(each),
        }
    }
}
