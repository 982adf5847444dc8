use std::collections::BTreeMap;
use std::str::FromStr;

use clap::{Args, ValueEnum};

use super::Context;
use crate::error::{Result, Status};
use crate::output::{AllLimitsRecord, LimitsRecord, NamespaceLimits, NamespaceRecord, report_unread, say};
use crate::segments::all_namespaces::AllNamespaces;
use crate::segments::lookup::{self, rows};
use crate::segments::rmid_forced;
use crate::system::meminfo::shmem;
use crate::values::counted;

/// Show the limits on shared memory, and how much of them is used
///
/// SHMMAX is the largest size of a segment, SHMALL the pages of all segments together, SHMMNI the number of segments.
/// For each limit that is reached, a line below the table says what to do.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    shmadm limits\n  \
    shmadm limits --check 80 || echo 'shared memory is running out'\n  \
    shmadm limits -f json | jq '.usage.resident'\n  \
    sudo shmadm limits --all-namespaces              which namespace uses most")]
pub(super) struct Limits {
    /// Output format
    #[arg(short, long, value_enum, default_value_t)]
    format: Format,
    /// Fail (exit status 1) if more than PERCENT of SHMALL or SHMMNI is used
    #[arg(long, value_name = "PERCENT")]
    check: Option<Percent>,
    /// Show the limits of every IPC namespace of the machine
    #[arg(long)]
    all_namespaces: bool,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people
    #[default]
    Table,
    /// One JSON object
    Json,
}

#[derive(Debug, Clone, Copy)]
struct Percent(f64);

impl FromStr for Percent {
    type Err = &'static str;

    fn from_str(word: &str) -> Result<Percent, &'static str> {
        let number = word.strip_suffix('%').unwrap_or(word).parse().ok();
        let in_range = number.filter(|number| (0.0..=100.0).contains(number));
        in_range.map(Percent).ok_or("a percentage is a number from 0 to 100")
    }
}

impl Limits {
    pub(super) fn wants_json(&self) -> bool {
        self.format == Format::Json
    }

    pub(super) fn run(&self, context: &mut Context) -> Result<Status> {
        if self.all_namespaces {
            return self.run_all(context);
        }
        let record = read_limits()?;
        match self.format {
            Format::Table => record.print(&mut context.output)?,
            Format::Json => context.output.json(&record)?,
        }
        Ok(self.checked(&record, ""))
    }

    fn run_all(&self, context: &mut Context) -> Result<Status> {
        let all = AllNamespaces::find()?;
        let largest = largest(&all)?;
        let read: Vec<_> = all.limits().collect();
        let records = NamespaceRecord::all(read.iter().map(|(namespace, _, usage)| (*namespace, Ok(usage.segments))));
        let namespaces = records.into_iter().zip(&read).map(|(namespace, (_, limits, usage))| {
            let largest = largest.get(&namespace.ns).copied().unwrap_or(0);
            NamespaceLimits { limits: LimitsRecord::new(limits, usage, largest, None, None), namespace }
        });
        let record = AllLimitsRecord::new(namespaces.collect(), shmem());
        match self.format {
            Format::Table => record.print(&mut context.output)?,
            Format::Json => context.output.json(&record)?,
        }
        context.output.flush()?;
        let status = record.namespaces.iter().fold(Status::Done, |status, one| {
            status.and(self.checked(&one.limits, &format!("IPC namespace {}: ", one.namespace.ns)))
        });
        Ok(status.and(report_unread(&all)))
    }

    /// Reports which limits of a namespace are used beyond the allowed percentage.
    fn checked(&self, record: &LimitsRecord, namespace: &str) -> Status {
        let Some(Percent(allowed)) = self.check else { return Status::Done };
        let checked = record.limits.iter().filter(|limit| matches!(limit.name, "SHMALL" | "SHMMNI"));
        let above: Vec<_> = checked.filter(|limit| limit.share().is_some_and(|share| share > allowed)).collect();
        for limit in &above {
            say(format_args!(
                "{namespace}{} is used to {:.2} %, more than {allowed} %: {} of {}; sysctl {} raises it",
                limit.name,
                limit.share().unwrap_or(0.0),
                limit.used.unwrap_or(0),
                counted(limit.limit, if limit.name == "SHMALL" { "page" } else { "segment" }),
                limit.sysctl
            ));
        }
        if above.is_empty() { Status::Done } else { Status::Failed }
    }
}

/// Returns the size of the largest segment of each namespace, by its inode.
fn largest(all: &AllNamespaces) -> Result<BTreeMap<u64, u64>> {
    let mut largest = BTreeMap::<u64, u64>::new();
    for segment in all.rows() {
        let segment = segment?;
        if let Some(inode) = segment.namespace {
            let size = largest.entry(inode).or_default();
            *size = segment.size.max(*size);
        }
    }
    Ok(largest)
}

/// Reads the limits of this namespace and their usage.
fn read_limits() -> Result<LimitsRecord> {
    let (limits, usage) = lookup::limits()?;
    let mut largest = 0;
    for segment in rows()? {
        largest = largest.max(segment?.size);
    }
    Ok(LimitsRecord::new(&limits, &usage, largest, shmem(), rmid_forced::sysctl()))
}
