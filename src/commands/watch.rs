mod kernel;
mod poll;
mod report;

use std::io;
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};

use self::report::Report;
use super::Context;
use super::args::{Filters, segment_parser};
use crate::error::{Error, Result, Status};
use crate::output::say;
use crate::segments::events::Watcher;
use crate::segments::tables::Scope;
use crate::system::signals::ShutdownSignals;
use crate::values::{ParsePeriodError, Period, SegmentRef};

/// The minimum interval: polling without a pause would keep a processor busy without showing more.
const MIN_INTERVAL: Duration = Duration::from_millis(10);

/// Report what happens to segments, as it happens
///
/// Writes a line for each segment that is created, attached, detached, changed (owner, group, mode, lock), marked for
/// destruction or removed. Root sees every call in order, with the process that made it (--source kernel). For other
/// users, it reads the kernel's table repeatedly and reports the changes (--source poll); what exists only between two
/// readings is not seen. It ends when it is interrupted, or by --count or --for.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    shmadm watch                               as root: every call and its process\n  \
    shmadm watch 0x2a --count 1 --for 10m      wait until something happens to it\n  \
    shmadm watch --owner postgres --interval 100ms\n  \
    shmadm watch --failures                    which calls fail, and why\n  \
    shmadm watch -f jsonl | jq --unbuffered '[.event, .actor.command]'")]
pub(super) struct Watch {
    /// Watch only these segments, which need not exist yet
    #[arg(value_name = "SEGMENT", value_parser = segment_parser(), allow_negative_numbers = true)]
    segments: Vec<SegmentRef>,
    /// Source of the events
    #[arg(long, value_name = "SOURCE", value_enum, default_value_t)]
    source: Source,
    /// Also report the calls that failed, with their arguments (as root)
    #[arg(long)]
    failures: bool,
    /// Watch the segments of all IPC namespaces
    #[arg(long)]
    all_namespaces: bool,
    /// Output format
    #[arg(short, long, value_enum, default_value_t)]
    format: Format,
    /// Time between two readings of the table, at least 10ms
    #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = interval)]
    interval: Period,
    /// End after N events
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// End after DURATION
    #[arg(long = "for", value_name = "DURATION")]
    limit: Option<Period>,
    #[command(flatten)]
    filters: Filters,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
enum Source {
    /// `kernel` if possible, otherwise `poll`
    #[default]
    Auto,
    /// Every call, from the kernel's tracepoints (as root)
    Kernel,
    /// Repeated readings of the kernel's table
    Poll,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people
    #[default]
    Text,
    /// One JSON object per line
    Jsonl,
}

fn interval(word: &str) -> Result<Period, String> {
    let period: Period = word.parse().map_err(|error: ParsePeriodError| error.to_string())?;
    if period.0 < MIN_INTERVAL { Err("the shortest interval is 10ms".into()) } else { Ok(period) }
}

impl Watch {
    pub(super) fn wants_json(&self) -> bool {
        self.format == Format::Jsonl
    }

    pub(super) fn run(&self, context: &mut Context) -> Result<Status> {
        if self.failures && self.source == Source::Poll {
            return Err(Error::usage("--failures needs --source kernel: polling does not see failed calls"));
        }
        // Some namespaces can only be entered by a forked process, and a process with several threads must not fork.
        let catch = if self.all_namespaces { ShutdownSignals::without_thread } else { ShutdownSignals::catch };
        let shutdown = catch().map_err(|error| Error::io("catch signals", &error))?;
        // A limit beyond the range of the clock means no limit.
        let deadline = self.limit.and_then(|limit| Instant::now().checked_add(limit.0));
        let mut report = Report::new(self, context, &shutdown)?;
        let scope = if self.all_namespaces { Scope::All } else { Scope::Ours };
        let missing = match self.source {
            Source::Poll => None,
            Source::Auto | Source::Kernel => match Watcher::open(scope, self.failures) {
                Ok(watcher) => return kernel::watch(watcher, self.interval.0, deadline, &mut report, &shutdown),
                Err(error) if self.source == Source::Auto && !self.failures => Some(error),
                Err(error) => {
                    let is_denied = error.kind() == io::ErrorKind::PermissionDenied;
                    let error = Error::io("listen to the kernel's tracepoints", &error);
                    let hint = "run it as root (CAP_SYS_ADMIN and CAP_PERFMON)";
                    return Err(if is_denied { error.hint(hint) } else { error });
                }
            },
        };
        if let Some(error) = missing {
            let better = match error.kind() {
                io::ErrorKind::PermissionDenied => "polling instead; as root, watch shows every call and who made it",
                _ => "polling instead, which shows changes but not every call",
            };
            let error = Error::io("listen to the kernel's tracepoints", &error);
            say(format_args!("{error}; {better}"));
        }
        poll::watch(scope, self.interval.0, deadline, &mut report, &shutdown)
    }
}
