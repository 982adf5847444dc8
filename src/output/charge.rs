//! Which memory cgroups are charged for a segment, for people.

use super::grid;
use crate::segments::charge::{Charge, Charges};
use crate::values::human;

/// Returns the lines of a table, and remarks about what the table lacks.
pub(super) fn charge_lines(charges: &Charges, swapped: Option<u64>) -> Vec<String> {
    let row = |charge: &Charge| {
        let unit = charge.unit.as_ref().map_or("-".to_owned(), ToString::to_string);
        vec![human(charge.bytes.into()), charge.bytes.to_string(), unit, cgroup(charge)]
    };
    let titles = [("SIZE", true), ("BYTES", true), ("UNIT", false), ("MEMORY CGROUP", false)];
    let mut lines = match charges.charges.is_empty() {
        true => vec!["no page of it is in memory".to_owned()],
        false => grid(&titles, charges.charges.iter().map(row).collect()),
    };
    if charges.vanished > 0 {
        lines.push(format!("{} bytes left memory meanwhile, and are not counted", charges.vanished));
    }
    if let Some(swapped) = swapped.filter(|swapped| *swapped > 0) {
        lines.push(format!("{swapped} bytes are swapped out: the kernel does not report who is charged for them"));
    }
    lines
}

fn cgroup(charge: &Charge) -> String {
    match (&charge.cgroup, charge.removed) {
        (Some(cgroup), Some(false)) => cgroup.clone(),
        (Some(cgroup), Some(true)) => format!("{cgroup} (for a cgroup below it that was removed)"),
        (Some(cgroup), None) => format!("{cgroup} (for itself, or for a cgroup below it that was removed)"),
        (None, Some(true)) => "(a cgroup that was removed)".to_owned(),
        (None, Some(false)) => "(none: no memory cgroup is charged)".to_owned(),
        (None, None) => "(a cgroup that was removed, or that cannot be found here)".to_owned(),
    }
}
