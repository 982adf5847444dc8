use std::str::FromStr;

use clap::{Args, ValueEnum};

use super::Context;
use crate::error::{Result, Status};
use crate::output::{LimitsRecord, say};
use crate::segments::lookup::{self, rows};
use crate::segments::rmid_forced;
use crate::system::meminfo::shmem;

/// Show the limits on shared memory, and how much of them is used
///
/// SHMMAX is the largest size of a segment, SHMALL the pages of all segments together, SHMMNI the number of segments.
/// Below the table, a line says what follows if a limit is reached.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    shmadm limits\n  \
    shmadm limits --check 80 || echo 'shared memory runs out'\n  \
    shmadm limits -f json | jq '.usage.resident'")]
pub(super) struct Limits {
    /// How to print them
    #[arg(short, long, value_enum, default_value_t)]
    format: Format,
    /// Fail (exit status 1) if more than PERCENT of SHMALL or SHMMNI is used
    #[arg(long, value_name = "PERCENT")]
    check: Option<Percent>,
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
        let record = look()?;
        match self.format {
            Format::Table => record.print(&mut context.output)?,
            Format::Json => context.output.json(&record)?,
        }
        let Some(Percent(allowed)) = self.check else { return Ok(Status::Done) };
        let checked = record.limits.iter().filter(|limit| matches!(limit.name, "SHMALL" | "SHMMNI"));
        let above: Vec<_> = checked.filter(|limit| limit.share().is_some_and(|share| share > allowed)).collect();
        for limit in &above {
            say(format_args!(
                "{} is used to {:.2} %, more than {allowed} %: {} of {}; sysctl {} raises it",
                limit.name,
                limit.share().unwrap_or(0.0),
                limit.used.unwrap_or(0),
                limit.limit,
                limit.sysctl
            ));
        }
        Ok(if above.is_empty() { Status::Done } else { Status::Failed })
    }
}

/// Looks at the limits of this namespace, and at what is used of them.
fn look() -> Result<LimitsRecord> {
    let (limits, usage) = lookup::limits()?;
    let mut largest = 0;
    for segment in rows()? {
        largest = largest.max(segment?.size);
    }
    Ok(LimitsRecord::new(&limits, &usage, largest, shmem(), rmid_forced::sysctl()))
}
