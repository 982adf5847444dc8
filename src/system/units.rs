//! Which systemd unit, container, pod or batch job a process belongs to, derived from its cgroup's path.

mod container;
mod service;

use std::fmt;

use serde::{Serialize, Serializer};

use crate::values::visible;

/// A systemd unit, container, pod or batch job, under the name that its own tools accept. `Display` escapes it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Unit {
    precision: Precision,
    name: Box<str>,
}

/// The precision of a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Precision {
    /// A group of units.
    Slice,
    /// A service or scope of systemd.
    Service,
    /// A container, pod, machine or job, which may run services of its own.
    Container,
}

impl Unit {
    /// Returns the unit that a cgroup's path names. The path starts at the root of its hierarchy.
    pub(crate) fn of_cgroup(path: &[u8]) -> Option<Unit> {
        let path = visible(path);
        let components: Vec<&str> = path.split('/').filter(|name| !name.is_empty() && *name != "..").collect();
        // Services inside a container are not shown: they belong to the container.
        let container = container::name(&components).map(|name| (Precision::Container, name));
        let (precision, name) = container.or_else(|| service::name(&components))?;
        Some(Unit { precision, name: name.into() })
    }

    /// Returns how precise the name is.
    pub(crate) fn precision(&self) -> Precision {
        self.precision
    }

    /// Returns whether the text names the unit: as displayed, or a pod without its container.
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
