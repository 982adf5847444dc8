//! Sums over all segments as OpenMetrics text, for the textfile collector of Prometheus' node_exporter. Only this module
//! uses prometheus-client.

use std::collections::BTreeMap;
use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeGaugeValue, GaugeValueEncoder};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::{Registry, Unit};

use crate::segments::cache::Lookups;
use crate::segments::state::is_orphan;
use crate::sysv::{Limits, Segment, Usage, page_size};

/// The prefix of every name.
const PREFIX: &str = "shmadm";

/// The sums by owner, and the limits. Sums have 128 bits, because sizes can exceed 64.
#[derive(Debug)]
pub(crate) struct OpenMetrics {
    /// By the owner's name. Two uids can have the same name, and two samples with the same labels would make the file invalid.
    owners: BTreeMap<String, Sums>,
    limits: Limits,
    usage: Usage,
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
    marked: u128,
}

/// A metric: its name without prefix and unit, its help, and its value.
type Gauge<T> = (&'static str, Option<Unit>, &'static str, fn(&T) -> u128);

const BY_OWNER: [Gauge<Sums>; 9] = [
    ("segments", None, "Segments by the user who owns them.", |sums| sums.segments),
    ("size", Some(Unit::Bytes), "What the sizes of the segments come to, touched or not.", |sums| sums.size),
    ("resident", Some(Unit::Bytes), "What the segments have in memory.", |sums| sums.resident),
    ("swapped", Some(Unit::Bytes), "What the segments have swapped out.", |sums| sums.swapped),
    ("attached_segments", None, "Segments that somebody has attached.", |sums| sums.attached),
    ("attachments", None, "Attachments of the segments (nattch).", |sums| sums.attachments),
    ("orphaned_segments", None, "Segments that nobody has attached and whose creator has exited.", |sums| {
        sums.orphaned
    }),
    ("orphaned_resident", Some(Unit::Bytes), "What orphaned segments have in memory.", |sums| sums.orphaned_resident),
    ("marked_segments", None, "Segments marked for destruction, which wait for their last detach.", |sums| sums.marked),
];

const OF_ALL: [Gauge<OpenMetrics>; 5] = [
    ("used_segments", None, "Segments that count toward SHMMNI.", |all| all.usage.segments.into()),
    ("limit_segments", None, "SHMMNI: how many segments there may be.", |all| all.limits.max_segments.into()),
    ("used", Some(Unit::Bytes), "What counts toward SHMALL: sizes, each in whole pages.", |all| bytes(all.usage.pages)),
    ("limit", Some(Unit::Bytes), "SHMALL: what all segments may have together.", |all| bytes(all.limits.max_pages)),
    ("limit_segment", Some(Unit::Bytes), "SHMMAX: the largest size of a segment.", |all| all.limits.max_bytes.into()),
];

fn bytes(pages: u64) -> u128 {
    u128::from(pages) * u128::from(page_size())
}

impl OpenMetrics {
    /// Returns metrics without segments.
    pub(crate) fn new(limits: Limits, usage: Usage) -> OpenMetrics {
        OpenMetrics { owners: BTreeMap::new(), limits, usage }
    }

    /// Adds a segment.
    pub(crate) fn add(&mut self, segment: &Segment, lookups: &Lookups) {
        let sums = self.owners.entry(lookups.names.user_or_uid(segment.uid).to_string()).or_default();
        let resident = u128::from(segment.believable_rss().unwrap_or(0));
        let is_orphan = is_orphan(segment, lookups);
        sums.segments += 1;
        sums.size += u128::from(segment.size);
        sums.resident += resident;
        sums.swapped += u128::from(segment.swap.unwrap_or(0));
        sums.attached += u128::from(segment.nattch > 0);
        sums.attachments += u128::from(segment.nattch);
        sums.orphaned += u128::from(is_orphan);
        sums.orphaned_resident += if is_orphan { resident } else { 0 };
        sums.marked += u128::from(segment.is_marked());
    }

    /// Returns the text, including `# EOF`.
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
            for (owner, sums) in &self.owners {
                family.encode_family(&[("owner", owner.as_str())])?.encode_gauge(&Number(value(sums)))?;
            }
        }
        for (name, unit, help, value) in &OF_ALL {
            let mut metric = encoder.encode_descriptor(name, help, unit.as_ref(), MetricType::Gauge)?;
            metric.encode_gauge(&Number(value(self)))?;
        }
        Ok(())
    }
}

/// A sum, exact to 64 bits. Prometheus stores samples as floats, which are exact to 2^53.
#[derive(Debug)]
struct Number(u128);

impl EncodeGaugeValue for Number {
    fn encode(&self, encoder: &mut GaugeValueEncoder<'_>) -> fmt::Result {
        match u64::try_from(self.0) {
            Ok(exact) => EncodeGaugeValue::encode(&exact, encoder),
            #[expect(clippy::cast_precision_loss, reason = "what reads it has no more digits")]
            Err(_) => EncodeGaugeValue::encode(&(self.0 as f64), encoder),
        }
    }
}
