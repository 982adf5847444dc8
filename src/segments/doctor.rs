//! Why a segment could not be made, may vanish, or cannot be seen on this machine: one check after the other.

mod kernel;
mod logout;
mod memory;
mod sight;

use serde::Serialize;

/// How well something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Health {
    /// Nothing to do.
    Ok,
    /// Good to know.
    Note,
    /// A segment may vanish, or may soon not be made.
    Warning,
    /// Something does not work.
    Problem,
    /// It cannot be found out.
    Unknown,
}

impl Health {
    /// Returns the word for it.
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

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Check {
    /// Which check it is. Scripts know it by this name.
    pub name: &'static str,
    /// How well it is.
    pub status: Health,
    /// What was found, in a sentence.
    pub finding: String,
    /// What can be done about it.
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

/// Makes all checks. To be called while the process has one thread.
pub(crate) fn examine() -> Vec<Check> {
    let checks: [fn() -> Check; 10] = [
        kernel::limits,
        kernel::rmid_forced,
        logout::remove_ipc,
        memory::cgroup,
        memory::huge_pages,
        memory::lock_limit,
        sight::table,
        sight::processes,
        sight::kernel_watch,
        sight::private_namespace,
    ];
    checks.iter().map(|check| check()).collect()
}
