//! `guard`: runs a command, and reports the objects that it leaves behind.

mod report;
mod traced;

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::Args;
use nix::errno::Errno;

use super::Context;
use crate::error::{Error, Result, Status};
use crate::output::leaks::{LeakedObjects, Report, annotations, lines};
use crate::output::{note_raw, say};
use crate::segments::leaks::{Leaks, Objects, Scope, adopt_orphans};
use crate::system::namespace::{self, Refused};
use crate::system::spawn::Outcome;
use crate::values::visible_path;
use traced::Traced;

/// Run a command, and name the IPC objects that it leaves behind
///
/// IPC objects are segments, semaphore sets and message queues. For each it shows who created it: process, command line,
/// directory, ancestors, test, and the stack of the call.
///
/// The command runs in a new IPC namespace, so all objects there at its end belong to it, and existing objects are not
/// changed. With --shared it runs in the current namespace.
#[derive(Debug, Args)]
#[command(after_help = "Exit status: that of the command, if it is not 0 (128+N if signal N ended it).\n\
    Otherwise that of --exit-code if objects were left behind, else 0.\n\
    127: the command was not found. 126: the command cannot be run.\n\n\
    Examples:\n  \
    shmadm guard -- make test\n  \
    shmadm guard --report leaks.json --junit leaks.xml -- ./run-tests --all\n  \
    shmadm guard --shared --remove -- ./integration-test")]
pub(super) struct Guard {
    /// Remove what was left behind (with --shared: except attached segments)
    #[arg(long)]
    remove: bool,
    /// Exit status if something was left behind and the command succeeded
    #[arg(long, value_name = "N", default_value = "1")]
    exit_code: u8,
    /// Run the command in the current IPC namespace, or in that of --ns
    #[arg(long)]
    shared: bool,
    /// Write what was left behind to FILE, as JSON
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// Write what was left behind to FILE, as the JUnit XML that CI servers read
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// Environment variable that names the test, besides those of pytest, cargo-nextest and bats
    #[arg(long, value_name = "NAME")]
    env: Vec<String>,
    /// The command and its arguments
    #[arg(required = true, last = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

/// The environment variables in which test runners store the name of the test.
const TEST_VARIABLES: [&str; 3] = ["PYTEST_CURRENT_TEST", "NEXTEST_TEST_NAME", "BATS_TEST_NAME"];

impl Guard {
    /// Returns whether the command runs in the existing namespace.
    pub(super) fn is_shared(&self) -> bool {
        self.shared
    }

    pub(super) fn run(&self, context: &mut Context) -> Result<Status> {
        if !self.shared {
            namespace::enter_private().map_err(|error| refused(&error))?;
        }
        let before = Objects::read()?;
        // Checked in advance: a run can take hours, and its result must not be lost.
        for path in self.report.iter().chain(&self.junit) {
            report::check(path)?;
        }
        if self.shared {
            adopt_orphans(true);
        }
        let start = Instant::now();
        let variables = TEST_VARIABLES.into_iter().map(str::to_owned).chain(self.env.iter().cloned()).collect();
        let traced = traced::run(&self.command, variables)?;
        let scope = if self.shared { Scope::Shared(&before) } else { Scope::Private };
        let (leaks, command_status) = match traced.outcome {
            Outcome::Ended(status) => match Leaks::find(scope, traced.creators(), &context.lookups) {
                Ok(leaks) => (leaks, Some(status)),
                // The command's own status takes precedence over later failures.
                Err(error) => {
                    say(error);
                    return Ok(Status::Guarded(if status == 0 { Status::Failed.code() } else { status }));
                }
            },
            Outcome::NotStarted(errno) => {
                let action = format!("run {}", visible_path(Path::new(&self.command[0])));
                let is_searched = !self.command[0].as_encoded_bytes().contains(&b'/');
                say(match errno {
                    // execvp(3) gives the same error for a script whose interpreter is missing.
                    Errno::ENOENT if is_searched => {
                        Error::cannot(action, "there is no such program in PATH, or its interpreter is missing")
                    }
                    _ => Error::io(action, &errno.into()),
                });
                (Leaks::default(), None)
            }
        };
        let not_run = if traced.outcome == Outcome::NotStarted(Errno::ENOENT) { 127 } else { 126 };
        // The records are created before anything is removed, because they describe what was found.
        let records = self.report_leaks(&leaks, &traced, context);
        let removed = self.remove && !leaks.is_empty() && {
            let removed = leaks.remove(self.shared, &context.lookups);
            removed.iter().for_each(|removed| say(&removed.line));
            removed.iter().all(|removed| removed.is_removed)
        };
        let mut status = match command_status.unwrap_or(not_run) {
            0 if !leaks.is_empty() => self.exit_code,
            status => status,
        };
        let report = Report { objects: &records, removed, status, command_status };
        let json = self.report.as_deref().map(|path| report::write_json(path, &report));
        let junit = self.junit.as_deref().map(|path| report::write_junit(path, &records, start.elapsed()));
        for written in json.into_iter().chain(junit) {
            if let Err(error) = written {
                say(error);
                status = if status == 0 { Status::Failed.code() } else { status };
            }
        }
        Ok(Status::Guarded(status))
    }

    /// Reports on standard error what was left behind, and returns its records.
    fn report_leaks(&self, leaks: &Leaks, traced: &Traced, context: &Context) -> LeakedObjects {
        let directory = env::current_dir().unwrap_or_default();
        let mut origins = traced::describe(leaks, &directory);
        let records = LeakedObjects::new(leaks, &context.lookups, |origin| origins.take(origin));
        lines(&records).iter().for_each(say);
        traced.missing(leaks).iter().for_each(say);
        if env::var_os("GITHUB_ACTIONS").is_some_and(|value| value == "true") {
            annotations(&records).iter().for_each(|annotation| note_raw(annotation));
        }
        records
    }
}

fn refused(error: &Refused) -> Error {
    Error::failed(format!("cannot create an IPC namespace: {error}"))
        .errno(error.errno)
        .hint("--shared runs the command in this one")
}
