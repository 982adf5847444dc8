//! A preview of the segments about to be removed.

use super::Output;
use super::columns::Column;
use super::format::print_sums;
use super::layout::Layout;
use super::record::View;
use super::sums::Sums;
use super::time::TimeFormat;
use crate::error::Result;
use crate::segments::cache::Lookups;
use crate::segments::users::{self, Shown};
use crate::sysv::Segment;

/// The columns that show whether a segment is still needed. They fit in 80 columns even with ten-digit identifiers.
const COLUMNS: [&str; 8] = ["KEY", "ID", "OWNER", "SIZE", "NATTCH", "STATUS", "IDLE", "COMMAND"];

/// Prints the first `limit` segments as a table, and the sums of all of them for each owner.
pub(crate) fn print_preview(segments: &[Segment], limit: usize, lookups: &Lookups, output: &mut Output) -> Result<()> {
    let view = View { lookups, time_format: TimeFormat::Short, human_sizes: true };
    let columns: Vec<_> = COLUMNS.iter().filter_map(|title| Column::named(title).ok()).collect();
    let shown = segments.get(..limit).unwrap_or(segments);
    users::read_commands(shown.iter(), Shown::One, lookups);
    let layout = Layout::new(&columns, true, true, shown, &view, output.width());
    layout.print_titles(output)?;
    layout.print(output, shown, &view)?;
    if shown.len() < segments.len() {
        output.line(format_args!("and {} more; --dry-run shows all", segments.len() - shown.len()))?;
    }
    output.line("")?;
    if let Ok(owner) = Column::named("OWNER") {
        let mut sums = Sums::by(owner, view, true);
        segments.iter().for_each(|segment| sums.add(segment));
        print_sums(&sums, owner.title, output)?;
    }
    Ok(())
}
