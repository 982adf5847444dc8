//! Sums over segments: over all of them, or for each value of a column.

use std::collections::BTreeMap;

use anstyle::Style;
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use super::Output;
use super::columns::{Alignment, Column};
use super::record::View;
use crate::error::Result;
use crate::segments::cache::Lookups;
use crate::segments::state::is_orphan;
use crate::sysv::Segment;
use crate::values::{counted, human, human_bytes};

const TOTALS: Style = Style::new().dimmed();

/// The sums over some segments. Sums have 128 bits: the sum of sizes alone can exceed 64 bits.
#[derive(Debug, Default, Clone)]
pub(crate) struct Totals {
    segments: u64,
    size: u128,
    /// `None` until it is known for at least one segment.
    resident: Option<u128>,
    swapped: Option<u128>,
    attached: u64,
    marked: u64,
    orphans: u64,
}

impl Totals {
    /// Sums up segments.
    pub(crate) fn of(segments: &[Segment], lookups: &Lookups) -> Totals {
        let mut totals = Totals::default();
        segments.iter().for_each(|segment| totals.add(segment, lookups));
        totals
    }

    fn add(&mut self, segment: &Segment, lookups: &Lookups) {
        self.segments += 1;
        self.size += u128::from(segment.size);
        add(&mut self.resident, segment.plausible_rss());
        add(&mut self.swapped, segment.swap);
        self.attached += u64::from(segment.nattch > 0);
        self.marked += u64::from(segment.is_marked());
        self.orphans += u64::from(is_orphan(segment, lookups));
    }

    /// Prints the sums as a line.
    pub(crate) fn print(&self, output: &mut Output) -> Result<()> {
        let text = self.fitted(output.width().map_or(usize::MAX, usize::from));
        output.styled_line(TOTALS, text)
    }

    /// Returns as many of the sums as fit. The resident memory is dropped last.
    fn fitted(&self, width: usize) -> String {
        if self.segments == 0 {
            return "no segments".into();
        }
        let parts = |marked: &str| {
            [
                (5, counted(self.segments, "segment")),
                (2, human_bytes(self.size)),
                (1, optional(self.orphans, counted(self.orphans, "orphan"))),
                (3, optional(self.marked, format!("{} {marked}", self.marked))),
                (0, format!("{} attached", self.attached)),
                (4, self.resident.map_or(String::new(), |bytes| format!("{} resident", human_bytes(bytes)))),
            ]
        };
        let line = |marked: &str, least: i32| {
            let kept = parts(marked).into_iter().filter(|(weight, text)| *weight >= least && !text.is_empty());
            kept.map(|(_, text)| text).collect::<Vec<_>>().join(", ")
        };
        let variants =
            [("marked for destruction", 0), ("marked", 0), ("marked", 1), ("marked", 2), ("marked", 3), ("marked", 4)];
        let fitting = variants.into_iter().map(|(marked, least)| line(marked, least)).find(|line| line.len() <= width);
        fitting.unwrap_or_else(|| line("", 5))
    }
}

fn add(sum: &mut Option<u128>, bytes: Option<u64>) {
    if let Some(bytes) = bytes {
        *sum = Some(sum.unwrap_or(0) + u128::from(bytes));
    }
}

/// Returns the text for a rare property; nothing if the count is 0.
fn optional(count: u64, text: String) -> String {
    if count > 0 { text } else { String::new() }
}

/// The sums for each value of a column.
#[derive(Debug)]
pub(crate) struct Sums<'a> {
    column: &'static Column,
    view: View<'a>,
    /// Whether to print a header line.
    pub has_headings: bool,
    /// All of them together.
    pub all: Totals,
    /// Keyed by the exact text of the value.
    sums: BTreeMap<String, Sum>,
}

/// The sum for one value.
#[derive(Debug)]
pub(crate) struct Sum {
    /// The value as displayed.
    value: String,
    totals: Totals,
}

impl<'a> Sums<'a> {
    /// The titles of [`Sums::texts`].
    pub(crate) const TITLES: [&'static str; 7] = ["VALUE", "SEGMENTS", "SIZE", "RSS", "SWAP", "ATTACHED", "ORPHANS"];

    /// Creates an empty set of sums.
    pub(crate) fn by(column: &'static Column, view: View<'a>, has_headings: bool) -> Sums<'a> {
        Sums { column, view, has_headings, all: Totals::default(), sums: BTreeMap::new() }
    }

    /// Adds a segment.
    pub(crate) fn add(&mut self, segment: &Segment) {
        let exact = self.column.text(segment, &View { human_sizes: false, ..self.view });
        let sum = self
            .sums
            .entry(exact)
            .or_insert_with(|| Sum { value: self.column.text(segment, &self.view), totals: Totals::default() });
        sum.totals.add(segment, self.view.lookups);
        self.all.add(segment, self.view.lookups);
    }

    /// Returns the sums, the largest size first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Sum> {
        let mut sums: Vec<_> = self.sums.values().collect();
        // The sort is stable: equal sizes stay in the order of their values.
        sums.sort_by_key(|sum| std::cmp::Reverse(sum.totals.size));
        sums.into_iter()
    }

    /// Returns the texts of a sum.
    pub(crate) fn texts(&self, sum: &Sum) -> [String; 7] {
        let Totals { segments, size, resident, swapped, attached, orphans, .. } = sum.totals;
        let bytes = |bytes: u128| if self.view.human_sizes { human(bytes) } else { bytes.to_string() };
        [
            sum.value.clone(),
            segments.to_string(),
            bytes(size),
            resident.map_or(String::new(), bytes),
            swapped.map_or(String::new(), bytes),
            attached.to_string(),
            orphans.to_string(),
        ]
    }

    /// Returns the sums as records for scripts.
    pub(crate) fn records(&self) -> impl Iterator<Item = SumRecord<'_>> {
        self.iter().map(|sum| SumRecord { column: self.column, sum })
    }
}

/// A sum in JSON: `{"owner":"www","segments":3,…}`.
#[derive(Debug)]
pub(crate) struct SumRecord<'a> {
    column: &'static Column,
    sum: &'a Sum,
}

impl Serialize for SumRecord<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Sum { value, totals } = self.sum;
        let mut map = serializer.serialize_map(None)?;
        // A sum already has fields with these names.
        let is_taken = ["SIZE", "RSS", "SWAP"].contains(&self.column.title);
        let name = if is_taken { "value".to_owned() } else { self.column.title.to_lowercase() };
        match value.parse::<u64>() {
            Ok(number) if self.column.alignment == Alignment::Right => map.serialize_entry(&name, &number)?,
            _ => map.serialize_entry(&name, &(!value.is_empty()).then_some(value))?,
        }
        map.serialize_entry("segments", &totals.segments)?;
        map.serialize_entry("size", &totals.size)?;
        map.serialize_entry("rss", &totals.resident)?;
        map.serialize_entry("swap", &totals.swapped)?;
        map.serialize_entry("attached", &totals.attached)?;
        map.serialize_entry("orphans", &totals.orphans)?;
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_resident_memory_is_dropped_last() {
        let totals = Totals {
            segments: 600,
            size: 3 << 30,
            resident: Some(120 << 20),
            swapped: None,
            attached: 30,
            marked: 30,
            orphans: 570,
        };
        for (width, line) in [
            (100, "600 segments, 3G, 570 orphans, 30 marked for destruction, 30 attached, 120M resident"),
            (80, "600 segments, 3G, 570 orphans, 30 marked, 30 attached, 120M resident"),
            (60, "600 segments, 3G, 570 orphans, 30 marked, 120M resident"),
            (50, "600 segments, 3G, 30 marked, 120M resident"),
            (40, "600 segments, 30 marked, 120M resident"),
            (30, "600 segments, 120M resident"),
            (20, "600 segments"),
        ] {
            assert_eq!(totals.fitted(width), line, "{width}");
        }
        let one = Totals { segments: 1, size: 1, resident: Some(0), orphans: 1, ..Totals::default() };
        assert_eq!(one.fitted(80), "1 segment, 1 byte, 1 orphan, 0 attached, 0 bytes resident");
    }
}
