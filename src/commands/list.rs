mod columns;

use std::cmp::Ordering;

use clap::{Args, ValueEnum};

use super::Context;
use super::args::{Filters, report_undecided};
use crate::error::{Error, Result, Status};
use crate::output::{
    self, Column, Csv, Export, Format, Groups, Json, JsonLines, NamespaceRecord, Output, Raw, Rows, Sums, Table,
    TimeFormat, View, column_help, print_ids, report_hidden_attachments, report_unread,
};
use crate::segments::all_namespaces::AllNamespaces;
use crate::segments::hidden_attachments::HiddenAttachments;
use crate::segments::lookup::rows;
use crate::segments::users::{self, Shown};
use crate::system::namespace::Identity;
use crate::sysv::Segment;

pub(super) use self::columns::{ColumnWord, candidates as column_candidates};

const EXAMPLES: &str = "Examples:
  shmadm list                              a table
  shmadm ls --sort size --reverse          the largest first
  shmadm list -o +ctime,pids               more columns
  shmadm list --sum owner                  how much each user owns
  shmadm list -o key,id,owner,ctime --time-format iso
  shmadm list -f json | jq '.segments[] | select(.nattch == 0)'
  shmadm list -q --unattached --min-size 8M | xargs -r shmadm remove";

/// List the segments
///
/// Shows the segments of this IPC namespace in the kernel's order, including those that you cannot read. With
/// --all-namespaces, shows the segments of all IPC namespaces.
#[derive(Debug, Args)]
#[command(after_help = format!("Columns:\n{}\n{EXAMPLES}", column_help()))]
pub(super) struct List {
    /// Comma-separated columns, in this order; +COL,… adds to the default; `all` is every column; `help` describes them
    #[arg(short = 'o', long, value_name = "LIST", value_delimiter = ',')]
    columns: Vec<ColumnWord>,
    /// Sort by this column instead of in the kernel's order
    #[arg(long, value_name = "COLUMN", value_parser = Column::named)]
    sort: Option<&'static Column>,
    /// Reverse the order
    #[arg(long)]
    reverse: bool,
    /// Print one row for each value of this column, with the number of segments and the sums of their sizes
    #[arg(long, value_name = "COLUMN", value_parser = Column::named)]
    #[arg(conflicts_with_all = ["columns", "sort", "reverse", "quiet"])]
    sum: Option<&'static Column>,
    /// Output format
    #[arg(short, long, value_enum, default_value_t)]
    format: FormatName,
    /// Omit the line of titles (and the totals of a table)
    #[arg(long)]
    no_headings: bool,
    /// Show sizes in bytes and ages in seconds, in a table too
    #[arg(short, long)]
    bytes: bool,
    /// Format of times (default: short in a table, iso in other formats)
    #[arg(long, value_enum, value_name = "FORMAT")]
    time_format: Option<TimeFormat>,
    /// Print only the identifiers, as id:N, for other commands
    #[arg(short, long, conflicts_with_all = ["columns", "format"])]
    quiet: bool,
    /// List the segments of every IPC namespace of the machine
    #[arg(long, conflicts_with = "quiet")]
    all_namespaces: bool,
    #[command(flatten)]
    filters: Filters,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
enum FormatName {
    /// For people
    #[default]
    Table,
    /// One space between fields, spaces in a value as \x20, an empty value as -
    Raw,
    /// For the shell's eval: KEY="0x0000002a" ID="5"
    Export,
    /// One JSON object
    Json,
    /// One JSON object per line
    Jsonl,
    /// Comma-separated values
    Csv,
}

impl FormatName {
    fn format(self) -> &'static dyn Format {
        match self {
            Self::Table => &Table,
            Self::Raw => &Raw,
            Self::Export => &Export,
            Self::Json => &Json,
            Self::Jsonl => &JsonLines,
            Self::Csv => &Csv,
        }
    }

    fn is_json(self) -> bool {
        matches!(self, Self::Json | Self::Jsonl)
    }
}

impl List {
    pub(super) fn wants_json(&self) -> bool {
        self.format.is_json()
    }

    pub(super) fn run(&self, context: &mut Context) -> Result<Status> {
        let Context { output, lookups } = context;
        if self.columns.contains(&ColumnWord::Help) {
            output.bytes(column_help().as_bytes())?;
            return Ok(Status::Done);
        }
        if self.format.is_json() && !self.columns.is_empty() {
            return Err(Error::usage("JSON always has all fields: -o is for the other formats"));
        }
        let columns = self.columns(output)?;
        let selection = self.filters.resolve()?;
        let for_people = self.format == FormatName::Table;
        let view = View {
            lookups,
            time_format: self.time_format.unwrap_or(TimeFormat::default_for(for_people)),
            human_sizes: for_people && !self.bytes,
        };
        let all_namespaces = if self.all_namespaces { Some(AllNamespaces::find()?) } else { None };
        let source: Box<dyn Iterator<Item = Result<Segment>>> = match &all_namespaces {
            Some(all_namespaces) => Box::new(all_namespaces.rows()),
            None => Box::new(self.rows(&columns)?),
        };
        let hidden = all_namespaces.as_ref().map(|_| HiddenAttachments::new(lookups.attachments()));
        let matching = users::announce(source, lookups)
            .inspect(|row| {
                if let (Some(hidden), Ok(segment)) = (&hidden, row) {
                    hidden.remove(segment);
                }
            })
            .filter(|row| row.as_ref().map_or(true, |segment| selection.matches(segment, lookups)))
            .inspect(|row| {
                if let (Some(all_namespaces), Ok(segment)) = (&all_namespaces, row) {
                    all_namespaces.count(segment);
                }
            });
        let matching: Box<dyn Iterator<Item = Result<Segment>>> = match self.shown_commands(&columns) {
            Some(shown) => Box::new(users::with_commands(matching, shown, lookups)),
            None => Box::new(matching),
        };
        match self.sum {
            Some(column) => self.print_sums(column, matching, view, output)?,
            None => {
                let namespaces =
                    all_namespaces.as_ref().map(|all_namespaces| move || NamespaceRecord::all(all_namespaces.counts()));
                let shown = output::List {
                    columns,
                    may_leave_out: columns::only_adds(&self.columns),
                    has_headings: !self.no_headings,
                    view,
                    rows: self.sorted(matching, view)?,
                    namespaces: namespaces.as_ref().map(|namespaces| namespaces as _),
                    groups: self.groups(),
                };
                if self.quiet { print_ids(shown, output)? } else { self.format.format().list(shown, output)? }
            }
        }
        report_undecided(&selection);
        let Some(all_namespaces) = all_namespaces else { return Ok(Status::Done) };
        output.flush()?;
        if let Some(hidden) = hidden {
            report_hidden_attachments(&hidden.rest(&all_namespaces.entered()));
        }
        Ok(report_unread(&all_namespaces))
    }

    fn print_sums(
        &self,
        column: &'static Column,
        mut segments: impl Iterator<Item = Result<Segment>>,
        view: View<'_>,
        output: &mut Output,
    ) -> Result<()> {
        let mut sums = Sums::by(column, view, !self.no_headings);
        segments.try_for_each(|segment| segment.map(|segment| sums.add(&segment)))?;
        self.format.format().sums(&sums, output)
    }

    /// Returns the segments in the requested order. In the kernel's order they are not kept in memory.
    fn sorted<'a>(&self, rows: impl Iterator<Item = Result<Segment>> + 'a, view: View<'a>) -> Result<Rows<'a>> {
        if self.sort.is_none() && !self.reverse {
            return Ok(Rows::Streamed(Box::new(rows)));
        }
        let mut segments = rows.collect::<Result<Vec<_>>>()?;
        if let Some(column) = self.sort {
            sort(&mut segments, |a, b| column.compare(a, b, &view));
        }
        if self.reverse {
            segments.reverse();
        }
        Ok(Rows::Collected(segments))
    }

    /// Returns the segments of our own namespace, with its inode if a column shows it. JSON includes the inode only with
    /// several namespaces.
    fn rows(&self, columns: &[&Column]) -> Result<impl Iterator<Item = Result<Segment>> + use<>> {
        let mut shown = columns.iter().copied().chain(self.sum);
        let is_shown = self.sum.is_some() || !self.format.is_json();
        let namespace = match is_shown && shown.any(|column| column.title == "NS") {
            true => Identity::ours().ok().map(|ours| ours.inode).filter(|inode| *inode != 0),
            false => None,
        };
        Ok(rows()?.map(move |row| row.map(|segment| Segment { namespace, ..segment })))
    }

    fn columns(&self, output: &Output) -> Result<Vec<&'static Column>> {
        let mut defaults = self.format.format().default_columns();
        let has_namespace = defaults.iter().any(|column| column.title == "NS");
        // On a terminal, the heading of each namespace shows its inode.
        let in_heading = self.groups() != Groups::None && !self.no_headings && output.is_terminal();
        if self.all_namespaces && !has_namespace && !(self.format == FormatName::Table && in_heading) {
            defaults.splice(0..0, Column::named("NS"));
        }
        if self.columns.is_empty() { Ok(defaults) } else { columns::resolve(&self.columns, defaults) }
    }

    /// Returns which command lines the output, the order or the sums need.
    fn shown_commands(&self, columns: &[&Column]) -> Option<Shown> {
        let columns = if self.quiet { &[] } else { columns };
        let has = |title| columns.iter().copied().chain(self.sort).chain(self.sum).any(|column| column.title == title);
        if self.format.is_json() || has("LCOMMAND") { Some(Shown::Both) } else { has("COMMAND").then_some(Shown::One) }
    }

    /// Returns how namespaces are grouped. A sorted table mixes the namespaces.
    fn groups(&self) -> Groups {
        match () {
            () if !self.all_namespaces || self.sort.is_some() || self.reverse => Groups::None,
            () if self.filters.is_empty() => Groups::All,
            () => Groups::NotEmpty,
        }
    }
}

/// Sorts segments, and leaves equal ones in their order. [`slice::sort_by`] would need additional memory for half of the
/// segments.
fn sort(segments: &mut [Segment], compare: impl Fn(&Segment, &Segment) -> Ordering) {
    let mut order: Vec<usize> = (0..segments.len()).collect();
    order.sort_by(|a, b| compare(&segments[*a], &segments[*b]));
    for place in 0..order.len() {
        let mut from = order[place];
        // The element at this place has been swapped to a later place.
        while from < place {
            from = order[from];
        }
        segments.swap(place, from);
    }
}
