//! The questions of one round and their answers, which several threads share.

use std::collections::BTreeSet;
use std::mem;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::silence;
use crate::system::process::real_uid;

/// The same question about several processes.
pub(super) struct Questions<T, F> {
    pids: Vec<i32>,
    question: F,
    /// One for each processor that is used. Neighbouring pids are asked by the same thread, because the kernel's data of
    /// processes that started together is close together: two processors that alternate there slow each other down.
    parts: Vec<Part>,
    /// The answers, in the order of the pids.
    slots: Vec<Mutex<Slot<T>>>,
    /// The number of questions without an answer.
    left: AtomicUsize,
    /// The users whose processes are not asked, because too many of them do not answer.
    refused: Mutex<BTreeSet<u32>>,
    /// Whether there are such users.
    refuses: AtomicBool,
}

/// The place of an answer.
enum Slot<T> {
    Open,
    Answered(T),
    /// It is too late for an answer.
    Closed,
}

/// Consecutive questions. Each part has cache lines of its own, because its thread changes it with each question.
#[repr(align(128))]
struct Part {
    places: Range<usize>,
    next: AtomicUsize,
}

impl Part {
    /// Splits so many questions.
    fn split(total: usize, parts: usize) -> Vec<Part> {
        let bound = |part| total * part / parts;
        let part = |part| Part { places: bound(part)..bound(part + 1), next: AtomicUsize::new(bound(part)) };
        (0..parts).map(part).collect()
    }
}

impl<T, F: Fn(i32) -> T> Questions<T, F> {
    /// Creates questions about these processes, for so many threads.
    pub(super) fn new(pids: Vec<i32>, question: F, threads: usize) -> Questions<T, F> {
        let total = pids.len();
        Questions {
            question,
            parts: Part::split(total, threads),
            slots: pids.iter().map(|_| Mutex::new(Slot::Open)).collect(),
            pids,
            left: AtomicUsize::new(total),
            refused: Mutex::default(),
            refuses: AtomicBool::new(false),
        }
    }

    /// Returns the process that a question is about.
    pub(super) fn pid(&self, place: usize) -> i32 {
        self.pids[place]
    }

    /// Does not ask the processes of these users any more.
    pub(super) fn refuse(&self, users: BTreeSet<u32>) {
        self.refuses.store(!users.is_empty(), Ordering::Relaxed);
        *self.refused.lock().unwrap_or_else(PoisonError::into_inner) = users;
    }

    fn is_refused(&self, pid: i32) -> bool {
        let refused = || self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        self.refuses.load(Ordering::Relaxed) && real_uid(pid).is_some_and(|uid| refused().contains(&uid))
    }

    /// Returns whether there are questions that no thread has begun with.
    pub(super) fn has_unasked(&self) -> bool {
        self.parts.iter().any(|part| part.next.load(Ordering::Relaxed) < part.places.end)
    }

    /// Returns the number of questions without an answer.
    pub(super) fn left(&self) -> usize {
        self.left.load(Ordering::Relaxed)
    }

    /// Returns the next question of a part, or of another one if that part has none left.
    pub(super) fn next(&self, first: usize) -> Option<usize> {
        let (before, from) = self.parts.split_at(first.checked_rem(self.parts.len())?);
        from.iter().chain(before).find_map(|part| {
            let place = part.next.fetch_add(1, Ordering::Relaxed);
            part.places.contains(&place).then_some(place)
        })
    }

    /// Asks a question, and keeps the answer. Returns whether the answer is in time.
    pub(super) fn ask(&self, place: usize) -> bool {
        let pid = self.pids[place];
        let answer = if self.is_refused(pid) { None } else { Some((self.question)(pid)) };
        let mut slot = self.slot(place);
        if let Slot::Open = *slot {
            *slot = answer.map_or(Slot::Closed, Slot::Answered);
            self.left.fetch_sub(1, Ordering::Relaxed);
            return true;
        }
        drop(slot);
        // The process answers again, so the next round can ask it.
        silence(|silence| silence.forget(pid));
        false
    }

    /// Takes all answers. From here on no further question is started, and no answer is kept. The processes that have been
    /// asked and have not answered are recorded.
    pub(super) fn close(&self) -> Vec<Option<T>> {
        let begun = self.parts.iter().flat_map(|part| {
            let next = part.next.swap(part.places.end, Ordering::Relaxed).min(part.places.end);
            part.places.clone().map(move |place| place < next)
        });
        let take = |(place, is_begun): (usize, bool)| {
            let mut slot = self.slot(place);
            match mem::replace(&mut *slot, Slot::Closed) {
                Slot::Answered(answer) => Some(answer),
                Slot::Open if is_begun => {
                    // While the slot is locked: the thread that answers too late forgets the process again.
                    silence(|silence| silence.pids.insert(self.pids[place], None));
                    None
                }
                Slot::Open | Slot::Closed => None,
            }
        };
        begun.enumerate().map(take).collect()
    }

    fn slot(&self, place: usize) -> MutexGuard<'_, Slot<T>> {
        self.slots[place].lock().unwrap_or_else(PoisonError::into_inner)
    }
}
