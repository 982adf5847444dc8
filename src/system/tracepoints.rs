//! The kernel's record of System V shared memory calls and of process creation and exit, through perf_event_open(2).
//!
//! Nothing is mounted where others see it, and no setting of tracefs is changed: everything ends with our descriptors.

mod ids;
mod record;

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;
use std::ffi::CString;
use std::fmt::Display;
use std::fs;
use std::io;
use std::os::fd::BorrowedFd;
use std::time::Duration;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::time::{ClockId, clock_gettime};
use perf_event::events::{Software, Tracepoint};
use perf_event::{Builder, Clock, Counter, ReadFormat, SampleFlag, Sampler};

use crate::linux;
pub(crate) use ids::Call;
use ids::Ids;
pub(crate) use record::{Action, Record};

/// The size of each CPU's ring in bytes. A call takes about 130 bytes, so the ring holds the calls of a third of a
/// second at 100,000 calls per second.
const RING: usize = 4 << 20;

/// The number of bytes in a ring after which the kernel wakes us. A wake-up interrupts the process that makes the call.
/// One wake-up per record would take ten times as long as the call.
const WAKE: usize = 1 << 16;

/// The maximum delay between a record's time stamp and its arrival in the ring, unless its CPU is held up. Only records
/// that are older than this are merged.
const SETTLED: Duration = Duration::from_millis(1);

/// The maximum number of records that are read before they are passed on. The others stay in the rings.
const MAX_RECORDS: usize = 1 << 15;

/// The open tracepoints. `N` is the note taken for each record as soon as it is read.
pub(crate) struct Tracepoints<N> {
    ids: Ids,
    /// One ring for each CPU.
    rings: Vec<Ring>,
    /// Records later than the end of the last merge.
    waiting: BinaryHeap<Reverse<Waiting<N>>>,
    /// No record before this time is missing, in nanoseconds of CLOCK_MONOTONIC.
    settled: u64,
    /// Whether the rings hold more than was read.
    is_behind: bool,
    /// The number of records read.
    read: u64,
}

struct Ring {
    records: Sampler,
    /// The tracepoints that write into this ring. They end with their descriptors.
    events: Vec<Counter>,
}

struct Waiting<N> {
    /// Sorted by time, then by the order in which they were read.
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
    /// Starts recording all processes on all CPUs, except for calls of this thread.
    ///
    /// # Errors
    /// `EACCES` and `EPERM` without CAP_SYS_ADMIN and CAP_PERFMON, `ENOENT` and `ENODEV` if the kernel lacks
    /// tracepoints, `ENOSYS` if it lacks perf events.
    pub(crate) fn open() -> io::Result<Tracepoints<N>> {
        let ids = Ids::read()?;
        let cpus = online_cpus()?;
        allow_descriptors(cpus.len() * (1 + ids.numbers().count()));
        let rings = cpus.into_iter().map(|cpu| Ring::open(cpu, &ids)).collect::<io::Result<_>>()?;
        Ok(Tracepoints { ids, rings, waiting: BinaryHeap::new(), settled: 0, is_behind: false, read: 0 })
    }

    /// Returns descriptors to poll. One becomes readable as soon as there is an urgent record, or there are many
    /// records.
    pub(crate) fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.rings.iter().map(|ring| linux::descriptor(&ring.records))
    }

    /// Returns whether records are held back because older ones may still arrive, or are still in the rings.
    pub(crate) fn has_waiting(&self) -> bool {
        !self.waiting.is_empty() || self.is_behind
    }

    /// Returns the time before which no record is missing, on the clock of the records.
    pub(crate) fn settled(&self) -> Duration {
        Duration::from_nanos(self.settled)
    }

    /// Returns the number of records lost so far because a ring was full. `None` before Linux 6.0: there only [`Action::Lost`]
    /// reports it, with the next record.
    pub(crate) fn lost(&mut self) -> Option<u64> {
        let mut lost = 0;
        for Ring { records, events } in &mut self.rings {
            for event in events.iter_mut().chain([records.as_counter_mut()]) {
                lost += event.read_full().ok()?.lost()?;
            }
        }
        Some(lost)
    }

    /// Reads the rings. `note` is called with each record as soon as it is read, in no particular order: what /proc
    /// shows of a process now may soon be gone.
    pub(crate) fn read(&mut self, mut note: impl FnMut(&Record) -> N) {
        self.settled = u64::try_from(now().saturating_sub(SETTLED).as_nanos()).unwrap_or(u64::MAX);
        self.is_behind = false;
        let share = MAX_RECORDS / self.rings.len().max(1);
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
                    // Later records of this CPU are still in its ring.
                    self.settled = self.settled.min(record.time);
                    self.is_behind = true;
                    break;
                }
            }
        }
    }

    /// Returns the next record in order of time; `None` if an earlier record may still arrive.
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
        let mut tasks = build(&mut tasks)?;
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
            let mut point = build(&mut point)?;
            linux::filter(&point, &others)?;
            linux::share_ring(&point, &records)?;
            point.enable()?;
            events.push(point);
        }
        Ok(Ring { records, events })
    }
}

/// Sets the options that all events of a ring share.
fn configure(event: &mut Builder<'_>, cpu: usize) {
    event
        .any_pid()
        .one_cpu(cpu)
        .exclude_kernel(false)
        .exclude_hv(false)
        .clockid(Clock::MONOTONIC)
        .sample(SampleFlag::TID | SampleFlag::TIME | SampleFlag::RAW);
}

/// Opens an event that counts its lost records, if the kernel supports that (Linux 6.0).
fn build(event: &mut Builder<'_>) -> io::Result<Counter> {
    match event.read_format(ReadFormat::LOST).build() {
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => event.read_format(ReadFormat::empty()).build(),
        built => built,
    }
}

/// Returns the current time on the clock of the records.
pub(crate) fn now() -> Duration {
    // CLOCK_MONOTONIC always exists.
    clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(Duration::ZERO, Duration::from)
}

/// Returns the numbers of the online CPUs, from sysfs or, if it is not mounted, from /proc/stat (proc(5)).
fn online_cpus() -> io::Result<Vec<usize>> {
    let list = fs::read_to_string("/sys/devices/system/cpu/online").ok();
    if let Some(cpus) = list.as_deref().and_then(parse_cpus) {
        return Ok(cpus);
    }
    let no_list = |why: &dyn Display| {
        let files = "neither /sys/devices/system/cpu/online nor /proc/stat lists the CPUs";
        io::Error::other(format!("{files}: {why}"))
    };
    let statistics = fs::read_to_string("/proc/stat").map_err(|error| no_list(&error))?;
    parse_statistics(&statistics).ok_or_else(|| no_list(&"it has no line of a CPU"))
}

/// Parses a list such as `0-3,8`.
fn parse_cpus(list: &str) -> Option<Vec<usize>> {
    let mut cpus = Vec::new();
    for range in list.trim_end().split(',') {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        cpus.extend(first.parse::<usize>().ok()?..=last.parse::<usize>().ok()?);
    }
    Some(cpus)
}

/// Parses /proc/stat, which has a line such as `cpu0 6 0 7 …` for each online CPU, and one of sums.
fn parse_statistics(text: &str) -> Option<Vec<usize>> {
    let names = text.lines().filter_map(|line| line.strip_prefix("cpu")?.split(' ').next());
    let cpus: Vec<usize> = names.filter_map(|number| number.parse().ok()).collect();
    (!cpus.is_empty()).then_some(cpus)
}

/// Raises the limit on open files to `needed`, or to the hard limit. If that is too low, opening fails later.
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
        let statistics = "cpu  7 0 9\ncpu0 3 0 4\ncpu12 4 0 5\nintr 17 8\n";
        assert_eq!(parse_statistics(statistics), Some(vec![0, 12]));
        assert_eq!(parse_statistics("intr 17 8\n"), None);
    }
}
