//! Seeing each process before it creates a System V IPC object, by seccomp notifications.
//!
//! A thread takes the calls that wait, looks at their processes, and lets them go on. A look at a process can block, for
//! example where another of its threads waits for a file system that does not answer. A second thread then lets the call
//! go on after [`LONGEST_LOOK`], and starts another one in the place of the first.

mod caller;
mod environment;
mod looker;
mod proc;

use std::io;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::linux::seccomp::{CreatingCall, Listener, Notification};
use crate::system::stack::Modules;

pub(crate) use caller::{Caller, Process, Progress, progress};
use looker::Looker;

/// How long a process waits at most while it is looked at.
const LONGEST_LOOK: Duration = Duration::from_secs(1);
/// How often the second thread asks whether the first is stuck.
const TICK: Duration = Duration::from_millis(250);
/// How long no call must come, in milliseconds, until it is looked what the last ones did; and how often else it is asked
/// whether the tracer stops.
const SOON: u8 = 1;
const LATER: u8 = 100;
/// After so many looks that did not end, processes are no longer looked at.
const MOST_STUCK: usize = 4;

/// A call that is about to be executed, and who makes it.
#[derive(Debug)]
pub(crate) struct Creation {
    /// The call's arguments.
    pub call: CreatingCall,
    /// The thread that makes it; 0 where it has no number in our pid namespace.
    pub tid: i32,
    /// How long after the start of the tracer it was made.
    pub after: Duration,
    /// Who makes it; `None` where that could not be seen.
    pub caller: Option<Caller>,
}

/// Whoever wants to know of each call before it is executed. It must not take longer than some milliseconds.
pub(crate) trait Observer: Send + Sync + 'static {
    /// A call is about to be executed: as soon as this returns.
    fn creates(&self, creation: Creation);

    /// For some milliseconds no call was made: time to find out what the last ones did. Returns whether it is to be called
    /// again soon.
    fn settle(&self) -> bool;
}

/// What is to be seen of processes.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    /// The command whose descendants are traced: their ancestors are told up to it.
    pub root: i32,
    /// Names of environment variables.
    pub variables: Vec<String>,
}

/// The threads that answer notifications. They end with [`Tracer::stop`].
pub(crate) struct Tracer {
    shared: Arc<Shared>,
    /// Dropped, they wake the threads.
    stop: Option<(mpsc::Sender<()>, io::PipeWriter)>,
    watchdog: Option<JoinHandle<()>>,
}

struct Shared {
    listener: Listener,
    observer: Arc<dyn Observer>,
    wanted: Wanted,
    start: Instant,
    /// Processes are no longer looked at; their calls are let go at once.
    is_done: AtomicBool,
    /// Wakes the answering thread when the tracer stops.
    wake: io::PipeReader,
    /// The threads are to end.
    is_stopping: AtomicBool,
    work: Mutex<Work>,
}

/// What the answering thread does just now.
#[derive(Debug, Default)]
struct Work {
    /// The call that is looked at, and since when.
    call: Option<(Notification, Instant)>,
    /// How many answering threads were given up.
    stuck: usize,
}

impl Tracer {
    /// Starts the threads. `start` is when the command was started.
    ///
    /// # Errors
    /// Those of starting a thread.
    pub(crate) fn start(
        listener: Listener,
        wanted: Wanted,
        start: Instant,
        observer: Arc<dyn Observer>,
    ) -> io::Result<Tracer> {
        let (wake, waker) = io::pipe()?;
        let shared = Arc::new(Shared {
            wake,
            listener,
            observer,
            wanted,
            start,
            is_done: AtomicBool::new(false),
            is_stopping: AtomicBool::new(false),
            work: Mutex::default(),
        });
        let answering = answer_in_thread(&shared, 0)?;
        let (stop, stopped) = mpsc::channel();
        let watching = Arc::clone(&shared);
        let watchdog = thread::Builder::new().spawn(move || watch(&watching, &stopped, answering))?;
        Ok(Tracer { shared, stop: Some((stop, waker)), watchdog: Some(watchdog) })
    }

    /// From now on processes are no longer looked at: their calls are let go at once.
    pub(crate) fn look_no_more(&self) {
        self.shared.is_done.store(true, Ordering::SeqCst);
    }

    /// Ends the threads, and returns the listener; `None` where one of them is stuck and still has it.
    pub(crate) fn stop(mut self) -> Option<Listener> {
        self.shared.is_stopping.store(true, Ordering::SeqCst);
        drop(self.stop.take());
        if let Some(watchdog) = self.watchdog.take() {
            let _ = watchdog.join();
        }
        let shared = Arc::into_inner(self.shared)?;
        Some(shared.listener)
    }
}

impl Shared {
    /// The next call that waits. `None` after so many milliseconds without one, and when the tracer stops.
    ///
    /// # Errors
    /// `EPIPE` once no process is left with the filter, from Linux 5.9 on.
    fn next(&self, patience: u8) -> Result<Option<Notification>, Errno> {
        let mut polled = [
            PollFd::from_borrowed_fd(self.listener.as_fd(), PollFlags::IN),
            PollFd::from_borrowed_fd(self.wake.as_fd(), PollFlags::IN),
        ];
        let limit = Timespec { tv_sec: 0, tv_nsec: i64::from(patience) * 1_000_000 };
        match poll(&mut polled, Some(&limit)) {
            Ok(0) | Err(rustix::io::Errno::INTR) => return Ok(None),
            Ok(_) => {}
            Err(errno) => return Err(Errno::from_raw(errno.raw_os_error())),
        }
        match polled[0].revents() {
            events if events.contains(PollFlags::IN) => self.listener.receive(),
            events if !events.is_empty() => Err(Errno::EPIPE),
            _ => Ok(None),
        }
    }

    fn work(&self) -> MutexGuard<'_, Work> {
        self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn answer_in_thread(shared: &Arc<Shared>, generation: usize) -> io::Result<JoinHandle<()>> {
    let shared = Arc::clone(shared);
    thread::Builder::new().spawn(move || answer_all(&shared, generation))
}

/// Answers until the tracer stops, no process is left that could ask, or another thread has this one's place.
fn answer_all(shared: &Shared, generation: usize) {
    let mut looker = Looker::new(shared.wanted.clone(), Modules::default());
    let mut patience = SOON;
    while !shared.is_stopping.load(Ordering::SeqCst) {
        let notification = match shared.next(patience) {
            Ok(Some(notification)) => notification,
            Ok(None) => {
                let is_unsettled = !shared.is_done.load(Ordering::SeqCst) && shared.observer.settle();
                patience = if is_unsettled { patience.saturating_mul(2).min(LATER) } else { LATER };
                continue;
            }
            // No process is left that could ask.
            Err(Errno::EPIPE) => return,
            // Whoever asks waits for an answer, whatever failed here.
            Err(_) => {
                thread::sleep(TICK);
                continue;
            }
        };
        patience = SOON;
        let arrived = Instant::now();
        if let Some(call) = notification.call.filter(|_| !shared.is_done.load(Ordering::SeqCst)) {
            shared.work().call = Some((notification, arrived));
            let caller = if generation < MOST_STUCK { looker.look(notification.tid, &call) } else { None };
            let mut work = shared.work();
            if work.stuck != generation {
                // It took too long: the call was let go meanwhile, and another thread answers.
                return;
            }
            work.call = None;
            drop(work);
            // What was read of the process is right only if it still waits.
            if shared.listener.is_waiting(notification.id) {
                let after = arrived.saturating_duration_since(shared.start);
                shared.observer.creates(Creation { call, tid: notification.tid, after, caller });
            }
        }
        shared.listener.let_go(notification.id);
    }
}

/// Lets a call go on whose process could not be looked at in time, and has another thread answer from then on.
fn watch(shared: &Arc<Shared>, stopped: &mpsc::Receiver<()>, mut answering: JoinHandle<()>) {
    while stopped.recv_timeout(TICK) == Err(mpsc::RecvTimeoutError::Timeout) {
        let mut work = shared.work();
        let Some((notification, _)) = work.call.take_if(|(_, since)| since.elapsed() > LONGEST_LOOK) else { continue };
        work.stuck += 1;
        let generation = work.stuck;
        drop(work);
        if let Some(call) = notification.call {
            let after = shared.start.elapsed();
            shared.observer.creates(Creation { call, tid: notification.tid, after, caller: None });
        }
        shared.listener.let_go(notification.id);
        match answer_in_thread(shared, generation) {
            Ok(thread) => answering = thread,
            // Nobody answers any more: the last resort is to do it here.
            Err(_) => return answer_all(shared, generation.max(MOST_STUCK)),
        }
    }
    // One that is stuck is not waited for.
    if shared.work().call.is_none() {
        let _ = answering.join();
    }
}
