//! Questions about other processes that may never be answered.
//!
//! Reading the command line, the memory map or the environment of a process waits for a lock of that process. The
//! process holds the lock while it is stuck in mmap(2), execve(2) or a page fault, for example on a dead file system.
//! Only SIGKILL ends such a wait. So a separate thread asks each question, and is abandoned if it gets no answer. All
//! questions together cost about [`PATIENCE`]. The threads end with this process.

use std::collections::BTreeSet;
use std::num::NonZero;
use std::ops::Range;
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicI32, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{Builder, JoinHandle, available_parallelism, current, park_timeout};
use std::time::{Duration, Instant};

use nix::sys::signal::SigSet;
use nix::unistd::gettid;

use super::process_stat::Stat;

/// The total time that this process waits for answers without any progress.
const PATIENCE: Duration = Duration::from_millis(150);
/// The interval for checking whether a thread makes progress.
const TICK: Duration = Duration::from_millis(3);
/// The number of unanswered questions after which no more are asked.
const MAX_UNANSWERED: usize = 32;
/// The minimum number of questions for each further thread.
const MIN_PER_THREAD: usize = 256;
/// The size of a thread's stack in bytes. A question needs little.
const STACK: usize = 256 << 10;

/// The processes that are known not to answer.
struct Silence {
    spent: Duration,
    pids: BTreeSet<i32>,
    /// The processes whose output is incomplete.
    missed: BTreeSet<i32>,
}

impl Silence {
    /// Forgets that a process did not answer. Once all answer again, there is time to wait for others.
    fn forget(&mut self, pid: i32) {
        self.pids.remove(&pid);
        if self.pids.is_empty() {
            self.spent = Duration::ZERO;
        }
    }
}

static SILENCE: Mutex<Silence> =
    Mutex::new(Silence { spent: Duration::ZERO, pids: BTreeSet::new(), missed: BTreeSet::new() });

/// Records that the output for these processes is incomplete, because they did not answer.
pub(crate) fn note_missed(pids: &[i32]) {
    silence(|silence| silence.missed.extend(pids));
}

/// Returns the processes whose output is incomplete, in ascending order of pid.
pub(crate) fn unanswered() -> Vec<i32> {
    silence(|silence| silence.missed.iter().copied().collect())
}

/// Asks a question about a process; `None` if there is no answer in time.
pub(crate) fn ask<T: Send + 'static>(pid: i32, question: impl Fn(i32) -> T + Send + Sync + 'static) -> Option<T> {
    let answer = ask_all(&[pid], question).pop().flatten();
    if answer.is_none() {
        note_missed(&[pid]);
    }
    answer
}

/// Asks the same question about many processes, with as many threads as there are processors. The answers are in the
/// order of the processes; `None` means no answer in time.
///
/// A namespace belongs to a thread (setns(2)), and a new thread starts in those of its creator.
pub(crate) fn ask_all<T: Send + 'static>(
    pids: &[i32],
    question: impl Fn(i32) -> T + Send + Sync + 'static,
) -> Vec<Option<T>> {
    let mut answers: Vec<Option<T>> = pids.iter().map(|_| None).collect();
    // A process that did not answer before would not answer now.
    let asked: Vec<usize> = silence(|silence| {
        let may_ask = silence.pids.len() < MAX_UNANSWERED;
        (0..pids.len()).filter(|index| may_ask && !silence.pids.contains(&pids[*index])).collect()
    });
    let list = asked.iter().map(|index| pids[*index]).collect();
    Round::new(list, question).run(|place, answer| answers[asked[place]] = Some(answer));
    answers
}

fn silence<T>(with: impl FnOnce(&mut Silence) -> T) -> T {
    with(&mut SILENCE.lock().unwrap_or_else(PoisonError::into_inner))
}

/// What the threads of one round share.
struct Shared<F> {
    pids: Vec<i32>,
    question: F,
    /// One for each processor that is used. Neighbouring pids are asked by the same thread, because the kernel's data of
    /// processes that started together is close together: two processors that alternate there slow each other down.
    parts: Vec<Part>,
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

impl<F> Shared<F> {
    /// Returns the next question of a part, or of another one if that part has none left.
    fn next(&self, first: usize) -> Option<usize> {
        let (before, from) = self.parts.split_at(first % self.parts.len());
        from.iter().chain(before).find_map(|part| {
            let place = part.next.fetch_add(1, Ordering::Relaxed);
            part.places.contains(&place).then_some(place)
        })
    }
}

/// A thread that asks.
struct Asker {
    thread: JoinHandle<()>,
    progress: Arc<Progress>,
    /// The value of `progress` at the last tick.
    seen: usize,
    is_stuck: bool,
}

#[derive(Default)]
struct Progress {
    /// The thread's id, once it runs.
    tid: AtomicI32,
    /// The number of the current question, counted from 1; 0 before the first.
    place: AtomicUsize,
}

/// A round of questions.
struct Round<T, F> {
    shared: Arc<Shared<F>>,
    sender: Sender<(usize, T)>,
    receiver: Receiver<(usize, T)>,
    askers: Vec<Asker>,
}

impl<T: Send + 'static, F: Fn(i32) -> T + Send + Sync + 'static> Round<T, F> {
    fn new(pids: Vec<i32>, question: F) -> Round<T, F> {
        let (sender, receiver) = channel();
        let wanted = pids.len().div_ceil(MIN_PER_THREAD);
        let threads = if wanted > 1 { wanted.min(available_parallelism().map_or(1, NonZero::get)) } else { 1 };
        let shared = Shared { parts: Part::split(pids.len(), threads), pids, question };
        Round { shared: Arc::new(shared), sender, receiver, askers: Vec::new() }
    }

    /// Asks all questions, and passes on each answer as it arrives.
    fn run(mut self, mut answered: impl FnMut(usize, T)) {
        let total = self.shared.pids.len();
        if total == 0 {
            return;
        }
        for _ in &Arc::clone(&self.shared).parts {
            self.add_asker();
        }
        if self.askers.is_empty() {
            // No thread could be started (RLIMIT_NPROC, a cgroup's pids.max): this thread asks.
            for (place, pid) in self.shared.pids.iter().enumerate() {
                answered(place, (self.shared.question)(*pid));
            }
            return;
        }
        let (mut is_answered, mut left, mut limit) = (vec![false; total], total, None);
        while left > 0 {
            let begun = Instant::now();
            // A wake-up for each answer would cost as much as the answers.
            park_timeout(TICK);
            let left_before = left;
            for (place, answer) in self.receiver.try_iter() {
                answered(place, answer);
                is_answered[place] = true;
                left -= 1;
            }
            if left == left_before && begun.elapsed() >= TICK && self.has_stalled(left) {
                let spent = silence(|silence| {
                    silence.spent += begun.elapsed();
                    silence.spent
                });
                // Only part of the remaining time, so that some is left for the next round.
                let limit = *limit.get_or_insert(spent + PATIENCE.saturating_sub(spent) / 2);
                if spent > limit {
                    break;
                }
            }
        }
        self.end(&is_answered);
    }

    /// Starts a thread, unless no more are allowed.
    fn add_asker(&mut self) {
        let (shared, sender, progress) = (Arc::clone(&self.shared), self.sender.clone(), Arc::<Progress>::default());
        let own = Arc::clone(&progress);
        let (asking, part) = (current(), self.askers.len());
        let work = move || {
            // A signal to this process must not be delivered to this thread, which cannot handle it.
            let _ = SigSet::all().thread_block();
            own.tid.store(gettid().as_raw(), Ordering::Relaxed);
            loop {
                let Some(place) = shared.next(part) else { return asking.unpark() };
                let pid = &shared.pids[place];
                own.place.store(place + 1, Ordering::Relaxed);
                if sender.send((place, (shared.question)(*pid))).is_err() {
                    // Too late for this round. But the process answers again, so the next round can ask it.
                    return silence(|silence| silence.forget(*pid));
                }
            }
        };
        if let Ok(thread) = Builder::new().stack_size(STACK).spawn(work) {
            self.askers.push(Asker { thread, progress, seen: 0, is_stuck: false });
        }
    }

    /// Finds threads without progress since the last tick, and starts others in their place. Returns whether no thread
    /// makes progress.
    fn has_stalled(&mut self, left: usize) -> bool {
        for asker in &mut self.askers {
            let place = asker.progress.place.load(Ordering::Relaxed);
            let is_same = place > 0 && place == asker.seen;
            let tid = asker.progress.tid.load(Ordering::Relaxed);
            asker.is_stuck = is_same && Stat::of_thread(tid).is_ok_and(|stat| stat.is_waiting());
            asker.seen = place;
        }
        let stuck = self.askers.iter().filter(|asker| asker.is_stuck).count();
        let is_stalled = self.askers.iter().all(|asker| asker.is_stuck || asker.thread.is_finished());
        if is_stalled && stuck < left && stuck < MAX_UNANSWERED {
            // Otherwise the remaining questions would wait for this thread.
            self.add_asker();
        }
        is_stalled
    }

    /// Records which processes have not answered, and joins the threads that have ended or are about to.
    fn end(self, is_answered: &[bool]) {
        // From here on no further question is started.
        let begun = self.shared.parts.iter().flat_map(|part| {
            let next = part.next.swap(part.places.end, Ordering::Relaxed);
            part.places.start..next.min(part.places.end)
        });
        let silent = begun.filter(|place| !is_answered[*place]).map(|place| self.shared.pids[place]);
        let is_over = is_answered.iter().all(|is_answered| *is_answered);
        silence(|silence| silence.pids.extend(silent));
        for asker in self.askers.into_iter().filter(|asker| is_over || asker.thread.is_finished()) {
            if let Err(panic) = asker.thread.join() {
                resume_unwind(panic);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_in_the_order_of_the_processes() {
        for length in [0, 1, 7, 1000] {
            let pids: Vec<i32> = (1..=length).collect();
            let answers = ask_all(&pids, |pid| 2 * pid);
            assert!(answers.into_iter().eq(pids.iter().map(|pid| Some(2 * pid))));
        }
    }

    #[test]
    fn a_process_that_answers_again_is_asked_again() {
        static ANSWERS: Mutex<()> = Mutex::new(());
        let pid = -7;
        let held = ANSWERS.lock();
        assert_eq!(ask(pid, |_| drop(ANSWERS.lock())), None);
        drop(held);
        let deadline = Instant::now() + Duration::from_secs(30);
        while ask(pid, |_| ()).is_none() {
            assert!(Instant::now() < deadline, "it is not asked again");
        }
    }
}
