use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use super::Context;
use super::args::TextOrJson;
use crate::contents::archive::SavedSegment;
use crate::contents::restore::{self, Restored, Restorer};
use crate::error::{Error, Result, Status};
use crate::output::{Progress, say};
use crate::segments::create::Undoer;
use crate::segments::lookup::Named;
use crate::segments::rmid_forced;
use crate::values::counted;

/// Restore the segments of an archive
///
/// Creates the segments again that `shmadm save` or `shmadm remove --save` wrote to FILE: key, size, mode and contents, and
/// owner and group if that is permitted. The whole archive is checked first; a damaged archive restores nothing. It is an
/// error if a key is in use; the other segments are still restored.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    shmadm restore undo.shm\n  \
    shmadm restore undo.shm --dry-run             its contents, and keys in use\n  \
    ssh other shmadm save - 0x2a | shmadm restore -")]
pub(super) struct Restore {
    /// The archive; `-` is standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Give each segment its old identifier (as root)
    #[arg(long)]
    same_id: bool,
    /// Check the archive and show what would be restored, but restore nothing
    #[arg(short = 'n', long)]
    dry_run: bool,
    /// Do not print what was restored
    #[arg(short, long)]
    quiet: bool,
    /// Output format
    #[arg(short, long, value_enum, default_value_t)]
    format: TextOrJson,
}

#[derive(Serialize)]
struct Report {
    restored: Vec<Record>,
}

/// The result for one segment.
#[derive(Serialize)]
struct Record {
    key: String,
    /// Its new identifier.
    id: Option<i32>,
    /// Its old identifier.
    saved_id: i32,
    size: u64,
    outcome: Outcome,
    /// The part that could not be restored, such as the lock.
    warning: Option<String>,
    error: Option<Error>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Outcome {
    Restored,
    WouldRestore,
    Failed,
}

impl Restore {
    pub(super) fn wants_json(&self) -> bool {
        self.format == TextOrJson::Json
    }

    pub(super) fn run(&self, context: &mut Context) -> Result<Status> {
        let mut progress = Progress::bytes("checking", None);
        let mut archive = restore::open_archive(&self.file, &mut |count| progress.advance(count))?;
        drop(progress);
        let total: u128 = archive.segments().map(|saved| u128::from(saved.bytes)).sum();
        let mut progress = Progress::bytes("restoring", u64::try_from(total).ok())
            .hidden_if(context.output.is_terminal() && !self.quiet);
        let undoer = Undoer::new();
        let mut restorer = Restorer::new(self.same_id, &undoer);
        let (mut records, mut status) = (Vec::new(), Status::Done);
        let count = archive.segments().len();
        for index in 0..count {
            let result = if self.dry_run {
                restore::check_key(archive.segment(index)).map(|()| None)
            } else {
                restorer.restore(&mut archive, index, &mut |count| progress.advance(count)).map(Some)
            };
            let saved = archive.segment(index);
            progress.suspend(|| self.report(saved, &result, context))?;
            if let Err(error) = &result {
                status = status.and(error.status());
            }
            records.push(Record::of(saved, result));
        }
        drop(progress);
        if self.wants_json() {
            context.output.json(&Report { restored: records })?;
        }
        if !self.dry_run
            && status != Status::Failed
            && let Some(warning) = rmid_forced::fleeting()
        {
            say(warning);
        }
        Ok(status)
    }

    fn report(&self, saved: &SavedSegment, result: &Result<Option<Restored>>, context: &mut Context) -> Result<()> {
        let is_printed = !self.quiet && !self.wants_json();
        match result {
            Err(error) => say(error),
            Ok(Some(restored)) => {
                restored.warning.iter().for_each(say);
                if is_printed {
                    let segment = &restored.segment;
                    context.output.line(format_args!(
                        "restored {}: {}, mode {}, was id {}",
                        Named::from(segment),
                        counted(segment.size, "byte"),
                        segment.mode(),
                        saved.id()
                    ))?;
                    // A signal can end the program during the next one, and this one stays.
                    context.output.flush()?;
                }
            }
            Ok(None) if is_printed => context.output.line(format_args!(
                "would restore segment {}: {}, mode {}, was id {}",
                saved.key(),
                counted(saved.size, "byte"),
                saved.mode(),
                saved.id()
            ))?,
            Ok(None) => {}
        }
        Ok(())
    }
}

impl Record {
    fn of(saved: &SavedSegment, result: Result<Option<Restored>>) -> Record {
        let (id, outcome, warning, error) = match result {
            Ok(Some(Restored { segment, warning })) => (Some(segment.id.as_raw()), Outcome::Restored, warning, None),
            Ok(None) => (None, Outcome::WouldRestore, None, None),
            Err(error) => (None, Outcome::Failed, None, Some(error)),
        };
        let key = saved.key().to_string();
        Record { key, id, saved_id: saved.id().as_raw(), size: saved.size, outcome, warning, error }
    }
}
