use std::str::FromStr;

use clap::{Args, ValueEnum};
use serde::Serialize;

use super::Context;
use crate::error::{Result, Status};
use crate::output::{Output, grid, say};
use crate::segments::lookup::{self, rows};
use crate::sysv::page_size;
use crate::values::human;

/// From here on the kernel's default, ULONG_MAX - 2^24 (include/uapi/linux/shm.h), is meant, which limits nothing.
const UNLIMITED: u64 = u64::MAX - (1 << 24);

/// Show the limits on shared memory, and how much of them is used
///
/// SHMMAX is the largest size of a segment, SHMALL the pages of all segments together, SHMMNI the number of segments.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    shmadm limits\n  \
    shmadm limits --check 80 || echo 'shared memory runs out'\n  \
    shmadm limits -f json | jq '.usage.resident'")]
pub(super) struct Limits {
    /// How to print them
    #[arg(short, long, value_enum, default_value_t)]
    format: Format,
    /// Fail (exit status 1) where more than PERCENT of SHMALL or SHMMNI is used
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

#[derive(Serialize)]
struct Limit {
    name: &'static str,
    limit: u64,
    used: Option<u64>,
    percent: Option<f64>,
    #[serde(skip)]
    sysctl: &'static str,
    #[serde(skip)]
    unit: Unit,
}

#[derive(Clone, Copy, PartialEq)]
enum Unit {
    Bytes,
    Pages,
    Segments,
}

#[derive(Serialize)]
struct Usage {
    segments: u64,
    pages: u64,
    resident: u64,
    swapped: u64,
}

#[derive(Serialize)]
struct Report {
    limits: Vec<Limit>,
    usage: Usage,
}

impl Limits {
    pub(super) fn wants_json(&self) -> bool {
        self.format == Format::Json
    }

    pub(super) fn run(&self, context: &mut Context) -> Result<Status> {
        let report = Report::now()?;
        match self.format {
            Format::Table => report.print(&mut context.output)?,
            Format::Json => context.output.json(&report)?,
        }
        let Some(Percent(allowed)) = self.check else { return Ok(Status::Done) };
        let checked = report.limits.iter().filter(|limit| matches!(limit.name, "SHMALL" | "SHMMNI"));
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

impl Report {
    fn now() -> Result<Report> {
        let (limits, usage) = lookup::limits()?;
        let mut largest = 0;
        for segment in rows()? {
            largest = largest.max(segment?.size);
        }
        let limit = |name, limit, used, sysctl, unit| {
            let mut limit = Limit { name, limit, used, percent: None, sysctl, unit };
            limit.percent = limit.share().map(|share| (share * 100.0).round() / 100.0);
            limit
        };
        Ok(Report {
            limits: vec![
                limit("SHMMAX", limits.max_bytes, Some(largest), "kernel.shmmax", Unit::Bytes),
                limit("SHMALL", limits.max_pages, Some(usage.pages), "kernel.shmall", Unit::Pages),
                limit("SHMMNI", limits.max_segments, Some(usage.segments), "kernel.shmmni", Unit::Segments),
                limit("SHMMIN", limits.min_bytes, None, "", Unit::Bytes),
            ],
            usage: Usage {
                segments: usage.segments,
                pages: usage.pages,
                resident: usage.resident_pages,
                swapped: usage.swapped_pages,
            },
        })
    }

    fn print(&self, output: &mut Output) -> Result<()> {
        let rows = self.limits.iter().map(|limit| {
            let percent = limit.percent.map_or("-".into(), |percent| format!("{percent} %"));
            let used = limit.used.map_or("-".into(), |used| limit.unit.shown(used));
            vec![limit.name.into(), limit.unit.shown(limit.limit), used, percent, limit.unit.meaning().into()]
        });
        let titles = [("LIMIT", false), ("VALUE", true), ("USED", true), ("PERCENT", true), ("WHAT", false)];
        for line in grid(&titles, rows.collect()) {
            output.line(line)?;
        }
        let size = |pages: u64| human(u128::from(pages) * u128::from(page_size()));
        let Usage { segments, pages, resident, swapped } = self.usage;
        output.line(format_args!(
            "{segments} segment{} of {pages} pages ({}): {resident} resident ({}), {swapped} swapped out ({})",
            if segments == 1 { "" } else { "s" },
            size(pages),
            size(resident),
            size(swapped)
        ))
    }
}

impl Limit {
    /// How much is used, in percent.
    #[expect(clippy::cast_precision_loss, reason = "two digits behind the point are shown")]
    fn share(&self) -> Option<f64> {
        match self.limit {
            0 => self.used.map(|used| if used == 0 { 0.0 } else { 100.0 }),
            limit => self.used.map(|used| used as f64 * 100.0 / limit as f64),
        }
    }
}

impl Unit {
    fn shown(self, number: u64) -> String {
        match self {
            _ if number >= UNLIMITED => "unlimited".into(),
            Self::Bytes => human(number.into()),
            Self::Pages | Self::Segments => number.to_string(),
        }
    }

    fn meaning(self) -> &'static str {
        match self {
            Self::Bytes => "bytes of one segment",
            Self::Pages => "pages of all segments",
            Self::Segments => "segments",
        }
    }
}
