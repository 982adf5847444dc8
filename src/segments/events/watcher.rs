//! Feeds the state machine with records, and reads the data that no record contains.

use std::collections::BTreeSet;
use std::io;
use std::os::fd::BorrowedFd;
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::time::{ClockId, clock_gettime};

use super::machine::Machine;
use super::scan;
use super::tasks::{Found, Place};
use super::witness::{Note, Witness};
use super::{Cause, Occurrence, OccurrenceKind};
use crate::error::Result;
use crate::segments::attachments;
use crate::segments::rmid_forced;
use crate::segments::tables::{Scope, Tables};
use crate::system::namespace::{Identity, Namespace};
use crate::system::tracepoints::{Tracepoints, now};
use crate::sysv::Segment;

/// The minimum time between two scans of /proc because of missing records.
const BETWEEN_SCANS: Duration = Duration::from_secs(2);

/// The maximum number of processes inspected to find out which one has detached a segment without a call.
const MAX_HOLDERS: usize = 64;

/// The pause between two reads until the records of this moment are complete.
const PAUSE: Duration = Duration::from_millis(5);

/// The maximum number of attempts of the first snapshot while segments change.
const TRIES: usize = 10;

/// The kernel's tracepoints, and the state derived from them.
pub(crate) struct Watcher {
    tracepoints: Tracepoints<Note>,
    witness: Witness,
    machine: Machine,
    scope: Scope,
    ours: u64,
    scanned: Instant,
    /// The result of the last scan and the time it began, until all earlier records have been processed.
    found: Option<(u64, Vec<Found>)>,
    /// Whether every process could be inspected at the start, so that every namespace was found.
    was_complete: bool,
    /// The namespaces that were found, but could not be read yet.
    unread: BTreeSet<u64>,
    /// The number of lost records reported so far.
    lost: u64,
    /// Whether to ask the kernel for the number of lost records. The rings may not contain it yet.
    is_loss_due: bool,
}

impl Watcher {
    /// Starts recording. Events are reported from now on.
    ///
    /// # Errors
    /// `EPERM` and `EACCES` without privilege; other errors if this kernel does not support it.
    pub(crate) fn open(scope: Scope, wants_failures: bool) -> io::Result<Watcher> {
        let all_namespaces = scope == Scope::All;
        let identity = Identity::ours()?;
        let home = all_namespaces.then(Namespace::of_this_thread);
        Ok(Watcher {
            tracepoints: Tracepoints::open()?,
            witness: Witness::new(home.transpose()?),
            machine: Machine::new(all_namespaces, wants_failures),
            scope,
            ours: identity.inode,
            scanned: Instant::now(),
            found: None,
            was_complete: false,
            unread: BTreeSet::new(),
            lost: 0,
            is_loss_due: false,
        })
    }

    /// Reads the initial state: the processes, then the segments.
    ///
    /// # Errors
    /// A table cannot be read.
    pub(crate) fn begin(&mut self) -> Result<()> {
        // Events from here on are recorded, so that nothing is missing between this scan and the records.
        self.scan()?;
        for _ in 0..TRIES {
            // Afterwards the records of earlier events have been processed, and the table includes those events.
            self.catch_up();
            drop(self.machine.take());
            let tables = self.tables()?;
            self.was_complete = tables.is_complete;
            self.unread = tables.unread;
            self.machine.set_tables(tables.read);
            self.catch_up();
            if self.machine.take().is_empty() {
                break;
            }
        }
        self.read_forced();
        Ok(())
    }

    /// Returns the number of namespaces that were found, but could not be read.
    pub(crate) fn unread(&self) -> usize {
        self.unread.len()
    }

    /// Returns the watched segments.
    pub(crate) fn segments(&self) -> impl Iterator<Item = &Segment> {
        self.machine.segments()
    }

    /// Returns descriptors to poll. One becomes readable as soon as there are many records, or a program starts. Other
    /// records stay in the rings until they are read.
    pub(crate) fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.tracepoints.descriptors()
    }

    /// Returns whether to read again soon: records are incomplete, or a program has started that may exit soon.
    pub(crate) fn is_urgent(&self) -> bool {
        self.tracepoints.has_waiting() || self.witness.is_urgent()
    }

    /// Returns the number of lost records that were not reported yet. They were not read fast enough.
    pub(crate) fn take_lost(&mut self) -> u64 {
        let recorded = std::mem::take(&mut self.machine.lost);
        if recorded == 0 && !std::mem::take(&mut self.is_loss_due) {
            return 0;
        }
        let Some(lost) = self.tracepoints.lost() else { return recorded };
        let news = lost.saturating_sub(self.lost);
        self.lost = lost;
        self.machine.is_confused |= news > 0;
        news
    }

    /// Returns the events, in order.
    ///
    /// # Errors
    /// Records are missing, and /proc cannot be read.
    pub(crate) fn read(&mut self) -> Result<Vec<Occurrence>> {
        self.drain();
        if self.machine.is_confused && self.scanned.elapsed() >= BETWEEN_SCANS {
            self.scan()?;
        }
        Ok(self.machine.take())
    }

    /// Compares the state with the kernel's table, and returns the changes that no record explains. A difference is
    /// reported when it is seen twice.
    ///
    /// # Errors
    /// The table cannot be read.
    pub(crate) fn compare(&mut self) -> Result<Vec<Occurrence>> {
        let began = nanoseconds(now());
        let tables = self.tables()?;
        self.read_forced();
        self.drain();
        self.is_loss_due = true;
        if self.scope == Scope::All {
            self.machine.retain(|namespace| tables.may_have(namespace, self.was_complete), began);
        }
        for (namespace, rows) in tables.read {
            if self.unread.remove(&namespace) {
                self.machine.adopt(namespace, rows);
            } else {
                self.machine.compare(namespace, rows, began);
            }
        }
        self.unread.extend(tables.unread.iter().filter(|namespace| !self.machine.has_table(**namespace)));
        let occurrences = self.machine.take();
        for occurrence in &occurrences {
            self.update_holders(occurrence)?;
        }
        Ok(occurrences)
    }

    /// Returns whether the last comparison found a difference that must be confirmed.
    pub(crate) fn has_suspects(&self) -> bool {
        self.machine.has_suspects()
    }

    /// Processes all records of the events before now.
    fn catch_up(&mut self) {
        let until = now();
        while self.tracepoints.settled() < until {
            sleep(PAUSE);
            self.drain();
        }
    }

    /// Returns a time, on the clock of [`now`]. All records before it have been processed.
    pub(crate) fn settled(&self) -> Duration {
        self.tracepoints.settled()
    }

    fn drain(&mut self) {
        self.machine.set_epoch(epoch());
        let Watcher { tracepoints, witness, machine, ours, found, .. } = self;
        // The record with the namespace of a new thread may not have been processed yet.
        // If the thread has ended, its segment is read nevertheless: the record decides later whether that was needed.
        let is_here = |tid| Identity::of_process(tid).map_or(true, |identity| identity.inode == *ours);
        tracepoints.read(|record| {
            let is_watched = || machine.is_watched(record.tid).unwrap_or_else(|| is_here(record.tid));
            witness.note(record, is_watched)
        });
        while let Some((record, mut note)) = tracepoints.next() {
            if witness.has_executed_since(&record) {
                note = Note { is_stale: true, sight: note.sight, ..Note::default() };
            }
            if let Some((_, found)) = found.take_if(|(began, _)| *began <= record.time) {
                machine.restart_with(found);
            }
            machine.record(&record, note);
        }
        let settled = nanoseconds(tracepoints.settled());
        if let Some((_, found)) = found.take_if(|(began, _)| *began <= settled) {
            machine.restart_with(found);
        }
    }

    /// Scans the processes. Records from before the scan are processed first, because they may refer to processes that have
    /// exited since.
    fn scan(&mut self) -> Result<()> {
        let began = nanoseconds(now());
        let segments = self
            .tables()?
            .read
            .into_iter()
            .flat_map(|(namespace, rows)| rows.into_iter().map(move |row| (Place { namespace, id: row.id }, row)));
        self.found = Some((began, scan::processes(&segments.collect())?));
        self.scanned = Instant::now();
        Ok(())
    }

    fn tables(&self) -> Result<Tables> {
        Tables::read(self.scope, self.ours)
    }

    /// Reads whether the kernel destroys segments that nobody has attached.
    fn read_forced(&mut self) {
        self.machine.set_forced(self.ours, rmid_forced::sysctl() == Some(true));
    }

    /// Handles a count that changed without a call, as by munmap(2): records which processes have the segment attached
    /// now.
    fn update_holders(&mut self, occurrence: &Occurrence) -> Result<()> {
        let (Occurrence { cause: Cause::Table, .. }, OccurrenceKind::Changed(change)) = (occurrence, &occurrence.kind)
        else {
            return Ok(());
        };
        let place = Place { namespace: change.segment.namespace.unwrap_or(self.ours), id: change.segment.id };
        let mut pids = self.machine.holders(place);
        pids.extend((change.segment.lpid > 0).then_some(change.segment.lpid));
        for pid in pids.into_iter().take(MAX_HOLDERS) {
            if let Ok(attached) = attachments::of_process(pid) {
                let segment = |id| Some(&change.segment).filter(|segment| segment.id == id);
                let proved = attached.iter().flat_map(|holding| scan::proved(holding, segment));
                self.machine.correct(pid, place, proved.map(|(address, _)| address));
            }
        }
        Ok(())
    }
}

/// Returns a time on the clock of the records, in nanoseconds.
fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// Returns the offset from CLOCK_MONOTONIC to the time since the epoch, in nanoseconds.
fn epoch() -> i128 {
    let real = clock_gettime(ClockId::CLOCK_REALTIME).map_or(Duration::ZERO, Duration::from);
    i128::try_from(real.as_nanos()).unwrap_or(0) - i128::try_from(now().as_nanos()).unwrap_or(0)
}
