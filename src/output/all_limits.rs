//! The limits of every IPC namespace, for `limits --all-namespaces`.

use serde::Serialize;

use super::layout::text_width;
use super::limits::{held_of_machine, size};
use super::text::cut;
use super::{LimitsRecord, NamespaceRecord, Output, grid};
use crate::error::Result;
use crate::sysv::page_size;
use crate::values::counted;

const WHO: &str = "WHO";
/// The columns, and whether each is numeric.
const TITLES: [(&str, bool); 8] = [
    ("NS", true),
    ("SEGMENTS", true),
    ("OF SHMMNI", true),
    ("SIZE", true),
    ("OF SHMALL", true),
    ("RESIDENT", true),
    ("SWAPPED", true),
    (WHO, false),
];
/// The columns that a narrow terminal hides, in this order.
const EXPENDABLE: [&str; 3] = ["SWAPPED", "OF SHMALL", "OF SHMMNI"];
/// The width that WHO should have at least.
const MIN_WHO: usize = 30;

/// The limits of every namespace that may be entered, and the sum of their memory.
#[derive(Debug, Serialize)]
pub(crate) struct AllLimitsRecord {
    /// Our own namespace first, then the others by their inodes.
    pub namespaces: Vec<NamespaceLimits>,
    /// Resident bytes of all their segments.
    resident: u128,
    /// Shared memory of the whole machine in bytes (`Shmem` of proc_meminfo(5)), which includes these segments.
    shmem: Option<u64>,
}

/// The limits of one namespace.
#[derive(Debug, Serialize)]
pub(crate) struct NamespaceLimits {
    /// The namespace.
    #[serde(flatten)]
    pub namespace: NamespaceRecord,
    /// Its limits.
    #[serde(flatten)]
    pub limits: LimitsRecord,
}

impl AllLimitsRecord {
    /// Sums up the namespaces.
    pub(crate) fn new(namespaces: Vec<NamespaceLimits>, shmem: Option<u64>) -> AllLimitsRecord {
        let resident: u128 = namespaces.iter().map(|one| u128::from(one.limits.usage.resident)).sum();
        AllLimitsRecord { namespaces, resident: resident * u128::from(page_size()), shmem }
    }

    /// Prints a row for each namespace, and conclusions below.
    pub(crate) fn print(&self, output: &mut Output) -> Result<()> {
        let width = output.width().map_or(usize::MAX, usize::from);
        for line in self.table(width) {
            output.line(cut(&line, width))?;
        }
        let who = format!("segments of {}", counted(self.namespaces.len(), "namespace"));
        let full = self.namespaces.iter().flat_map(|one| {
            let full = one.limits.limits.iter().filter_map(|limit| limit.conclusion(Some(one.namespace.ns)));
            full.map(|line| format!("IPC namespace {}: {line}", one.namespace.ns))
        });
        held_of_machine(&who, self.resident, self.shmem).into_iter().chain(full).try_for_each(|line| output.line(line))
    }
}

impl AllLimitsRecord {
    /// Returns the lines of the table. If they are wider than `width`, it lacks columns, until there is some room for WHO.
    fn table(&self, width: usize) -> Vec<String> {
        let mut columns: Vec<_> = (0..TITLES.len()).collect();
        let mut expendable = EXPENDABLE.iter();
        loop {
            let titles: Vec<_> = columns.iter().map(|column| TITLES[*column]).collect();
            let rows = self.namespaces.iter().map(|one| {
                let cells = one.cells();
                columns.iter().map(|column| cells[*column].clone()).collect()
            });
            let lines = grid(&titles, rows.collect());
            let widest = lines.iter().map(|line| text_width(line)).max().unwrap_or(0);
            let before_who = lines.first().map_or(0, |line| text_width(line) - WHO.len());
            if widest <= width || before_who + MIN_WHO <= width {
                return lines;
            }
            let Some(hidden) = expendable.next() else { return lines };
            columns.retain(|column| TITLES[*column].0 != *hidden);
        }
    }
}

impl NamespaceLimits {
    fn cells(&self) -> Vec<String> {
        let usage = &self.limits.usage;
        let percent = |name: &str| {
            let limit = self.limits.limits.iter().find(|limit| limit.name == name);
            limit.and_then(|limit| limit.percent).map_or("-".into(), |percent| format!("{percent} %"))
        };
        vec![
            self.namespace.ns.to_string(),
            usage.segments.to_string(),
            percent("SHMMNI"),
            size(usage.pages),
            percent("SHMALL"),
            size(usage.resident),
            size(usage.swapped),
            self.namespace.who(),
        ]
    }
}
