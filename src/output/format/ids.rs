//! `list --quiet`: identifiers, in the form that all commands take.

use super::List;
use crate::error::Result;
use crate::output::Output;

/// Prints `id:5`, one per line.
pub(crate) fn print_ids(list: List<'_>, output: &mut Output) -> Result<()> {
    list.rows.try_for_each(|segment| output.line(format_args!("id:{}", segment.id)))
}
