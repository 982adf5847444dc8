use std::collections::HashSet;
use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;

use super::Context;
use super::args::{Filters, TextOrJson, report_undecided, segment_parser};
use crate::contents::save;
use crate::error::{Error, Kind, Result, Status};
use crate::output::{Progress, say};
use crate::segments::lookup::{self, Named, rows};
use crate::segments::users;
use crate::sysv::Segment;
use crate::values::{SegmentRef, counted, visible_path};

/// Save segments into one archive
///
/// Writes key, size, mode, owner, group, times and contents of segments into FILE. `shmadm restore` restores them. Pages
/// that nobody has touched take no space in the archive, and stay unallocated.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    shmadm save tables.shm 0x2a id:5\n  \
    shmadm save mine.shm --mine\n  \
    shmadm remove --orphaned --idle 1h --save undo.shm    save first, then remove\n  \
    shmadm save - 0x2a | ssh other shmadm restore -")]
pub(super) struct Save {
    /// The archive, which is replaced when the new one is complete; `-` is standard output
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The segments: a key (0x2a, 42, 052), id:N, or ftok:PROJECT:PATH
    #[arg(value_parser = segment_parser(), allow_negative_numbers = true)]
    segment: Vec<SegmentRef>,
    /// Save all segments, if no segment is named and no filter is given
    #[arg(long, conflicts_with = "segment")]
    all: bool,
    /// Do not print what was saved
    #[arg(short, long)]
    quiet: bool,
    /// Output format
    #[arg(short, long, value_enum, default_value_t)]
    format: TextOrJson,
    #[command(flatten)]
    filters: Filters,
}

#[derive(Serialize)]
struct Report {
    saved: Vec<Record>,
}

/// The result for one segment.
#[derive(Serialize)]
struct Record {
    key: Option<String>,
    id: Option<i32>,
    size: Option<u64>,
    /// Bytes of data in the archive.
    bytes: Option<u64>,
    outcome: Outcome,
    error: Option<Error>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Outcome {
    Saved,
    /// It was named, but the filters do not match it.
    Skipped,
    Missing,
    Failed,
}

impl Save {
    pub(super) fn wants_json(&self) -> bool {
        self.format == TextOrJson::Json
    }

    pub(super) fn run(&self, context: &mut Context) -> Result<Status> {
        if self.segment.is_empty() && self.filters.is_empty() && !self.all {
            return Err(Error::usage("name what to save: a SEGMENT, filters, or --all; nothing was saved"));
        }
        let to_stdout = self.file == Path::new("-");
        if to_stdout && self.wants_json() {
            return Err(Error::usage("standard output is the archive: name a FILE with --format json"));
        }
        let mut records = Vec::new();
        let mut status = Status::Done;
        let chosen = self.choose(context, &mut records, &mut status)?;
        if chosen.is_empty() && status == Status::Done {
            return Err(Error::failed(format!("no segment matches, and {} was not written", visible_path(&self.file))));
        }
        let total: u128 = chosen.iter().map(|segment| u128::from(segment.size)).sum();
        let mut progress = Progress::bytes("saving", u64::try_from(total).ok());
        let names = &context.lookups.names;
        let saved = save::save(&self.file, &chosen, names, &mut context.output, &mut |count| progress.advance(count))?;
        drop(progress);
        for (segment, saved) in chosen.iter().zip(saved) {
            if let Err(error) = &saved {
                say(error);
                status = status.and(error.status());
            } else if !(self.quiet || to_stdout || self.wants_json()) {
                let bytes = saved.as_ref().map_or(0, |saved| saved.bytes);
                context.output.line(format_args!(
                    "saved {}: {}, {} of data",
                    Named::from(segment),
                    counted(segment.size, "byte"),
                    counted(bytes, "byte")
                ))?;
            }
            records.push(Record::of(segment, saved.map(|saved| saved.bytes)));
        }
        if self.wants_json() {
            context.output.json(&Report { saved: records })?;
        }
        Ok(status)
    }

    /// Returns the segments to save. Missing and skipped ones are reported and recorded.
    fn choose(&self, context: &Context, records: &mut Vec<Record>, status: &mut Status) -> Result<Vec<Segment>> {
        let selection = self.filters.resolve()?;
        if self.segment.is_empty() {
            let matches =
                |row: &Result<Segment>| row.as_ref().map_or(true, |row| selection.matches(row, &context.lookups));
            let chosen = users::announce(rows()?, &context.lookups).filter(matches).collect();
            report_undecided(&selection);
            return chosen;
        }
        let mut seen = HashSet::new();
        let mut chosen = Vec::new();
        for word in &self.segment {
            match lookup::find_current("save", word) {
                Ok(segment) if !seen.insert(segment.id) => {}
                Ok(segment) if selection.matches(&segment, &context.lookups) => chosen.push(segment),
                Ok(segment) => {
                    let why = match selection.may_match(&segment, &context.lookups) {
                        true => "whether it matches the filters is unknown",
                        false => "it does not match the filters",
                    };
                    say(format_args!("skipped {}: {why}", Named::from(&segment)));
                    records.push(Record { outcome: Outcome::Skipped, ..Record::of(&segment, Ok(0)) });
                }
                Err(error) => {
                    say(&error);
                    *status = status.and(error.status());
                    records.push(Record::not_found(word, &error));
                }
            }
        }
        Ok(chosen)
    }
}

impl Record {
    fn of(segment: &Segment, saved: Result<u64>) -> Record {
        let outcome = if saved.is_ok() { Outcome::Saved } else { Outcome::Failed };
        let error = saved.as_ref().err().cloned();
        let (key, id) = (Some(segment.key.to_string()), Some(segment.id.as_raw()));
        Record { key, id, size: Some(segment.size), bytes: saved.ok(), outcome, error }
    }

    fn not_found(word: &SegmentRef, error: &Error) -> Record {
        let outcome = if error.kind == Kind::Missing { Outcome::Missing } else { Outcome::Failed };
        let id = if let SegmentRef::Id(id) = word { Some(id.as_raw()) } else { None };
        let key = lookup::key_of(word).ok().flatten().map(|key| key.to_string());
        Record { key, id, size: None, bytes: None, outcome, error: Some(error.clone()) }
    }
}
