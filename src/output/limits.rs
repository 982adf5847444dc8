//! The limits on shared memory, for `limits`.

use serde::Serialize;

use super::{Output, grid};
use crate::error::{Result, advice};
use crate::sysv::{self, Limits, Usage, page_size};
use crate::values::{counted, human, human_bytes};

/// The limits and their usage.
#[derive(Debug, Serialize)]
pub(crate) struct LimitsRecord {
    /// Each limit.
    pub limits: Vec<LimitRecord>,
    pub(super) usage: UsageRecord,
    /// The shared memory of the whole machine in bytes (`Shmem` of proc_meminfo(5)), which includes all segments.
    shmem: Option<u64>,
    /// Whether kernel.shm_rmid_forced is set.
    rmid_forced: Option<bool>,
}

/// A limit and its usage.
#[derive(Debug, Serialize)]
pub(crate) struct LimitRecord {
    /// Its name in shmget(2).
    pub name: &'static str,
    /// The limit.
    pub limit: u64,
    /// The amount used.
    pub used: Option<u64>,
    /// The amount left, in the unit of the limit.
    free: Option<u64>,
    pub(super) percent: Option<f64>,
    /// The sysctl that sets it.
    #[serde(skip)]
    pub sysctl: &'static str,
    #[serde(skip)]
    unit: Unit,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Unit {
    Bytes,
    Pages,
    Segments,
}

/// Pages and segments, as counted by SHM_INFO.
#[derive(Debug, Serialize)]
pub(super) struct UsageRecord {
    pub segments: u64,
    pub pages: u64,
    pub resident: u64,
    pub swapped: u64,
}

impl LimitsRecord {
    /// Returns the record of a namespace. `largest` is the size of its largest segment.
    pub(crate) fn new(
        limits: &sysv::Limits,
        usage: &Usage,
        largest: u64,
        shmem: Option<u64>,
        rmid_forced: Option<bool>,
    ) -> LimitsRecord {
        let limit = |name, limit, used, sysctl, unit| {
            let share = share(limit, used);
            let percent = share.map(|share| (share * 100.0).round() / 100.0);
            // SHMMAX applies to each segment separately, so the largest one uses up nothing.
            let free = used.filter(|_| name != "SHMMAX").map(|used| limit.saturating_sub(used));
            LimitRecord { name, limit, used, free, percent, sysctl, unit }
        };
        LimitsRecord {
            limits: vec![
                limit("SHMMAX", limits.max_bytes, Some(largest), "kernel.shmmax", Unit::Bytes),
                limit("SHMALL", limits.max_pages, Some(usage.pages), "kernel.shmall", Unit::Pages),
                limit("SHMMNI", limits.max_segments, Some(usage.segments), "kernel.shmmni", Unit::Segments),
                limit("SHMMIN", limits.min_bytes, None, "", Unit::Bytes),
            ],
            usage: UsageRecord {
                segments: usage.segments,
                pages: usage.pages,
                resident: usage.resident_pages,
                swapped: usage.swapped_pages,
            },
            shmem,
            rmid_forced,
        }
    }

    /// Prints the limits as a table, and conclusions below.
    pub(crate) fn print(&self, output: &mut Output) -> Result<()> {
        let titles =
            [("LIMIT", false), ("VALUE", true), ("USED", true), ("FREE", true), ("PERCENT", true), ("WHAT", false)];
        for line in grid(&titles, self.limits.iter().map(LimitRecord::cells).collect()) {
            output.line(line)?;
        }
        let UsageRecord { segments, pages, resident, swapped } = self.usage;
        output.line(format_args!(
            "{} of {}: {resident} resident{}, {swapped} swapped out{}",
            counted(segments, "segment"),
            format_args!("{}{}", counted(pages, "page"), in_bytes(pages)),
            in_bytes(resident),
            in_bytes(swapped)
        ))?;
        self.conclusions().into_iter().try_for_each(|line| output.line(line))
    }

    fn conclusions(&self) -> Vec<String> {
        let mut lines = Vec::new();
        let held = u128::from(self.usage.resident) * u128::from(page_size());
        lines.extend(held_of_machine("segments", held, self.shmem));
        lines.extend(self.limits.iter().filter_map(|limit| limit.conclusion(None)));
        if self.shmem.is_none() {
            lines.push("the machine's shared memory (Shmem) is unknown: /proc/meminfo does not show it".into());
        }
        match self.rmid_forced {
            Some(false) => {}
            Some(true) => {
                lines.push("kernel.shm_rmid_forced is 1: the kernel destroys each segment with its last detach".into());
            }
            None => lines.push(
                "kernel.shm_rmid_forced cannot be read: if it is 1, the kernel destroys each segment with its last \
                 detach"
                    .into(),
            ),
        }
        lines
    }
}

impl LimitRecord {
    /// Returns the usage in percent.
    pub(crate) fn share(&self) -> Option<f64> {
        share(self.limit, self.used)
    }

    fn cells(&self) -> Vec<String> {
        let shown = |number: Option<u64>| number.map_or("-".into(), |number| self.unit.shown(number));
        let free =
            if self.limit >= Limits::UNLIMITED && self.free.is_some() { "unlimited".into() } else { shown(self.free) };
        let percent = self.percent.map_or("-".into(), |percent| format!("{percent} %"));
        let meaning = match (self.unit, self.used) {
            (Unit::Pages, _) => "pages in total",
            (Unit::Segments, _) => "segments",
            (Unit::Bytes, Some(_)) => "largest segment",
            (Unit::Bytes, None) => "smallest segment",
        };
        vec![self.name.into(), shown(Some(self.limit)), shown(self.used), free, percent, meaning.into()]
    }

    /// Returns the consequence of a reached limit. `namespace` is the inode of another namespace than this one.
    pub(super) fn conclusion(&self, namespace: Option<u64>) -> Option<String> {
        let LimitRecord { name, sysctl, .. } = self;
        match (*name, self.limit, self.free) {
            ("SHMMAX", 0, _) => Some(format!(
                "{name} is 0: each shmget that creates a segment fails with EINVAL; root can raise it: {}",
                advice::sysctl(sysctl, self.used.unwrap_or(0).max(1 << 30), namespace)
            )),
            (_, limit, Some(0)) => Some(format!(
                "{name} is full: the next shmget fails with ENOSPC; remove segments ({}), or {}",
                advice::command("list", namespace),
                advice::raise(sysctl, limit, self.used.unwrap_or(0), namespace)
            )),
            _ => None,
        }
    }
}

impl Unit {
    fn shown(self, number: u64) -> String {
        match self {
            _ if number >= Limits::UNLIMITED => "unlimited".into(),
            Self::Bytes => human(number.into()),
            Self::Pages => format!("{number}{}", in_bytes(number)),
            Self::Segments => number.to_string(),
        }
    }
}

/// Returns a line that compares the resident memory of segments with the machine's shared memory. Returns `None` with
/// huge pages, which Shmem does not include.
pub(super) fn held_of_machine(who: &str, held: u128, shmem: Option<u64>) -> Option<String> {
    let shmem = shmem.filter(|shmem| held <= u128::from(*shmem))?;
    let (held, shmem) = (human_bytes(held), human_bytes(shmem.into()));
    Some(format!("{who} hold {held} of the machine's {shmem} of shared memory (Shmem)"))
}

/// Returns how much a number of pages is, in parentheses. No page is no size.
fn in_bytes(pages: u64) -> String {
    if pages == 0 { String::new() } else { format!(" ({})", size(pages)) }
}

/// Formats a number of pages as a size.
pub(super) fn size(pages: u64) -> String {
    human(u128::from(pages) * u128::from(page_size()))
}

#[expect(clippy::cast_precision_loss, reason = "two digits behind the point are shown")]
fn share(limit: u64, used: Option<u64>) -> Option<f64> {
    match limit {
        0 => used.map(|used| if used == 0 { 0.0 } else { 100.0 }),
        limit => used.map(|used| used as f64 * 100.0 / limit as f64),
    }
}
