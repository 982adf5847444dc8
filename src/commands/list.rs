mod everywhere;

use clap::{Args, ValueEnum};

use self::everywhere::Everywhere;
use super::{Context, rows};
use crate::error::{Error, Result, Status};
use crate::output::{
    Column, Delimited, DelimitedFormat, Layout, Output, SegmentRecord, TimeFormat, Totals, View, column_help,
};
use crate::segments::filter::Filters;
use crate::system::namespace::Identity;
use crate::sysv::Segment;

const EXAMPLES: &str = "Examples:
  shmadm list                              a table
  shmadm ls --sort size --reverse          the largest first
  shmadm list -o key,id,owner,ctime --time-format iso
  shmadm list -f json | jq '.segments[] | select(.nattch == 0)'";

/// List the segments
///
/// Shows every segment of this IPC namespace, whether you may read it or not, in the kernel's order. With
/// --all-namespaces those of all IPC namespaces.
#[derive(Debug, Args)]
#[command(after_help = format!("Columns:\n{}\n{EXAMPLES}", column_help()))]
pub(super) struct List {
    /// Comma-separated columns, in this order
    #[arg(short = 'o', long, value_name = "LIST", value_delimiter = ',', value_parser = Column::named)]
    columns: Option<Vec<&'static Column>>,
    /// Sort by this column; by the kernel's index if this is not said
    #[arg(long, value_name = "COLUMN", value_parser = Column::named)]
    sort: Option<&'static Column>,
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
    /// Print only the identifiers, as id:N, which other commands take
    #[arg(short, long, conflicts_with_all = ["columns", "format"])]
    quiet: bool,
    /// List the segments of every IPC namespace of the machine, each with a process in it
    #[arg(long, conflicts_with = "quiet")]
    all_namespaces: bool,
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
            time_format: self.time_format.unwrap_or(TimeFormat::default_for(for_people)),
            human_sizes: for_people && !self.bytes,
        };
        let is_table = for_people && !self.quiet;
        let everywhere = if self.all_namespaces { Some(Everywhere::look()?) } else { None };
        let source: Box<dyn Iterator<Item = Result<Segment>>> = match &everywhere {
            Some(everywhere) => Box::new(everywhere.rows()),
            None => Box::new(self.rows()?),
        };
        let matching = source
            .filter(|row| row.as_ref().map_or(true, |segment| selection.matches(segment, lookups)))
            .inspect(|row| {
                if let (Some(everywhere), Ok(segment)) = (&everywhere, row) {
                    everywhere.count(segment);
                }
            });
        // A JSON document is whole, or an error.
        let is_json = self.format == Format::Json && !self.quiet;
        if self.sort.is_none() && !self.reverse && !is_table && !is_json {
            self.print(output, matching, everywhere.as_ref(), view)?;
            return finish(output, everywhere.as_ref());
        }
        let mut segments = matching.collect::<Result<Vec<_>>>()?;
        if let Some(column) = self.sort {
            segments.sort_by(|a, b| column.compare(a, b, &view));
        }
        if self.reverse {
            segments.reverse();
        }
        if is_table {
            self.table(output, segments, everywhere.as_ref(), view)?;
        } else {
            self.print(output, segments.into_iter().map(Ok), everywhere.as_ref(), view)?;
        }
        finish(output, everywhere.as_ref())
    }

    /// The rows of our own namespace, with its number where that is to be shown: JSON has it where there are several.
    fn rows(&self) -> Result<impl Iterator<Item = Result<Segment>> + use<>> {
        let shown = match self.format {
            Format::Json | Format::Jsonl => false,
            Format::Table | Format::Raw => self.columns.as_deref().is_some_and(has_namespaces),
            Format::Export | Format::Csv => self.columns.as_deref().is_none_or(has_namespaces),
        };
        let namespace = if shown { Identity::ours().ok().map(|ours| ours.inode) } else { None };
        Ok(rows()?.map(move |row| row.map(|segment| Segment { namespace, ..segment })))
    }

    /// The columns that were asked for, or those that this kind of list has; and whether they were asked for.
    fn columns(&self, output: &Output) -> (Vec<&'static Column>, bool) {
        if let Some(columns) = &self.columns {
            return (columns.clone(), true);
        }
        let all = matches!(self.format, Format::Export | Format::Csv);
        let mut columns = match all {
            true => Column::inexpensive(),
            false => Column::defaults(),
        };
        // On a terminal the heading of each namespace says it.
        let in_heading = self.format == Format::Table && !self.no_headings && output.is_terminal();
        if self.all_namespaces && !all && !in_heading {
            columns.splice(0..0, Column::named("NS"));
        }
        (columns, false)
    }

    fn table(
        &self,
        output: &mut Output,
        mut segments: Vec<Segment>,
        everywhere: Option<&Everywhere>,
        view: View<'_>,
    ) -> Result<()> {
        let (columns, asked_for) = self.columns(output);
        if let Some(everywhere) = everywhere {
            everywhere.group(&mut segments);
        }
        let segments = &segments[..];
        let layout = Layout::new(&columns, !asked_for, !self.no_headings, segments, &view, output.width());
        layout.print_titles(output)?;
        match everywhere {
            Some(everywhere) if !self.no_headings => self.groups(output, &layout, segments, everywhere, view)?,
            _ => layout.print(output, segments, &view)?,
        }
        if output.is_terminal() && !self.no_headings {
            Totals::of(segments, &view).print(output)?;
        }
        Ok(())
    }

    /// Each namespace with its segments below it. Filters choose among the namespaces, too.
    fn groups(
        &self,
        output: &mut Output,
        layout: &Layout,
        mut segments: &[Segment],
        everywhere: &Everywhere,
        view: View<'_>,
    ) -> Result<()> {
        for (inode, record) in everywhere.records() {
            let end = segments.iter().take_while(|segment| segment.namespace == Some(inode)).count();
            let (group, rest) = segments.split_at(end);
            segments = rest;
            if !group.is_empty() || self.filters.is_empty() {
                record.print_heading(output)?;
                layout.print(output, group, &view)?;
            }
        }
        Ok(())
    }

    /// All formats but the table are written row by row, as the kernel hands the rows out.
    fn print(
        &self,
        output: &mut Output,
        mut segments: impl Iterator<Item = Result<Segment>>,
        everywhere: Option<&Everywhere>,
        view: View<'_>,
    ) -> Result<()> {
        if self.quiet {
            return segments.try_for_each(|segment| output.line(format_args!("id:{}", segment?.id)));
        }
        match self.format {
            Format::Table | Format::Raw => self.delimited(DelimitedFormat::Raw, output, segments, view),
            Format::Export => self.delimited(DelimitedFormat::Export, output, segments, view),
            Format::Csv => self.delimited(DelimitedFormat::Csv, output, segments, view),
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
                output.bytes(if empty { b"{\"segments\":[]" } else { b"\n]" })?;
                if let Some(everywhere) = everywhere {
                    let namespaces: Vec<_> = everywhere.records().map(|(_, record)| record).collect();
                    output.bytes(b",\"namespaces\":")?;
                    output.json_value(&namespaces)?;
                }
                output.line("}")
            }
        }
    }

    fn delimited(
        &self,
        format: DelimitedFormat,
        output: &mut Output,
        mut segments: impl Iterator<Item = Result<Segment>>,
        view: View<'_>,
    ) -> Result<()> {
        let (columns, _) = self.columns(output);
        let mut lines = Delimited::new(format, output.writer(), &columns);
        if !self.no_headings {
            lines.titles().map_err(|error| Error::output(&error))?;
        }
        segments.try_for_each(|segment| lines.row(&segment?, &view).map_err(|error| Error::output(&error)))?;
        lines.finish().map_err(|error| Error::output(&error))
    }
}

/// Whether these columns show the namespace.
fn has_namespaces(columns: &[&Column]) -> bool {
    columns.iter().any(|column| column.title == "NS")
}

/// Says what could not be seen, below the list.
fn finish(output: &mut Output, everywhere: Option<&Everywhere>) -> Result<Status> {
    let Some(everywhere) = everywhere else { return Ok(Status::Done) };
    output.flush()?;
    Ok(everywhere.tell())
}
