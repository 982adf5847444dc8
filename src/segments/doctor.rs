//! Checks why a segment cannot be created, may vanish, or is not visible on this machine.

mod kernel;
mod logout;
mod memory;
mod visibility;

use serde::Serialize;

/// The status of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Health {
    /// Nothing to do.
    Ok,
    /// Worth knowing.
    Note,
    /// A segment may vanish, or creating one may soon fail.
    Warning,
    /// Something does not work.
    Problem,
    /// It cannot be determined.
    Unknown,
}

impl Health {
    /// Returns the word for the status.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Problem => "problem",
            Self::Unknown => "unknown",
        }
    }
}

/// The result of a check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Check {
    /// The name of the check, by which scripts identify it.
    pub name: &'static str,
    /// Its status.
    pub status: Health,
    /// The finding, as a sentence.
    pub finding: String,
    /// Advice.
    pub remedy: Option<String>,
}

impl Check {
    fn new(name: &'static str, status: Health, finding: impl Into<String>) -> Check {
        Check { name, status, finding: finding.into(), remedy: None }
    }

    fn remedy(self, remedy: impl Into<String>) -> Check {
        Check { remedy: Some(remedy.into()), ..self }
    }
}

/// Runs all checks. Call this while the process has one thread.
pub(crate) fn examine() -> Vec<Check> {
    // Threads that read other processes may be left behind.
    let private_namespace = visibility::private_namespace();
    let checks: [fn() -> Check; 9] = [
        kernel::limits,
        kernel::rmid_forced,
        logout::remove_ipc,
        memory::cgroup,
        memory::huge_pages,
        memory::lock_limit,
        visibility::table,
        visibility::processes,
        visibility::kernel_watch,
    ];
    checks.iter().map(|check| check()).chain([private_namespace]).collect()
}
