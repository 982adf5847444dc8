//! Sums over all segments as OpenMetrics text, for the textfile collector of Prometheus' node_exporter. Only this module
//! uses prometheus-client.

use std::collections::BTreeMap;
use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeGaugeValue, GaugeValueEncoder};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::{Registry, Unit as Measure};

use crate::segments::cache::Lookups;
use crate::segments::state::{self, is_orphan, may_be_orphan};
use crate::system::units::Unit;
use crate::sysv::{Limits, Segment, Usage, page_size};

/// The prefix of every name.
const PREFIX: &str = "shmadm";

/// The labels of a sample. No two samples of a metric may have the same labels: the whole file would be invalid.
type Labels = Vec<(&'static str, String)>;

/// The sums by owner, and the limits. Sums have 128 bits: the sum of sizes alone can exceed 64 bits.
#[derive(Debug, Default)]
pub(crate) struct OpenMetrics {
    /// By the owner's name, which two uids can share, and by namespace and unit if requested.
    owners: BTreeMap<Labels, Sums>,
    /// One namespace without labels, or several with labels.
    namespaces: BTreeMap<Labels, (Limits, Usage)>,
}

#[derive(Debug, Default)]
struct Sums {
    segments: u128,
    size: u128,
    resident: u128,
    swapped: u128,
    attached: u128,
    attachments: u128,
    orphaned: u128,
    orphaned_resident: u128,
    undecided: u128,
    marked: u128,
    /// Whether the kernel's table is hidden, so that the resident and swapped bytes are unknown.
    hides_memory: bool,
}

impl Sums {
    /// Returns a sum of resident or swapped bytes, if the table shows them. A wrong 0 would look like a fact.
    fn of_memory(&self, sum: u128) -> Option<u128> {
        (!self.hides_memory).then_some(sum)
    }
}

/// A metric: its name without prefix and unit, its unit, its help text, and a function that returns its value if it is
/// known.
type Gauge<T> = (&'static str, Option<Measure>, &'static str, fn(&T) -> Option<u128>);

const BY_OWNER: [Gauge<Sums>; 10] = [
    ("segments", None, "Segments by the user who owns them.", |sums| Some(sums.segments)),
    ("size", Some(Measure::Bytes), "Sum of the sizes of the segments, touched or not.", |sums| Some(sums.size)),
    ("resident", Some(Measure::Bytes), "Memory that the segments use.", |sums| sums.of_memory(sums.resident)),
    ("swapped", Some(Measure::Bytes), "Memory of the segments that is swapped out.", |sums| {
        sums.of_memory(sums.swapped)
    }),
    ("attached_segments", None, "Segments that somebody has attached.", |sums| Some(sums.attached)),
    ("attachments", None, "Attachments of the segments (nattch).", |sums| Some(sums.attachments)),
    (
        "orphaned_segments",
        None,
        "Segments that nobody has attached and whose creator and last user have exited.",
        |sums| Some(sums.orphaned),
    ),
    ("orphaned_resident", Some(Measure::Bytes), "Memory that orphaned segments use.", |sums| {
        sums.of_memory(sums.orphaned_resident)
    }),
    (
        "undecided_segments",
        None,
        "Segments that may be orphaned: it is unknown whether their creator or last user has exited.",
        |sums| Some(sums.undecided),
    ),
    ("marked_segments", None, "Segments that are marked for destruction and still attached.", |sums| Some(sums.marked)),
];

const OF_NAMESPACE: [Gauge<(Limits, Usage)>; 5] = [
    ("used_segments", None, "Segments that count toward SHMMNI.", |(_, usage)| Some(usage.segments.into())),
    ("limit_segments", None, "SHMMNI: maximum number of segments.", |(limits, _)| Some(limits.max_segments.into())),
    ("used", Some(Measure::Bytes), "Bytes that count toward SHMALL: sizes, each in whole pages.", |(_, usage)| {
        Some(bytes(usage.pages))
    }),
    ("limit", Some(Measure::Bytes), "SHMALL: maximum size of all segments together.", |(limits, _)| {
        Some(bytes(limits.max_pages))
    }),
    ("limit_segment", Some(Measure::Bytes), "SHMMAX: maximum size of a segment.", |(limits, _)| {
        Some(limits.max_bytes.into())
    }),
];

fn bytes(pages: u64) -> u128 {
    u128::from(pages) * u128::from(page_size())
}

impl OpenMetrics {
    /// Adds the limits of the only namespace.
    pub(crate) fn add_limits(&mut self, limits: Limits, usage: Usage) {
        self.namespaces.insert(Labels::new(), (limits, usage));
    }

    /// Adds the limits of one namespace of several.
    pub(crate) fn add_limits_of(&mut self, namespace: u64, unit: Option<&Unit>, limits: Limits, usage: Usage) {
        let unit = unit.map_or(String::new(), ToString::to_string);
        self.namespaces.insert(vec![("ns", namespace.to_string()), ("unit", unit)], (limits, usage));
    }

    /// Counts a segment of the only namespace.
    pub(crate) fn add(&mut self, segment: &Segment, lookups: &Lookups) {
        let owner = lookups.names.user_or_uid(segment.uid).to_string();
        self.add_to(vec![("owner", owner)], segment, lookups);
    }

    /// Counts a segment of one namespace of several. Its unit is that of its creator or its last user, or else `unit`,
    /// that of the namespace.
    pub(crate) fn add_of(&mut self, segment: &Segment, unit: Option<&Unit>, lookups: &Lookups) {
        let of_segment = state::unit(segment, lookups);
        let unit = of_segment.as_ref().or(unit).map_or(String::new(), ToString::to_string);
        let ns = segment.namespace.map_or(String::new(), |inode| inode.to_string());
        let owner = lookups.names.user_or_uid(segment.uid).to_string();
        self.add_to(vec![("ns", ns), ("unit", unit), ("owner", owner)], segment, lookups);
    }

    fn add_to(&mut self, labels: Labels, segment: &Segment, lookups: &Lookups) {
        let sums = self.owners.entry(labels).or_default();
        let resident = u128::from(segment.plausible_rss().unwrap_or(0));
        let is_orphan = is_orphan(segment, lookups);
        sums.segments += 1;
        sums.size += u128::from(segment.size);
        sums.resident += resident;
        sums.swapped += u128::from(segment.swap.unwrap_or(0));
        sums.attached += u128::from(segment.nattch > 0);
        sums.attachments += u128::from(segment.nattch);
        sums.orphaned += u128::from(is_orphan);
        sums.orphaned_resident += if is_orphan { resident } else { 0 };
        sums.undecided += u128::from(may_be_orphan(segment, lookups));
        sums.marked += u128::from(segment.is_marked());
        sums.hides_memory |= segment.rss.is_none();
    }

    /// Returns the OpenMetrics text, including `# EOF`.
    pub(crate) fn text(self) -> Result<String, fmt::Error> {
        let mut registry = Registry::with_prefix(PREFIX);
        registry.register_collector(Box::new(self));
        let mut text = String::new();
        encode(&mut text, &registry)?;
        Ok(text)
    }
}

impl Collector for OpenMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        for (name, unit, help, value) in &BY_OWNER {
            let mut family = encoder.encode_descriptor(name, help, unit.as_ref(), MetricType::Gauge)?;
            for (labels, sums) in &self.owners {
                if let Some(value) = value(sums) {
                    family.encode_family(labels)?.encode_gauge(&Number(value))?;
                }
            }
        }
        for (name, unit, help, value) in &OF_NAMESPACE {
            let mut family = encoder.encode_descriptor(name, help, unit.as_ref(), MetricType::Gauge)?;
            for (labels, numbers) in &self.namespaces {
                let Some(value) = value(numbers) else { continue };
                match labels.is_empty() {
                    true => family.encode_gauge(&Number(value))?,
                    false => family.encode_family(labels)?.encode_gauge(&Number(value))?,
                }
            }
        }
        Ok(())
    }
}

/// A sum, exact up to 64 bits. Prometheus stores samples as floats, which are exact up to 2^53.
#[derive(Debug)]
struct Number(u128);

impl EncodeGaugeValue for Number {
    fn encode(&self, encoder: &mut GaugeValueEncoder<'_>) -> fmt::Result {
        match u64::try_from(self.0) {
            Ok(exact) => EncodeGaugeValue::encode(&exact, encoder),
            #[expect(clippy::cast_precision_loss, reason = "Prometheus stores it as an f64 as well")]
            Err(_) => EncodeGaugeValue::encode(&(self.0 as f64), encoder),
        }
    }
}
