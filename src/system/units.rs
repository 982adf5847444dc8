//! To whom a process belongs: its systemd unit, container, pod or batch job, told from the path of its cgroup.

mod container;
mod service;

use std::fmt;

use serde::{Serialize, Serializer};

use super::cgroup::Cgroups;
use crate::values::visible;

/// A systemd unit, container, pod or batch job, by the name that its own tools understand. Displayed, it is visible text.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Unit {
    precision: Precision,
    name: Box<str>,
}

/// How much a name says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Precision {
    /// A group of units.
    Slice,
    /// A service or scope of systemd.
    Service,
    /// A container, pod, machine or job, which may have services of its own inside.
    Container,
}

/// Returns the unit of a process; `None` if the process is gone or hidden, or if no known manager made its cgroup.
pub(crate) fn unit_of(pid: i32) -> Option<Unit> {
    Cgroups::of(pid)?.unit().cloned()
}

impl Unit {
    /// Returns the unit that a cgroup's path names. The path begins at the root of its hierarchy.
    pub(crate) fn of_cgroup(path: &[u8]) -> Option<Unit> {
        let path = visible(path);
        let components: Vec<&str> = path.split('/').filter(|name| !name.is_empty() && *name != "..").collect();
        // The services inside a container are the container's own matter.
        let container = container::name(&components).map(|name| (Precision::Container, name));
        let (precision, name) = container.or_else(|| service::name(&components))?;
        Some(Unit { precision, name: name.into() })
    }

    /// Returns how much the name says.
    pub(crate) fn precision(&self) -> Precision {
        self.precision
    }

    /// Whether this text names the unit: as it is displayed, or a pod without its container.
    pub(crate) fn is_named(&self, word: &str) -> bool {
        self.name.strip_prefix(word).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.name)
    }
}

impl Serialize for Unit {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.name)
    }
}

#[cfg(test)]
mod tests;
