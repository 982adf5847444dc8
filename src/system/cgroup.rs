//! The control groups of a process (cgroups(7)), as `/proc/PID/cgroup` shows them.

use super::proc_file::{self, MAX_BYTES};
use super::units::Unit;

/// The paths of a process in the hierarchies that identify its unit. Other users choose these bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Cgroups {
    /// Path in the version 1 hierarchy with the memory controller.
    memory: Option<Vec<u8>>,
    /// Path in the version 1 hierarchy without a controller, where systemd keeps its units.
    systemd: Option<Vec<u8>>,
    /// Path in the version 2 hierarchy.
    unified: Option<Vec<u8>>,
    unit: Option<Unit>,
}

/// Returns the unit of a process; `None` if the process is gone or hidden, or if no known manager created its cgroup.
pub(crate) fn unit_of(pid: i32) -> Option<Unit> {
    Cgroups::of(pid)?.unit().cloned()
}

impl Cgroups {
    /// Reads `/proc/PID/cgroup`. Returns `None` if the process is gone or hidden.
    pub(crate) fn of(pid: i32) -> Option<Cgroups> {
        // The kernel shows at most 4096 bytes of path for each hierarchy, and there are at most 16 hierarchies.
        Some(Cgroups::parse(&proc_file::read(pid, "cgroup", MAX_BYTES).ok()?))
    }

    /// Parses lines of the form `id:controllers:path`. A path contains no newline: mkdir(2) refuses it in a cgroup.
    fn parse(text: &[u8]) -> Cgroups {
        let mut cgroups = Cgroups::default();
        for line in text.split(|byte| *byte == b'\n') {
            let mut fields = line.splitn(3, |byte| *byte == b':');
            let (Some(hierarchy), Some(controllers), Some(path)) = (fields.next(), fields.next(), fields.next()) else {
                continue;
            };
            let has = |name: &[u8]| controllers.split(|byte| *byte == b',').any(|controller| controller == name);
            let path = Some(path.strip_suffix(b" (deleted)").unwrap_or(path).to_vec());
            if hierarchy == b"0" && controllers.is_empty() {
                cgroups.unified = path;
            } else if has(b"memory") {
                cgroups.memory = path;
            } else if has(b"name=systemd") {
                cgroups.systemd = path;
            }
        }
        // max_by_key returns the last of several equal elements. The reversed order makes that the first path.
        cgroups.unit = cgroups.paths().rev().filter_map(Unit::of_cgroup).max_by_key(Unit::precision);
        cgroups
    }

    /// Returns the unit, container or pod. If the hierarchies disagree, the most precise name wins: Docker may not use
    /// systemd's hierarchy, and systemd may not use the memory controller's.
    pub(crate) fn unit(&self) -> Option<&Unit> {
        self.unit.as_ref()
    }

    /// Returns whether the text equals the displayed unit, or occurs in one of the paths.
    pub(crate) fn are_named(&self, word: &str) -> bool {
        self.unit.as_ref().is_some_and(|unit| unit.is_named(word)) || self.contain(word.as_bytes())
    }

    /// Returns whether any of the paths contains this text.
    fn contain(&self, part: &[u8]) -> bool {
        self.paths().any(|path| memchr::memmem::find(path, part).is_some())
    }

    fn paths(&self) -> impl DoubleEndedIterator<Item = &[u8]> {
        [&self.memory, &self.systemd, &self.unified].into_iter().filter_map(|path| path.as_deref())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_precise_hierarchy_names_the_unit() {
        let id = "0123456789abcdef".repeat(4);
        let docker = format!("12:pids:/\n4:memory:/docker/{id}\n1:name=systemd:/system.slice/docker.service\n0::/\n");
        for (text, unit) in [
            // Version 2 only.
            ("0::/system.slice/postgresql.service\n", Some("postgresql.service")),
            // Version 1 without memory accounting: only systemd's hierarchy has the unit.
            (
                "9:memory:/user.slice\n1:name=systemd:/user.slice/user-1000.slice/session-2.scope\n",
                Some("session-2.scope"),
            ),
            // Hybrid: versions 1 and 2 together.
            ("4:memory:/system.slice/a.service\n1:name=systemd:/system.slice/a.service\n0::/x\n", Some("a.service")),
            (&docker, Some("docker:0123456789ab")),
            // Controllers mounted together.
            ("3:cpu,memory:/system.slice/b.service\n", Some("b.service")),
            // A process whose cgroup was removed.
            ("0::/system.slice/gone.service (deleted)\n", Some("gone.service")),
            // The kernel shows `..` for directories outside the reader's cgroup namespace.
            ("0::/../../system.slice/c.service\n", Some("c.service")),
            ("0::/\n", None),
            ("", None),
            ("nonsense\n::\n0:x", None),
        ] {
            let shown = Cgroups::parse(text.as_bytes()).unit().map(|unit| unit.to_string());
            assert_eq!(shown.as_deref(), unit, "{text}");
        }
    }

    #[test]
    fn a_path_with_colons_is_one_path() {
        let cgroups = Cgroups::parse(b"0::/system.slice/containerd.service/x.slice:cri-containerd:ab\n");
        assert!(cgroups.contain(b"x.slice:cri-containerd:ab"));
        assert!(!cgroups.contain(b"0::"));
    }
}
