//! The kernel's own account of the System V shared memory calls and of the life of processes, by perf_event_open(2).
//!
//! Nothing is mounted where others see it and no switch of tracefs is turned: all of it ends with our descriptors.

mod ids;
mod record;

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;
use std::ffi::CString;
use std::fs;
use std::io;
use std::os::fd::BorrowedFd;
use std::time::Duration;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::time::{ClockId, clock_gettime};
use perf_event::events::{Software, Tracepoint};
use perf_event::{Builder, Clock, Counter, SampleFlag, Sampler};

use crate::linux;
use ids::Ids;
pub(crate) use record::{Call, Record, What};

/// The room that each CPU has for records, in bytes. A call takes about 130, so this holds the calls of a third of a
/// second at 100,000 a second.
const RING: usize = 4 << 20;

/// After so many bytes in a ring the kernel wakes us. A wake-up interrupts whoever makes the call: one for each record would
/// take ten times as long as the call.
const WAKE: usize = 1 << 16;

/// So much later than its time stamp a record is in its ring at the latest, unless its CPU is held up. The rings are merged
/// up to this moment.
const SETTLED: Duration = Duration::from_millis(1);

/// So many records are read at once before they are handed on. The others wait in the rings.
const MOST: usize = 1 << 15;

/// The open tracepoints. `N` is what is noted down with each record as soon as it is read.
pub(crate) struct Tracepoints<N> {
    ids: Ids,
    /// One for each CPU.
    rings: Vec<Ring>,
    /// Records that are younger than the last merge reached.
    waiting: BinaryHeap<Reverse<Waiting<N>>>,
    /// Up to this time none is missing, in nanoseconds of CLOCK_MONOTONIC.
    settled: u64,
    /// How many records were read.
    read: u64,
}

struct Ring {
    records: Sampler,
    /// The tracepoints that write into it. They end with their descriptors.
    _events: Vec<Counter>,
}

struct Waiting<N> {
    /// By time, and among equals in the order in which they were read.
    order: (u64, u64),
    record: Record,
    note: N,
}

impl<N> PartialEq for Waiting<N> {
    fn eq(&self, other: &Waiting<N>) -> bool {
        self.order == other.order
    }
}

impl<N> Eq for Waiting<N> {}

impl<N> PartialOrd for Waiting<N> {
    fn partial_cmp(&self, other: &Waiting<N>) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<N> Ord for Waiting<N> {
    fn cmp(&self, other: &Waiting<N>) -> Ordering {
        self.order.cmp(&other.order)
    }
}

impl<N> Tracepoints<N> {
    /// Begins to listen to all processes on all CPUs. The calls of this thread itself are left out.
    ///
    /// # Errors
    ///
    /// `EACCES` and `EPERM` without CAP_SYS_ADMIN and CAP_PERFMON, `ENOENT` and `ENODEV` of a kernel that lacks tracepoints,
    /// `ENOSYS` of one without perf events.
    pub(crate) fn open() -> io::Result<Tracepoints<N>> {
        let ids = Ids::read()?;
        let cpus = online_cpus()?;
        allow_descriptors(cpus.len() * (1 + ids.numbers().count()));
        let rings = cpus.into_iter().map(|cpu| Ring::open(cpu, &ids)).collect::<io::Result<_>>()?;
        Ok(Tracepoints { ids, rings, waiting: BinaryHeap::new(), settled: 0, read: 0 })
    }

    /// Returns descriptors of which one is readable as soon as there is an urgent record, or there are many.
    pub(crate) fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.rings.iter().map(|ring| linux::descriptor(&ring.records))
    }

    /// Whether records are waiting for others that may be older.
    pub(crate) fn has_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Reads the rings. `note` sees each record as soon as it is read, in no order: what can be learned of a process now may
    /// be gone soon.
    pub(crate) fn read(&mut self, mut note: impl FnMut(&Record) -> N) {
        self.settled = u64::try_from(now().saturating_sub(SETTLED).as_nanos()).unwrap_or(u64::MAX);
        let share = MOST / self.rings.len().max(1);
        for ring in &mut self.rings {
            let mut count = 0;
            while let Some(record) = ring.records.next_record() {
                let parsed = Record::parse(record.ty(), record.misc(), &record.to_contiguous(), &self.ids);
                let Some(record) = parsed else { continue };
                self.read += 1;
                let order = (record.time, self.read);
                self.waiting.push(Reverse(Waiting { order, note: note(&record), record }));
                count += 1;
                if count >= share {
                    // What this CPU did after that is still in its ring.
                    self.settled = self.settled.min(record.time);
                    break;
                }
            }
        }
    }

    /// Returns the records that were read, one after the other by time, up to a time before which none is missing.
    pub(crate) fn next(&mut self) -> Option<(Record, N)> {
        self.waiting.peek().filter(|Reverse(first)| first.order.0 <= self.settled)?;
        self.waiting.pop().map(|Reverse(Waiting { record, note, .. })| (record, note))
    }
}

impl Ring {
    fn open(cpu: usize, ids: &Ids) -> io::Result<Ring> {
        let mut tasks = Builder::new(Software::DUMMY);
        configure(&mut tasks, cpu);
        tasks.comm(true).comm_exec(true).task(true).namespaces(true).sample_id_all(true).wakeup_watermark(WAKE);
        let mut tasks = tasks.build()?;
        tasks.enable()?;
        let records = tasks.sampled(RING)?;
        let others = CString::new(format!("common_pid != {}", std::process::id())).map_err(io::Error::other)?;
        let mut events = Vec::new();
        for id in ids.numbers() {
            let mut point = Builder::new(Tracepoint::with_id(id));
            configure(&mut point, cpu);
            point.sample_period(1).sample_id_all(true);
            if ids.is_urgent(id) {
                point.wakeup_events(1);
            } else {
                point.wakeup_watermark(WAKE);
            }
            let mut point = point.build()?;
            linux::filter(&point, &others)?;
            linux::share_ring(&point, &records)?;
            point.enable()?;
            events.push(point);
        }
        Ok(Ring { records, _events: events })
    }
}

/// Sets what all events of a ring have in common.
fn configure(event: &mut Builder<'_>, cpu: usize) {
    event
        .any_pid()
        .one_cpu(cpu)
        .exclude_kernel(false)
        .exclude_hv(false)
        .clockid(Clock::MONOTONIC)
        .sample(SampleFlag::TID | SampleFlag::TIME | SampleFlag::RAW);
}

/// Returns the time now on the clock of the records.
pub(crate) fn now() -> Duration {
    // CLOCK_MONOTONIC is always there.
    clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(Duration::ZERO, Duration::from)
}

/// Returns the numbers of the CPUs that run, from a list such as `0-3,8`.
fn online_cpus() -> io::Result<Vec<usize>> {
    let list = fs::read_to_string("/sys/devices/system/cpu/online")?;
    parse_cpus(&list).ok_or_else(|| io::Error::other("/sys/devices/system/cpu/online is no list of CPUs"))
}

fn parse_cpus(list: &str) -> Option<Vec<usize>> {
    let mut cpus = Vec::new();
    for range in list.trim_end().split(',') {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        cpus.extend(first.parse::<usize>().ok()?..=last.parse::<usize>().ok()?);
    }
    Some(cpus)
}

/// Raises the limit on open files to what is needed, as far as it may be raised. If that is too little, opening fails.
fn allow_descriptors(needed: usize) {
    let needed = needed as u64 + 64;
    if let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE)
        && soft < needed
    {
        let _ = setrlimit(Resource::RLIMIT_NOFILE, needed.min(hard), hard);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_cpus() {
        assert_eq!(parse_cpus("0\n"), Some(vec![0]));
        assert_eq!(parse_cpus("0-2,5,7-8\n"), Some(vec![0, 1, 2, 5, 7, 8]));
        assert_eq!(parse_cpus("\n"), None);
    }
}
