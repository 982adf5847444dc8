//! Watching through the kernel's tracepoints.

use std::os::fd::AsFd;
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};

use super::report::{Flow, Report};
use crate::error::{Error, Result, Status};
use crate::segments::events::Watcher;
use crate::system::signals::{ShutdownSignals, Woken};
use crate::system::tracepoints::now;

/// The pause between two reads.
const PAUSE: Duration = Duration::from_millis(20);

/// The pause between two reads while records are incomplete, or while a program may exit soon. A process is inspected
/// as soon as its record is read.
const SOON: Duration = Duration::from_micros(300);

/// The pause between two reads at the end, until the last records are complete.
const COMPLETE: Duration = Duration::from_millis(5);

/// The time to wait at the end for events that must be seen twice before they are reported.
const TWICE: Duration = Duration::from_millis(60);

/// Reports every event until the watch ends.
pub(super) fn watch(
    mut watcher: Watcher,
    interval: Duration,
    deadline: Option<Instant>,
    report: &mut Report<'_>,
    shutdown: &ShutdownSignals,
) -> Result<Status> {
    watcher.begin()?;
    report.announce(watcher.segments(), watcher.unread(), "every call (source: kernel)");
    let timer = Timer::new()?;
    let mut compare = Instant::now() + interval;
    loop {
        let now = Instant::now();
        let is_over = deadline.is_some_and(|deadline| now >= deadline);
        let signal = shutdown.signal();
        if is_over || signal.is_some() {
            if let Flow::Break(status) = finish(&mut watcher, report)? {
                return Ok(status);
            }
            return Ok(signal.map_or(Status::Done, Status::Signal));
        }
        if let Flow::Break(status) = report_events(&mut watcher, report)? {
            return Ok(status);
        }
        if now >= compare {
            if let Flow::Break(status) = report.occurred(&watcher.compare()?)? {
                return Ok(status);
            }
            report.check_reader()?;
            // Many namespaces or segments take a while: use at most a tenth of one processor.
            compare = Instant::now() + interval.max(now.elapsed() * 10);
        }
        if watcher.is_urgent() {
            timer.set(Instant::now() + SOON)?;
            wait(shutdown, &[timer.0.as_fd()])?;
        } else {
            let next = deadline.map_or(compare, |deadline| deadline.min(compare));
            timer.set(next.min(Instant::now() + PAUSE))?;
            let sources: Vec<_> = watcher.descriptors().chain([timer.0.as_fd()]).collect();
            wait(shutdown, &sources)?;
        }
    }
}

/// Reports the recorded events.
fn report_events(watcher: &mut Watcher, report: &mut Report<'_>) -> Result<Flow> {
    let occurrences = watcher.read()?;
    match report.occurred(&occurrences)? {
        Flow::Continue(()) => report.lost(watcher.take_lost()),
        end => Ok(end),
    }
}

/// Reports the events before the end.
fn finish(watcher: &mut Watcher, report: &mut Report<'_>) -> Result<Flow> {
    let end = now();
    let mut flow = Flow::Continue(());
    // A record is complete once the earlier records of all CPUs have been read.
    while flow.is_continue() && watcher.settled() < end {
        sleep(COMPLETE);
        flow = report_events(watcher, report)?;
    }
    for pause in [TWICE, TWICE] {
        if flow.is_break() {
            break;
        }
        flow = report.occurred(&watcher.compare()?)?;
        if flow.is_break() || !watcher.has_suspects() {
            break;
        }
        sleep(pause);
        flow = report_events(watcher, report)?;
    }
    if flow.is_continue() && watcher.has_suspects() {
        flow = report.occurred(&watcher.compare()?)?;
    }
    if flow.is_continue() { report.lost(watcher.take_lost()) } else { Ok(flow) }
}

fn wait(shutdown: &ShutdownSignals, sources: &[std::os::fd::BorrowedFd<'_>]) -> Result<Woken> {
    shutdown.wait_readable(sources).map_err(|error| Error::io("wait for records", &error))
}

/// A timer that can be polled together with other descriptors.
struct Timer(TimerFd);

impl Timer {
    fn new() -> Result<Timer> {
        let timer = TimerFd::new(ClockId::CLOCK_MONOTONIC, TimerFlags::TFD_CLOEXEC | TimerFlags::TFD_NONBLOCK);
        timer.map(Timer).map_err(|errno| Error::io("make a timer", &errno.into()))
    }

    /// Sets the timer. It is readable from this moment on, until it is set again.
    fn set(&self, to: Instant) -> Result<()> {
        // 0 would disable the timer.
        let left = to.saturating_duration_since(Instant::now()).max(Duration::from_nanos(1));
        let once = Expiration::OneShot(TimeSpec::from_duration(left));
        self.0.set(once, TimerSetTimeFlags::empty()).map_err(|errno| Error::io("set a timer", &errno.into()))
    }
}
