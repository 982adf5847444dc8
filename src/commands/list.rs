use clap::{Args, ValueEnum};

use super::{Context, rows};
use crate::error::{Error, Result, Status};
use crate::output::{
    ALL_COLUMNS, CSV, Column, DEFAULT_COLUMNS, Delimited, EXPORT, Layout, Output, RAW, SegmentRecord, TimeFormat,
    Totals, View,
};
use crate::select::Filters;
use crate::sysv::Segment;

/// List the segments
///
/// Shows every segment of this IPC namespace, whether you may read it or not, in the kernel's order.
#[derive(Debug, Args)]
#[command(after_help = "Columns:\n  \
    KEY ID SIZE RSS SWAP PERMS MODE OWNER USER UID GROUP GID CUSER CUID CGROUP CGID NATTCH STATUS ATIME\n  \
    DTIME CTIME AGE IDLE CPID LPID COMMAND CREATOR\n\n\
    STATUS is dest (removed, waits for its last detach), locked, orphan (nobody is attached, and the\n\
    creator has exited).\n\n\
    Examples:\n  \
    shmadm list                              a table\n  \
    shmadm ls --sort size --reverse          the largest first\n  \
    shmadm list -o key,id,owner,ctime --time-format iso\n  \
    shmadm list -f json | jq '.segments[] | select(.nattch == 0)'")]
pub(super) struct List {
    /// The columns, by commas, in this order
    #[arg(short = 'o', long, value_name = "LIST", value_delimiter = ',')]
    columns: Option<Vec<Column>>,
    /// Sort by this column; by the kernel's index if this is not said
    #[arg(long, value_name = "COLUMN")]
    sort: Option<Column>,
    /// Reverse the order
    #[arg(long)]
    reverse: bool,
    /// How to print the list
    #[arg(short, long, value_enum, default_value_t)]
    format: Format,
    /// Leave out the line of titles (and the totals of a table)
    #[arg(long)]
    no_headings: bool,
    /// Show sizes in bytes and ages in seconds, in a table too
    #[arg(short, long)]
    bytes: bool,
    /// How to write times: short in a table, iso elsewhere, if this is not said
    #[arg(long, value_enum, value_name = "FORMAT")]
    time_format: Option<TimeFormat>,
    /// Print the identifiers alone
    #[arg(short, long, conflicts_with_all = ["columns", "format"])]
    quiet: bool,
    #[command(flatten)]
    filters: Filters,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people
    #[default]
    Table,
    /// One blank between fields, blanks in a value as \x20, an empty value as -
    Raw,
    /// KEY="0x0000002a" ID="5"
    Export,
    /// One JSON object
    Json,
    /// One JSON object a line
    Jsonl,
    /// Comma-separated values
    Csv,
}

impl List {
    pub(super) fn wants_json(&self) -> bool {
        matches!(self.format, Format::Json | Format::Jsonl)
    }

    pub(super) fn run(&self, context: &mut Context) -> Result<Status> {
        let selection = self.filters.resolve()?;
        let Context { output, lookups } = context;
        let for_people = self.format == Format::Table;
        let view = View {
            lookups,
            time_format: self.time_format.unwrap_or(Column::default_time_format(for_people)),
            human_sizes: for_people && !self.bytes,
        };
        let is_table = for_people && !self.quiet;
        let matching = rows()?.filter(|row| row.as_ref().map_or(true, |segment| selection.matches(segment, lookups)));
        if self.sort.is_none() && !self.reverse && !is_table {
            self.print(output, matching, view)?;
            return Ok(Status::Done);
        }
        let mut segments = matching.collect::<Result<Vec<_>>>()?;
        if let Some(column) = self.sort {
            segments.sort_by(|a, b| column.compare(a, b, &view));
        }
        if self.reverse {
            segments.reverse();
        }
        if is_table {
            self.table(output, &segments, view)?;
        } else {
            self.print(output, segments.into_iter().map(Ok), view)?;
        }
        Ok(Status::Done)
    }

    fn table(&self, output: &mut Output, segments: &[Segment], view: View<'_>) -> Result<()> {
        let layout = Layout::new(self.columns.as_deref(), !self.no_headings, segments, &view, output.width());
        layout.print(output, segments, &view)?;
        if output.is_terminal() && !self.no_headings {
            Totals::of(segments, &view).print(output)?;
        }
        Ok(())
    }

    /// All formats but the table are written row by row, as the kernel hands the rows out.
    fn print(
        &self,
        output: &mut Output,
        mut segments: impl Iterator<Item = Result<Segment>>,
        view: View<'_>,
    ) -> Result<()> {
        if self.quiet {
            return segments.try_for_each(|segment| output.line(segment?.id));
        }
        match self.format {
            Format::Table | Format::Raw => self.delimited(RAW, output, segments, view),
            Format::Export => self.delimited(EXPORT, output, segments, view),
            Format::Csv => self.delimited(CSV, output, segments, view),
            Format::Jsonl => segments.try_for_each(|segment| output.json(&SegmentRecord::new(&segment?, view.lookups))),
            Format::Json => {
                let mut separator = "{\"segments\":[\n";
                for segment in segments {
                    let record = SegmentRecord::new(&segment?, view.lookups);
                    output.bytes(separator.as_bytes())?;
                    output.json_value(&record)?;
                    separator = ",\n";
                }
                let empty = separator.starts_with('{');
                output.line(if empty { "{\"segments\":[]}" } else { "\n]}" })
            }
        }
    }

    fn delimited(
        &self,
        format: Delimited,
        output: &mut Output,
        mut segments: impl Iterator<Item = Result<Segment>>,
        view: View<'_>,
    ) -> Result<()> {
        let columns = self.columns.as_deref().unwrap_or(match self.format {
            Format::Raw => DEFAULT_COLUMNS,
            _ => ALL_COLUMNS,
        });
        if !self.no_headings {
            format.titles(output.writer(), columns).map_err(|error| Error::output(&error))?;
        }
        segments.try_for_each(|segment| {
            format.row(output.writer(), columns, &segment?, &view).map_err(|error| Error::output(&error))
        })
    }
}
