//! Running the command while its calls are traced, and describing the calls afterwards.

use std::collections::HashMap;
use std::ffi::OsString;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::errno::Errno;

use crate::error::{Error, Result};
use crate::linux::cause;
use crate::linux::seccomp::{Filter, Listener, NotTraced};
use crate::output::leaks::CreatedBy;
use crate::segments::creators::{Creators, ThisKernel};
use crate::segments::leaks::{Leaks, Origin, adopt_orphans};
use crate::system::namespace::Identity;
use crate::system::spawn::{self, Outcome};
use crate::system::stack;
use crate::system::tracer::{Creation, Failure, Stopped, Tracer, Wanted};

/// The maximum time for looking up functions and lines.
const MAX_LOOKUP_TIME: Duration = Duration::from_secs(20);

/// A command that has exited, and the recorded calls.
pub(super) struct Traced {
    /// Its status, or why it could not be run.
    pub outcome: Outcome,
    /// Why its calls could not be traced.
    untraced: Option<NotTraced>,
    /// Why tracing stopped while the command ran.
    failure: Option<Failure>,
    creators: Arc<Creators>,
}

/// Runs a command until it exits. `variables` are environment variables that name a test.
///
/// # Errors
/// Those of waiting for the command, and of reading the kernel's tables before it starts.
pub(super) fn run(command: &[OsString], variables: Vec<String>) -> Result<Traced> {
    let namespace = Identity::ours().ok().map(|ours| ours.inode);
    let creators = Creators::new(ThisKernel, namespace)
        .map_err(|error| Error::io("read the kernel's tables of System V IPC objects", &error))?;
    let creators = Arc::new(creators);
    let start = Instant::now();
    let mut tracer = None;
    let outcome = spawn::run(command, Filter::new(), |pid, listener| {
        let observer = Arc::clone(&creators);
        let wanted = Wanted { root: pid.as_raw(), variables };
        let started = listener.and_then(|listener| Tracer::start(listener, wanted, start, observer));
        if started.is_ok() {
            // Orphaned processes need not be adopted now: the calls show what the command created.
            adopt_orphans(false);
        }
        tracer = Some(started);
    });
    let (untraced, failure) = match tracer {
        None => (None, None),
        Some(Err(error)) => (Some(error), None),
        Some(Ok(tracer)) => {
            tracer.stop_inspecting();
            creators.finish();
            // Descendants of the command that live on must be able to create objects after we have exited.
            let Stopped { listener, failure } = tracer.stop();
            if let Some(listener) = listener.filter(Listener::has_callers) {
                let _ = listener.keep_answering();
            }
            (None, failure)
        }
    };
    let outcome = outcome.map_err(|error| Error::io("wait for the command", &error))?;
    Ok(Traced { outcome, untraced, failure, creators })
}

impl Traced {
    /// Returns which call created which object; `None` if the command could not be traced.
    pub(super) fn creators(&self) -> Option<&Creators> {
        self.untraced.is_none().then_some(&*self.creators)
    }

    /// Returns lines that explain why the creators of some leaks are unknown.
    pub(super) fn missing(&self, leaks: &Leaks) -> Vec<String> {
        let mut lines = Vec::new();
        if let Some(Failure { call, errno }) = self.failure {
            let cause = cause(&errno.into());
            lines.push(format!(
                "tracing stopped: {call}: {cause}; since then shmget, semget and msgget of the command failed with ENOSYS"
            ));
        }
        if let Some(NotTraced { error, is_filtered: true }) = &self.untraced {
            let cause = cause(error);
            lines.push(format!(
                "tracing did not start: {cause}; shmget, semget and msgget of the command failed with ENOSYS"
            ));
        }
        if let Some(NotTraced { error, .. }) = self.untraced.as_ref().filter(|_| !leaks.is_empty()) {
            let creators = if leaks.origins().count() == 1 { "the creator is" } else { "the creators are" };
            lines.push(format!("{creators} not known: {}", untraced(error)));
        }
        let count = |which: fn(&Origin) -> bool| leaks.origins().filter(|origin| which(origin)).count();
        for (count, why) in [
            (
                count(|origin| matches!(origin, Origin::OneOfSeveral)),
                "several calls at the same time can have created it",
            ),
            (count(|origin| matches!(origin, Origin::Unseen)), "no call that created it was seen"),
            (
                count(|origin| matches!(origin, Origin::Call(call) if call.caller.is_none())),
                "the process could not be inspected",
            ),
        ] {
            match count {
                0 => {}
                1 => lines.push(format!("the creator of 1 of them is not known: {why}")),
                many => lines.push(format!("the creators of {many} of them are not known: {why}")),
            }
        }
        lines
    }
}

/// Returns why a command could not be traced, and advice.
fn untraced(error: &io::Error) -> String {
    match error.raw_os_error().map(Errno::from_raw) {
        Some(Errno::EACCES) => {
            "with --shared, only root can trace a command; without --shared, everyone can".to_owned()
        }
        Some(Errno::EBUSY) => {
            "another guard, or another program with seccomp notifications, traces the command".to_owned()
        }
        Some(Errno::EINVAL | Errno::ENOSYS) => "it needs seccomp notifications (Linux 5.5 or later)".to_owned(),
        _ => format!("the command could not be traced: {}", cause(error)),
    }
}

/// The records of the creators. They are computed for all leaks at once, so that each file is read once.
pub(super) struct Described(HashMap<*const Creation, Option<CreatedBy>>);

/// Looks up functions, files and lines for all leaks.
pub(super) fn describe(leaks: &Leaks, directory: &Path) -> Described {
    let calls = leaks.origins().filter_map(|origin| match origin {
        Origin::Call(call) => Some(call),
        _ => None,
    });
    let calls: Vec<&Arc<Creation>> = calls.collect();
    let stack = |call: &&Arc<Creation>| call.caller.as_ref().map_or(Vec::new(), |caller| caller.stack.clone());
    let frames = stack::describe(&calls.iter().map(stack).collect::<Vec<_>>(), MAX_LOOKUP_TIME);
    let record = |(call, frames): (&Arc<Creation>, _)| (Arc::as_ptr(call), CreatedBy::new(call, frames, directory));
    Described(calls.into_iter().zip(frames).map(record).collect())
}

impl Described {
    /// Returns the record of an origin; `None` if it is unknown.
    pub(super) fn take(&mut self, origin: &Origin) -> Option<CreatedBy> {
        match origin {
            Origin::Call(call) => self.0.get_mut(&Arc::as_ptr(call))?.take(),
            _ => None,
        }
    }
}
