use std::ffi::OsString;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use nix::errno::Errno;
use nix::unistd::geteuid;
use serde::Serialize;

use super::Context;
use crate::contents::destination::{Destination, cannot_write};
use crate::error::{Error, Result, Status};
use crate::output::{SegmentRecord, say};
use crate::segments::cache::Lookups;
use crate::segments::filter::Selection;
use crate::segments::lookup::rows;
use crate::segments::remove::{self, Choice, Outcome};
use crate::segments::state;
use crate::system::namespace::{self, Refused};
use crate::system::spawn;
use crate::sysv::Segment;
use crate::values::counted;

/// Run a command, and name the segments that it leaves behind
///
/// The command runs in an IPC namespace of its own, so that all that is there when it ends is its own: what its
/// background descendants made is found too, and nothing that was there before is touched. With --shared it runs in
/// today's namespace, and what was not there before and was made by the same user is taken for its own.
#[derive(Debug, Args)]
#[command(after_help = "Exit status: the command's own (128+N if signal N ended it), if that is not 0; else that of\n\
    --exit-code where segments were left behind; else 0. 127: no such command, 126: it cannot be run.\n\n\
    Examples:\n  \
    shmadm guard -- make test\n  \
    shmadm guard --report leaks.json --exit-code 9 -- ./run-tests --all\n  \
    shmadm guard --shared --remove -- ./integration-test")]
pub(super) struct Guard {
    /// Remove what was left behind (with --shared: what is not attached)
    #[arg(long)]
    remove: bool,
    /// The exit status where segments were left behind and the command succeeded
    #[arg(long, value_name = "N", default_value = "1")]
    exit_code: u8,
    /// Run the command in this IPC namespace, or in that of --ns
    #[arg(long)]
    shared: bool,
    /// Write what was left behind to FILE, as JSON
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// The command and its arguments
    #[arg(required = true, last = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

#[derive(Serialize)]
struct Report {
    leaked: Vec<SegmentRecord>,
    removed: bool,
    status: u8,
}

impl Guard {
    /// Whether the command runs in the namespace that is there.
    pub(super) fn is_shared(&self) -> bool {
        self.shared
    }

    pub(super) fn run(&self, context: &mut Context) -> Result<Status> {
        if !self.shared {
            namespace::enter_private().map_err(|error| refused(&error))?;
        }
        let before = segments()?;
        // A run may last for hours, and is not to be for nothing. Not opened yet: the old report stays if we are killed.
        if let Some(path) = &self.report {
            Destination::check_writable(path).map_err(|error| cannot_write(path, &error))?;
        }
        let ended = spawn::run(&self.command).map_err(|error| Error::io("wait for the command", &error))?;
        let (leaked, status) = match ended {
            // What the command returned weighs more than all that fails afterwards.
            spawn::Outcome::Ended(status) => match self.leaked(&before) {
                Ok(leaked) => (leaked, status),
                Err(error) => {
                    say(error);
                    return Ok(Status::Guarded(if status == 0 { Status::Failed.code() } else { status }));
                }
            },
            spawn::Outcome::NotStarted(errno) => {
                say(Error::io(format_args!("run {}", Path::new(&self.command[0]).display()), &errno.into()));
                (Vec::new(), if errno == Errno::ENOENT { 127 } else { 126 })
            }
        };
        // The records are made before anything is removed: they say what was found.
        let records: Vec<_> = leaked.iter().map(|segment| SegmentRecord::new(segment, &context.lookups)).collect();
        tell(&leaked, &context.lookups);
        let removed = self.remove && !leaked.is_empty() && self.remove_all(&leaked, &context.lookups);
        let mut status = if status == 0 && !leaked.is_empty() { self.exit_code } else { status };
        if let Some(path) = &self.report
            && let Err(error) = write_report(path, &Report { leaked: records, removed, status })
        {
            say(error);
            status = if status == 0 { Status::Failed.code() } else { status };
        }
        Ok(Status::Guarded(status))
    }

    /// What the command left behind: all there is in its own namespace; else what is new and its user's.
    fn leaked(&self, before: &[Segment]) -> Result<Vec<Segment>> {
        let mut leaked = segments()?;
        if self.shared {
            let me = geteuid().as_raw();
            let was_there = |segment: &Segment| before.iter().any(|old| old.identity() == segment.identity());
            leaked.retain(|segment| segment.cuid == me && !was_there(segment));
        }
        Ok(leaked)
    }

    /// Removes what was left behind. Tells whether nothing of it is left.
    fn remove_all(&self, leaked: &[Segment], lookups: &Lookups) -> bool {
        let mut all = true;
        for segment in leaked {
            if self.shared && segment.nattch > 0 {
                say(format_args!("segment {} (id {}) is attached, and is left", segment.key, segment.id));
                all = false;
                continue;
            }
            let choice = Choice { selection: &Selection::default(), skip_attached: self.shared };
            let removal = remove::remove(segment, choice, lookups);
            match &removal.error {
                Some(error) => say(error),
                None => say(&removal),
            }
            all &= matches!(removal.outcome, Outcome::Removed | Outcome::Marked);
        }
        all
    }
}

fn segments() -> Result<Vec<Segment>> {
    rows()?.collect()
}

fn tell(leaked: &[Segment], lookups: &Lookups) {
    match leaked.len() {
        0 => return,
        1 => say("the command left a segment behind:"),
        many => say(format_args!("the command left {many} segments behind:")),
    }
    for segment in leaked {
        let Segment { key, id, size, nattch, cpid, .. } = segment;
        let creator = state::creator(segment, lookups).as_str();
        let command = state::creator_command(segment, lookups).map_or(String::new(), |command| format!(": {command}"));
        say(format_args!(
            "  segment {key} (id {id}, {}, nattch {nattch}), created by process {cpid} ({creator}){command}",
            counted(size, "byte")
        ));
    }
}

fn refused(error: &Refused) -> Error {
    Error { errno: Some(error.errno), ..Error::failed(format!("cannot make an IPC namespace: {error}")) }
        .hint("--shared runs the command in this one")
}

fn write_report(path: &Path, report: &Report) -> Result<()> {
    let write = || -> io::Result<()> {
        let destination = Destination::open(path, 0o644)?;
        let mut file = destination.file()?;
        serde_json::to_writer(&mut file, report)?;
        file.write_all(b"\n")?;
        destination.finish()
    };
    write().map_err(|error| cannot_write(path, &error))
}
