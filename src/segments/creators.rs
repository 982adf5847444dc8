//! Which call created which System V IPC object.
//!
//! Each call is recorded before it is executed, so its returned identifier is unknown. It is found by reading the tables
//! for new objects: when the next call is about to be executed, when nothing happens for a moment, and at the end.
//!
//! For a segment the kernel shows the creating process, but for no other object. So two calls that could be confused do
//! not run at the same time: the second waits a few milliseconds until the result of the first is known. If the result
//! stays unknown, the object has no creator: it is never guessed.

mod ledger;
#[cfg(test)]
mod tests;

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::segments::objects::{self, Object};
use crate::system::tracer::{self, Creation, Observer, Progress};
use crate::values::ObjectKind;
use ledger::Ledger;

/// The maximum time that a call waits for another one with which it could be confused. That one takes microseconds,
/// unless the machine is so busy that its process gets no processor.
const MAX_WAIT: Duration = Duration::from_millis(500);

/// The creator of an object, as far as it is known.
#[derive(Debug, Clone)]
pub(crate) enum Creator {
    /// This call created it.
    Call(Arc<Creation>),
    /// One of several calls created it, and it is impossible to determine which.
    OneOfSeveral,
}

/// Access to the kernel's tables, and to the state of calling threads. Tests use their own implementation.
pub(crate) trait Kernel: Send + Sync + 'static {
    /// Returns all objects of a kind.
    fn objects(&self, kind: ObjectKind) -> io::Result<Vec<Object>>;
    /// Returns the object with this index, which is the low bits of its identifier.
    fn object_at(&self, kind: ObjectKind, index: i32) -> Option<Object>;
    /// Returns the state of the call, as far as it can be determined.
    fn progress(&self, creation: &Creation) -> Progress;
}

/// The running kernel.
#[derive(Debug)]
pub(crate) struct ThisKernel;

impl Kernel for ThisKernel {
    fn objects(&self, kind: ObjectKind) -> io::Result<Vec<Object>> {
        objects::all(kind)
    }

    fn object_at(&self, kind: ObjectKind, index: i32) -> Option<Object> {
        objects::at(kind, index)
    }

    fn progress(&self, creation: &Creation) -> Progress {
        creation.caller.as_ref().map_or(Progress::Running, tracer::progress)
    }
}

/// All calls that may have created an object, and the objects that they created.
pub(crate) struct Creators<K = ThisKernel> {
    kernel: K,
    /// The inode of our IPC namespace: calls in another namespace create nothing in ours.
    namespace: Option<u64>,
    ledgers: Mutex<[Ledger; 3]>,
}

impl<K: Kernel> Creators<K> {
    /// Starts with the existing objects, which no call of the command created.
    ///
    /// # Errors
    /// Those of reading the kernel's tables.
    pub(crate) fn new(kernel: K, namespace: Option<u64>) -> io::Result<Creators<K>> {
        let ledger = |kind| Ok::<_, io::Error>(Ledger::new(kind, kernel.objects(kind)?));
        let [segments, semaphores, queues] = ObjectKind::ALL.map(ledger);
        let ledgers = Mutex::new([segments?, semaphores?, queues?]);
        Ok(Creators { kernel, namespace, ledgers })
    }

    /// Returns the creator of an object, as far as it is known; `None` if no call of the command created it.
    pub(crate) fn of(&self, object: &Object) -> Option<Creator> {
        self.ledgers().iter().find(|ledger| ledger.kind == object.kind)?.creator(object)
    }

    /// Determines one last time which objects the calls created. Call this after the last call has returned.
    pub(crate) fn finish(&self) {
        for ledger in self.ledgers().iter_mut() {
            ledger.read_table(&self.kernel);
        }
    }

    fn ledgers(&self) -> MutexGuard<'_, [Ledger; 3]> {
        self.ledgers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Kernel> Observer for Creators<K> {
    fn creates(&self, creation: Creation) {
        // If either is unknown, the call counts: otherwise its leak would not.
        let is_in_another_namespace =
            |caller: &tracer::Caller| caller.namespace.zip(self.namespace).is_some_and(|(theirs, ours)| theirs != ours);
        if creation.caller.as_ref().is_some_and(is_in_another_namespace) {
            return;
        }
        let mut ledgers = self.ledgers();
        let Some(ledger) = ledgers.iter_mut().find(|ledger| ledger.kind == creation.call.kind) else { return };
        ledger.call_of_thread(creation.tid, &self.kernel);
        let deadline = Instant::now() + MAX_WAIT;
        let mut pause = Duration::from_micros(20);
        while ledger.is_in_doubt(&creation, &self.kernel) {
            if Instant::now() > deadline {
                ledger.give_up(&creation);
                break;
            }
            sleep(pause);
            pause = (2 * pause).min(Duration::from_millis(1));
        }
        ledger.expect(creation);
    }

    fn settle(&self) -> bool {
        let mut ledgers = self.ledgers();
        for ledger in ledgers.iter_mut() {
            ledger.settle(&self.kernel);
        }
        ledgers.iter().any(Ledger::is_waiting)
    }
}
