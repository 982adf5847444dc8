//! Questions about other processes that the kernel may leave unanswered for ever.
//!
//! Who reads the command line, the memory map or the environment of a process waits for a lock of that process. It holds
//! the lock for as long as it sticks in mmap(2), execve(2) or a page fault, say on a file system that has gone. Only
//! SIGKILL ends such a wait, so each question is asked by a thread of its own, which is left behind if it is not answered.
//! All of them together cost about [`PATIENCE`]. When this process ends, so do the threads.

use std::collections::BTreeSet;
use std::num::NonZero;
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicI32, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{Builder, JoinHandle, available_parallelism};
use std::time::{Duration, Instant};

use nix::sys::signal::SigSet;
use nix::unistd::gettid;

use super::process::is_waiting;

/// How long this process waits for answers in all, while nothing else goes on.
const PATIENCE: Duration = Duration::from_millis(150);
/// How often it looks whether a thread still makes progress.
const TICK: Duration = Duration::from_millis(3);
/// After so many unanswered questions there are no more.
const MOST_UNANSWERED: usize = 32;
/// Not worth a second thread.
const FEW: usize = 256;
/// A question needs little.
const STACK: usize = 256 << 10;

/// What this process has learned about who does not answer.
struct Silence {
    spent: Duration,
    pids: BTreeSet<i32>,
    /// Those of which something that was to be shown is missing.
    missed: BTreeSet<i32>,
}

static SILENCE: Mutex<Silence> =
    Mutex::new(Silence { spent: Duration::ZERO, pids: BTreeSet::new(), missed: BTreeSet::new() });

/// Notes that something that was to be shown of these processes is missing, because they did not answer.
pub(crate) fn note_missed(pids: &[i32]) {
    silence(|silence| silence.missed.extend(pids));
}

/// Returns the processes of which something that was to be shown is missing, the lowest pid first.
pub(crate) fn unanswered() -> Vec<i32> {
    silence(|silence| silence.missed.iter().copied().collect())
}

/// Asks a question about a process; `None` if it is not answered in time.
pub(crate) fn ask<T: Send + 'static>(pid: i32, question: impl Fn(i32) -> T + Send + Sync + 'static) -> Option<T> {
    let answer = ask_all(&[pid], question).pop().flatten();
    if answer.is_none() {
        note_missed(&[pid]);
    }
    answer
}

/// Asks the same of many processes, by as many threads as there are processors. The answers come in the order of the
/// processes; `None` is one that was not answered in time.
///
/// A namespace belongs to a thread (setns(2)), and a new thread begins in those of the one that started it.
pub(crate) fn ask_all<T: Send + 'static>(
    pids: &[i32],
    question: impl Fn(i32) -> T + Send + Sync + 'static,
) -> Vec<Option<T>> {
    let mut answers: Vec<Option<T>> = pids.iter().map(|_| None).collect();
    // Those that did not answer before would not do so now.
    let asked: Vec<usize> = silence(|silence| {
        let may_ask = silence.pids.len() < MOST_UNANSWERED;
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
    next: AtomicUsize,
}

/// A thread that asks.
struct Asker {
    thread: JoinHandle<()>,
    progress: Arc<Progress>,
    /// What `progress` said at the last tick.
    seen: usize,
    is_stuck: bool,
}

#[derive(Default)]
struct Progress {
    /// The thread's number, once it runs.
    tid: AtomicI32,
    /// Which question it asks, counted from 1; 0 before the first.
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
        let shared = Shared { pids, question, next: AtomicUsize::new(0) };
        Round { shared: Arc::new(shared), sender, receiver, askers: Vec::new() }
    }

    /// Asks all, and gives each answer away as it comes.
    fn run(mut self, mut answered: impl FnMut(usize, T)) {
        let total = self.shared.pids.len();
        let processors = available_parallelism().map_or(1, NonZero::get);
        for _ in 0..total.div_ceil(FEW).min(processors) {
            self.add_asker();
        }
        if self.askers.is_empty() {
            // No thread can be had (RLIMIT_NPROC, a cgroup's pids.max): this one asks.
            for (place, pid) in self.shared.pids.iter().enumerate() {
                answered(place, (self.shared.question)(*pid));
            }
            return;
        }
        let (mut is_answered, mut left, mut limit) = (vec![false; total], total, None);
        while left > 0 {
            let begun = Instant::now();
            match self.receiver.recv_timeout(TICK) {
                Ok((place, answer)) => {
                    answered(place, answer);
                    is_answered[place] = true;
                    left -= 1;
                }
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                    if self.has_stalled(left) {
                        let spent = silence(|silence| {
                            silence.spent += begun.elapsed();
                            silence.spent
                        });
                        // A part of what is left, so that the next round has some of it, too.
                        let limit = *limit.get_or_insert(spent + PATIENCE.saturating_sub(spent) / 2);
                        if spent > limit {
                            break;
                        }
                    }
                }
            }
        }
        self.end(&is_answered);
    }

    fn add_asker(&mut self) -> bool {
        let (shared, sender, progress) = (Arc::clone(&self.shared), self.sender.clone(), Arc::<Progress>::default());
        let own = Arc::clone(&progress);
        let work = move || {
            // A signal to this process must not find this thread, which cannot act on it.
            let _ = SigSet::all().thread_block();
            own.tid.store(gettid().as_raw(), Ordering::Relaxed);
            loop {
                let place = shared.next.fetch_add(1, Ordering::Relaxed);
                let Some(pid) = shared.pids.get(place) else { return };
                own.place.store(place + 1, Ordering::Relaxed);
                if sender.send((place, (shared.question)(*pid))).is_err() {
                    return;
                }
            }
        };
        match Builder::new().stack_size(STACK).spawn(work) {
            Ok(thread) => self.askers.push(Asker { thread, progress, seen: 0, is_stuck: false }),
            Err(_) => return false,
        }
        true
    }

    /// Looks which threads wait for the same as before, starts others in their place, and returns whether no thread
    /// makes progress.
    fn has_stalled(&mut self, left: usize) -> bool {
        for asker in &mut self.askers {
            let place = asker.progress.place.load(Ordering::Relaxed);
            let is_same = place > 0 && place == asker.seen;
            asker.is_stuck = is_same && is_waiting(asker.progress.tid.load(Ordering::Relaxed));
            asker.seen = place;
        }
        let stuck = self.askers.iter().filter(|asker| asker.is_stuck).count();
        let is_stalled = self.askers.iter().all(|asker| asker.is_stuck || asker.thread.is_finished());
        if is_stalled && stuck < left && stuck < MOST_UNANSWERED {
            // Other questions wait behind these.
            self.add_asker();
        }
        is_stalled
    }

    /// Notes who has not answered, and waits for the threads that have ended or are about to.
    fn end(self, is_answered: &[bool]) {
        let total = is_answered.len();
        // Nothing more is begun.
        let begun = self.shared.next.swap(total, Ordering::Relaxed).min(total);
        let silent = (0..begun).filter(|place| !is_answered[*place]).map(|place| self.shared.pids[place]);
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
    fn all_answers_come_in_order() {
        for length in [0, 1, 7, 1000] {
            let pids: Vec<i32> = (1..=length).collect();
            let answers = ask_all(&pids, |pid| 2 * pid);
            assert!(answers.into_iter().eq(pids.iter().map(|pid| Some(2 * pid))));
        }
    }
}
