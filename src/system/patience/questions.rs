//! The questions of one round and their answers, which several threads share.

use std::mem;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::silence;

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
        let slots = pids.iter().map(|_| Mutex::new(Slot::Open)).collect();
        Questions { pids, question, parts: Part::split(total, threads), slots, left: AtomicUsize::new(total) }
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
        let answer = (self.question)(pid);
        let mut slot = self.slot(place);
        if let Slot::Open = *slot {
            *slot = Slot::Answered(answer);
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
                Slot::Open | Slot::Closed => {
                    if is_begun {
                        // While the slot is locked: the thread that answers too late forgets the process again.
                        silence(|silence| silence.pids.insert(self.pids[place]));
                    }
                    None
                }
            }
        };
        begun.enumerate().map(take).collect()
    }

    fn slot(&self, place: usize) -> MutexGuard<'_, Slot<T>> {
        self.slots[place].lock().unwrap_or_else(PoisonError::into_inner)
    }
}
