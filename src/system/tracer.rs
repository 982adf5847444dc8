//! Inspecting each process before it creates a System V IPC object, through seccomp notifications.
//!
//! A thread receives the waiting calls, inspects their processes, and lets them continue. Inspecting a process can
//! block, for example if another of its threads waits for a file system that does not answer. A second thread then lets
//! the call continue after [`MAX_INSPECTION`], and starts a new thread that replaces the first.

mod caller;
mod environment;
mod inspector;
mod proc;

use std::io;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::linux::seccomp::{CreatingCall, Listener, NotTraced, Notification};
use crate::system::stack::Modules;

pub(crate) use caller::{Caller, Process, Progress, progress};
use inspector::Inspector;

/// The maximum time that a process waits while it is inspected.
const MAX_INSPECTION: Duration = Duration::from_secs(1);
/// The interval at which the second thread checks whether the first is stuck.
const TICK: Duration = Duration::from_millis(250);
/// The time without a call after which the results of the last calls are checked, in milliseconds. Otherwise it is the
/// interval for checking whether the tracer stops.
const SOON: u8 = 1;
const LATER: u8 = 100;
/// The number of failures in a row after which calls are no longer answered. A few are normal: a thread can be killed
/// while its call is received. After more there is a pause.
const MAX_FAILURES: usize = 50;
const FEW_FAILURES: usize = 5;
const PAUSE: Duration = Duration::from_millis(10);
/// The number of stuck inspections after which processes are no longer inspected.
const MAX_STUCK: usize = 4;

/// A call that is about to be executed, and its caller.
#[derive(Debug)]
pub(crate) struct Creation {
    /// The call's arguments.
    pub call: CreatingCall,
    /// The calling thread; 0 if it has no id in our pid namespace.
    pub tid: i32,
    /// The time since the start of the tracer.
    pub after: Duration,
    /// The caller; `None` if it could not be inspected.
    pub caller: Option<Caller>,
}

/// Receives each call before it is executed. It must return within a few milliseconds, because the call waits.
pub(crate) trait Observer: Send + Sync + 'static {
    /// Receives a call, which is executed as soon as this returns.
    fn creates(&self, creation: Creation);

    /// Does pending work: it runs when there was no call for a few milliseconds. Returns whether it should be called
    /// again soon.
    fn settle(&self) -> bool;
}

/// The data to record about processes.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    /// The command whose descendants are traced. Ancestors are recorded up to this process.
    pub root: i32,
    /// Names of environment variables.
    pub variables: Vec<String>,
}

/// The threads that answer notifications. [`Tracer::stop`] ends them.
pub(crate) struct Tracer {
    shared: Arc<Shared>,
    /// Dropping these wakes the threads.
    stop: Option<(mpsc::Sender<()>, io::PipeWriter)>,
    watchdog: Option<JoinHandle<()>>,
}

struct Shared {
    /// `None` once the tracer has stopped or failed.
    listener: Mutex<Option<Arc<Listener>>>,
    failure: Mutex<Option<Failure>>,
    observer: Arc<dyn Observer>,
    wanted: Wanted,
    start: Instant,
    /// Whether processes are no longer inspected, and their calls continue at once.
    is_done: AtomicBool,
    /// Wakes the answering thread when the tracer stops.
    wake: io::PipeReader,
    /// Whether the threads should end.
    is_stopping: AtomicBool,
    work: Mutex<Work>,
}

/// The work of the answering thread.
#[derive(Debug, Default)]
struct Work {
    /// The call being inspected, and when that started.
    call: Option<(Notification, Instant)>,
    /// The number of answering threads given up as stuck.
    stuck: usize,
}

/// Why calls could not be answered any longer. Since then they fail with `ENOSYS`, as the kernel returns without a
/// listener. Otherwise they would wait for ever.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Failure {
    /// The system call that failed.
    pub call: &'static str,
    /// Its error.
    pub errno: Errno,
}

/// What is left of a tracer.
pub(crate) struct Stopped {
    /// The listener; `None` if it was closed, or a thread is just using it.
    pub listener: Option<Listener>,
    /// Why the tracer stopped early, if it did.
    pub failure: Option<Failure>,
}

impl Tracer {
    /// Starts the threads. `start` is the time when the command was started.
    ///
    /// # Errors
    /// Those of pipe(2) and of starting a thread. Then a process is left behind that lets every call continue, or, if that is impossible
    /// too, every call fails with `ENOSYS`.
    pub(crate) fn start(
        listener: Listener,
        wanted: Wanted,
        start: Instant,
        observer: Arc<dyn Observer>,
    ) -> Result<Tracer, NotTraced> {
        let not_traced = |error, listener: Option<Listener>| {
            let answered = listener.map(Listener::keep_answering);
            NotTraced { error, is_filtered: !matches!(answered, Some(Ok(()))) }
        };
        let (wake, waker) = match io::pipe() {
            Ok(pipe) => pipe,
            Err(error) => return Err(not_traced(error, Some(listener))),
        };
        let shared = Arc::new(Shared {
            wake,
            listener: Mutex::new(Some(Arc::new(listener))),
            failure: Mutex::default(),
            observer,
            wanted,
            start,
            is_done: AtomicBool::new(false),
            is_stopping: AtomicBool::new(false),
            work: Mutex::default(),
        });
        let (stop, stopped) = mpsc::channel();
        let watching = Arc::clone(&shared);
        match thread::Builder::new().spawn(move || watch(&watching, &stopped)) {
            Ok(watchdog) => Ok(Tracer { shared, stop: Some((stop, waker)), watchdog: Some(watchdog) }),
            Err(error) => Err(not_traced(error, shared.take_listener())),
        }
    }

    /// Stops inspecting processes: their calls now continue at once.
    pub(crate) fn stop_inspecting(&self) {
        self.shared.is_done.store(true, Ordering::SeqCst);
    }

    /// Ends the threads.
    pub(crate) fn stop(mut self) -> Stopped {
        self.shared.is_stopping.store(true, Ordering::SeqCst);
        drop(self.stop.take());
        if let Some(watchdog) = self.watchdog.take() {
            let _ = watchdog.join();
        }
        let failure = *self.shared.failure.lock().unwrap_or_else(PoisonError::into_inner);
        Stopped { listener: self.shared.take_listener(), failure }
    }
}

impl Shared {
    /// Returns the next waiting call. `None` after this number of milliseconds without one, and when the tracer stops.
    ///
    /// # Errors
    /// `EPIPE` once no process with the filter is left, since Linux 5.9, or the listener is closed.
    fn next(&self, patience: u8) -> Result<Option<Notification>, Failure> {
        let failed = |call| move |errno| Failure { call, errno };
        let Some(listener) = self.listener() else { return Err(failed("poll(2)")(Errno::EPIPE)) };
        let mut polled = [
            PollFd::from_borrowed_fd(listener.as_fd(), PollFlags::IN),
            PollFd::from_borrowed_fd(self.wake.as_fd(), PollFlags::IN),
        ];
        let limit = Timespec { tv_sec: 0, tv_nsec: i64::from(patience) * 1_000_000 };
        match poll(&mut polled, Some(&limit)) {
            Ok(0) => return Ok(None),
            Ok(_) => {}
            Err(errno) => return Err(failed("poll(2)")(Errno::from_raw(errno.raw_os_error()))),
        }
        match polled[0].revents() {
            events if events.contains(PollFlags::IN) => {
                listener.receive().map(Some).map_err(failed("ioctl(2) SECCOMP_IOCTL_NOTIF_RECV"))
            }
            events if !events.is_empty() => Err(failed("poll(2)")(Errno::EPIPE)),
            _ => Ok(None),
        }
    }

    fn listener(&self) -> Option<Arc<Listener>> {
        self.listener.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Takes the listener, unless a thread is just using it.
    fn take_listener(&self) -> Option<Listener> {
        self.listener.lock().unwrap_or_else(PoisonError::into_inner).take().and_then(Arc::into_inner)
    }

    /// Closes the listener, so that no call waits for ever.
    fn fail(&self, failure: Failure) {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(failure);
        self.listener.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    /// Lets a call continue.
    fn resume(&self, notification: &Notification) {
        if let Some(listener) = self.listener()
            && let Err(errno) = listener.resume(notification.id)
        {
            self.fail(Failure { call: "ioctl(2) SECCOMP_IOCTL_NOTIF_SEND", errno });
        }
    }

    /// Returns whether a call still waits. `None` if that cannot be determined.
    fn is_waiting(&self, notification: &Notification) -> Option<bool> {
        self.listener().map_or(Some(false), |listener| listener.is_waiting(notification.id).ok())
    }

    fn work(&self) -> MutexGuard<'_, Work> {
        self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn answer_in_thread(shared: &Arc<Shared>, generation: usize) -> io::Result<JoinHandle<()>> {
    let shared = Arc::clone(shared);
    thread::Builder::new().spawn(move || answer_all(&shared, generation))
}

/// Answers calls until the tracer stops, no process with the filter is left, or another thread replaces this one.
fn answer_all(shared: &Shared, generation: usize) {
    let mut inspector = Inspector::new(shared.wanted.clone(), Modules::default());
    let mut patience = SOON;
    let mut failures = 0;
    while !shared.is_stopping.load(Ordering::SeqCst) {
        let notification = match shared.next(patience) {
            Ok(Some(notification)) => notification,
            Ok(None) => {
                failures = 0;
                let is_unsettled = !shared.is_done.load(Ordering::SeqCst) && shared.observer.settle();
                patience = if is_unsettled { patience.saturating_mul(2).min(LATER) } else { LATER };
                continue;
            }
            // No process with the filter is left.
            Err(Failure { errno: Errno::EPIPE, .. }) => return,
            // The calling process waits for an answer, whatever failed here.
            Err(failure) => {
                failures += 1;
                if failures >= MAX_FAILURES {
                    return shared.fail(failure);
                }
                if failures > FEW_FAILURES {
                    thread::sleep(PAUSE);
                }
                continue;
            }
        };
        (patience, failures) = (SOON, 0);
        let arrived = Instant::now();
        if let Some(call) = notification.call.filter(|_| !shared.is_done.load(Ordering::SeqCst)) {
            shared.work().call = Some((notification, arrived));
            let caller = if generation < MAX_STUCK { inspector.inspect(notification.tid, &call) } else { None };
            let mut work = shared.work();
            if work.stuck != generation {
                // The inspection took too long: the call has already continued, and another thread answers now.
                return;
            }
            work.call = None;
            drop(work);
            // The data read from the process is valid only if it still waits.
            let is_waiting = shared.is_waiting(&notification);
            if is_waiting != Some(false) {
                let caller = caller.filter(|_| is_waiting == Some(true));
                let after = arrived.saturating_duration_since(shared.start);
                shared.observer.creates(Creation { call, tid: notification.tid, after, caller });
            }
        }
        shared.resume(&notification);
    }
}

/// Answers calls in the watching thread, which must not inspect processes: nobody watches this one.
fn answer_here(shared: &Shared) {
    let generation = {
        let mut work = shared.work();
        work.stuck = work.stuck.max(MAX_STUCK);
        work.stuck
    };
    answer_all(shared, generation);
}

/// Starts the answering thread. Lets a call continue if its process could not be inspected in time, and starts another answering thread.
fn watch(shared: &Arc<Shared>, stopped: &mpsc::Receiver<()>) {
    let Ok(mut answering) = answer_in_thread(shared, 0) else { return answer_here(shared) };
    while stopped.recv_timeout(TICK) == Err(mpsc::RecvTimeoutError::Timeout) {
        let mut work = shared.work();
        let Some((notification, _)) = work.call.take_if(|(_, since)| since.elapsed() > MAX_INSPECTION) else {
            continue;
        };
        work.stuck += 1;
        let generation = work.stuck;
        drop(work);
        if let Some(call) = notification.call {
            let after = shared.start.elapsed();
            shared.observer.creates(Creation { call, tid: notification.tid, after, caller: None });
        }
        shared.resume(&notification);
        match answer_in_thread(shared, generation) {
            Ok(thread) => answering = thread,
            // No other thread can answer, so this one does.
            Err(_) => return answer_here(shared),
        }
    }
    let mut work = shared.work();
    match work.call.take() {
        None => {
            drop(work);
            let _ = answering.join();
        }
        // The thread that inspects this call may be stuck, so it is not joined. Nobody else would answer the call: it was
        // received already.
        Some((notification, _)) => {
            work.stuck += 1;
            drop(work);
            shared.resume(&notification);
        }
    }
}
