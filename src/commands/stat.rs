use clap::Args;
use serde::Serialize;

use super::Context;
use super::args::{TextOrJson, segment_parser};
use crate::error::{Error, Result, Status};
use crate::output::{AttachmentList, Description, Progress, SegmentRecord, say};
use crate::segments::attachments::Attachments;
use crate::segments::cache::Lookups;
use crate::segments::charge::{Charge, Charges, charges};
use crate::segments::lookup::{self, Named};
use crate::sysv::{self, Reason, Segment};
use crate::values::SegmentRef;

/// The maximum number of attempts while attachments change.
const MAX_ATTEMPTS: usize = 3;

/// Show everything that is known of a segment
///
/// Combines the result of IPC_STAT and the segment's row of /proc/sysvipc/shm. Shows the processes that have it attached,
/// if you may inspect them. If the mode denies IPC_STAT, only the row is shown, and a line says so.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    shmadm stat 0x2a\n  \
    sudo shmadm stat 0x2a                            every user's processes\n  \
    shmadm stat id:5 id:6 -f json | jq '.[].nattch'\n  \
    shmadm stat 0x2a -f json | jq '.[].attachments[].pid'\n  \
    sudo shmadm stat 0x2a --charge                   which cgroup is charged")]
pub(super) struct Stat {
    /// The segments: a key (0x2a, 42, 052), id:N, or ftok:PROJECT:PATH
    #[arg(required = true, value_parser = segment_parser(), allow_negative_numbers = true)]
    segment: Vec<SegmentRef>,
    /// Output format
    #[arg(short, long, value_enum, default_value_t)]
    format: TextOrJson,
    /// Also show the memory cgroups that its memory is charged to (as root)
    #[arg(long)]
    charge: bool,
}

/// A segment and how it was read.
struct Inspected {
    named: Named,
    segment: Segment,
    denied: Option<sysv::Error>,
}

#[derive(Serialize)]
struct StatRecord<'a> {
    #[serde(flatten)]
    segment: SegmentRecord,
    attachments: AttachmentList<'a>,
    attachments_missing: u64,
    denied: Option<String>,
    charged: Option<Vec<Charge>>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Found<'a> {
    Segment(Box<StatRecord<'a>>),
    Failed { segment: String, error: &'a Error },
}

impl Stat {
    pub(super) fn wants_json(&self) -> bool {
        self.format == TextOrJson::Json
    }

    pub(super) fn run(&self, context: &mut Context) -> Result<Status> {
        let (results, attachments) = self.inspect();
        let mut status = Status::Done;
        for error in results.iter().filter_map(|result| result.as_ref().err()) {
            say(error);
            status = status.and(error.status());
        }
        let charges: Vec<_> = results.iter().map(|result| self.charges(result.as_ref().ok()?, &attachments)).collect();
        for error in charges.iter().flatten().filter_map(|charges| charges.as_ref().err()) {
            say(error);
            status = status.and(error.status());
        }
        let charges: Vec<_> = charges.into_iter().map(|charges| charges?.ok()).collect();
        let output = &mut context.output;
        let lookups = Lookups::with_attachments(attachments);
        AttachmentList::read_processes(results.iter().flatten().map(|inspected| &inspected.segment), &lookups);
        match self.format {
            TextOrJson::Json => {
                let results = self.segment.iter().zip(&results).zip(charges);
                let found = results.map(|((word, result), charges)| match result {
                    Ok(inspected) => Found::Segment(Box::new(StatRecord::new(inspected, charges, &lookups))),
                    Err(error) => Found::Failed { segment: word.to_string(), error },
                });
                output.json(&found.collect::<Vec<_>>())?;
            }
            TextOrJson::Text => {
                let mut separator = "";
                for (result, charges) in results.iter().zip(&charges) {
                    let Ok(Inspected { segment, denied, .. }) = result else { continue };
                    output.bytes(separator.as_bytes())?;
                    let (denied, charges) = (denied.as_ref(), charges.as_ref());
                    Description { segment, denied, charges, lookups: &lookups }.print(output)?;
                    separator = "\n";
                }
            }
        }
        Ok(status)
    }

    /// Returns the memory cgroups charged for a segment, if requested.
    fn charges(&self, inspected: &Inspected, attachments: &Attachments) -> Option<Result<Charges>> {
        self.charge.then(|| {
            let mut progress = Progress::bytes("looking at the pages", Some(inspected.segment.size));
            charges(&inspected.segment, &inspected.named, attachments, |bytes| progress.advance(bytes))
        })
    }

    /// Reads the segments, all processes, and the segments again. If nobody attached or detached in between, the
    /// attachments found and those missing are consistent.
    fn inspect(&self) -> (Vec<Result<Inspected>>, Attachments) {
        let mut results = inspect_all(&self.segment);
        // Without attachments no process needs to be read.
        if results.iter().flatten().all(|inspected| inspected.segment.nattch == 0) {
            return (results, Attachments::default());
        }
        let mut attachments = Attachments::default();
        for _ in 0..MAX_ATTEMPTS {
            attachments =
                Attachments::of_segments(results.iter().flatten().map(|inspected| inspected.segment.id).collect());
            let before = std::mem::replace(&mut results, inspect_all(&self.segment));
            let is_quiet = before.iter().zip(&results).all(|pair| match pair {
                (Ok(before), Ok(after)) => before.segment.has_same_attachments_as(&after.segment),
                _ => true,
            });
            if is_quiet {
                break;
            }
        }
        (results, attachments)
    }
}

impl<'a> StatRecord<'a> {
    fn new(inspected: &Inspected, charges: Option<Charges>, lookups: &'a Lookups) -> StatRecord<'a> {
        let attachments = AttachmentList::of(&inspected.segment, lookups);
        StatRecord {
            segment: SegmentRecord::new(&inspected.segment, lookups),
            attachments_missing: inspected.segment.nattch.saturating_sub(attachments.len() as u64),
            attachments,
            denied: inspected.denied.map(|error| error.to_string()),
            charged: charges.map(|charges| charges.charges),
        }
    }
}

/// Reads segments by IPC_STAT, and their rows of the table.
fn inspect_all(words: &[SegmentRef]) -> Vec<Result<Inspected>> {
    let named: Vec<_> = words.iter().map(|word| lookup::find("stat", word)).collect();
    let rows = lookup::rows_of(&named.iter().flatten().map(|named| named.id).collect());
    named.into_iter().map(|named| named.and_then(|named| inspect_one(&named, rows.get(&named.id).cloned()))).collect()
}

fn inspect_one(named: &Named, row: Option<Segment>) -> Result<Inspected> {
    match sysv::stat(named.id) {
        // The result of a call is consistent in itself; only the table shows the memory.
        Ok(segment) => {
            let (rss, swap) = row.map_or((None, None), |row| (row.rss, row.swap));
            Ok(Inspected { named: named.clone(), segment: Segment { rss, swap, ..segment }, denied: None })
        }
        Err(error) if error.reason == Reason::PermissionDenied => match row.or_else(|| sysv::stat_any(named.id).ok()) {
            Some(segment) => Ok(Inspected { named: named.clone(), segment, denied: Some(error) }),
            None => Err(gone(named, error)),
        },
        Err(error) if error.reason == Reason::NoSuchSegment => Err(gone(named, error)),
        Err(error) => Err(Error::call(format_args!("stat {named}"), error)),
    }
}

fn gone(named: &Named, error: sysv::Error) -> Error {
    lookup::missing("stat", named, Some(error.errno))
}
