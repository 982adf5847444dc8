//! A round: the threads that ask, and waiting for them.

use std::collections::BTreeMap;
use std::num::NonZero;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, AtomicUsize, Ordering};
use std::thread::{Builder, JoinHandle, available_parallelism, current, park_timeout};
use std::time::{Duration, Instant};

use nix::sys::signal::SigSet;
use nix::unistd::gettid;

use super::questions::Questions;
use super::{MAX_OF_USER, MAX_UNANSWERED, PATIENCE, Silence, silence};
use crate::system::process::real_uid;
use crate::system::process_stat::Stat;

/// The interval for checking whether a thread makes progress.
const TICK: Duration = Duration::from_millis(3);
/// The minimum number of questions for each further thread.
const MIN_PER_THREAD: usize = 256;
/// The maximum number of threads for each processor in a long round. On a busy machine each thread gets a share of the
/// processors, so that with more threads the processes of others take less.
const THREADS_PER_PROCESSOR: usize = 4;
/// The size of a thread's stack in bytes. A question needs little.
const STACK: usize = 256 << 10;

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
pub(super) struct Round<T, F> {
    questions: Arc<Questions<T, F>>,
    askers: Vec<Asker>,
    /// The maximum number of threads without stuck ones.
    max_busy: usize,
}

impl<T: Send + 'static, F: Fn(i32) -> T + Send + Sync + 'static> Round<T, F> {
    pub(super) fn new(pids: Vec<i32>, question: F) -> Round<T, F> {
        let wanted = pids.len().div_ceil(MIN_PER_THREAD);
        let processors = if wanted > 1 { available_parallelism().map_or(1, NonZero::get) } else { 1 };
        let threads = wanted.min(processors);
        let questions = Arc::new(Questions::new(pids, question, threads));
        let max_busy = wanted.min(THREADS_PER_PROCESSOR * processors);
        let mut round = Round { questions, askers: Vec::new(), max_busy };
        round.refuse_users();
        (0..threads).for_each(|_| round.add_asker());
        round
    }

    /// Waits for the answers, and returns them.
    pub(super) fn answers(mut self) -> Vec<Option<T>> {
        let questions = Arc::clone(&self.questions);
        if self.askers.is_empty() {
            // No thread could be started (RLIMIT_NPROC, a cgroup's pids.max): this thread asks.
            while let Some(place) = questions.next(0) {
                questions.ask(place);
            }
        }
        let (mut left_before, mut limit) = (questions.left(), None);
        while questions.left() > 0 {
            let begun = Instant::now();
            // A wake-up for each answer would cost as much as the answers.
            park_timeout(TICK);
            let left_now = questions.left();
            if left_now > 0 && begun.elapsed() >= TICK && self.askers.len() < self.max_busy {
                self.add_asker();
            }
            if left_now == left_before && begun.elapsed() >= TICK && self.has_stalled() {
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
            left_before = left_now;
        }
        let answers = questions.close();
        silence(Silence::find_users);
        self.join(answers.iter().all(Option::is_some));
        answers
    }

    /// Starts a thread, unless no more are allowed.
    fn add_asker(&mut self) {
        let (questions, progress) = (Arc::clone(&self.questions), Arc::<Progress>::default());
        let own = Arc::clone(&progress);
        let (asking, part) = (current(), self.askers.len());
        let work = move || {
            // A signal to this process must not be delivered to this thread, which cannot handle it.
            let _ = SigSet::all().thread_block();
            own.tid.store(gettid().as_raw(), Ordering::Relaxed);
            loop {
                let Some(place) = questions.next(part) else { return asking.unpark() };
                own.place.store(place + 1, Ordering::Relaxed);
                if !questions.ask(place) {
                    return;
                }
            }
        };
        if let Ok(thread) = Builder::new().stack_size(STACK).spawn(work) {
            self.askers.push(Asker { thread, progress, seen: 0, is_stuck: false });
        }
    }

    /// Finds threads without progress since the last tick. If none makes progress, starts others for the remaining
    /// questions: as many as there are, so that even hundreds of stuck processes cost few ticks. Returns whether there is
    /// nothing to do but wait.
    fn has_stalled(&mut self) -> bool {
        for asker in &mut self.askers {
            let place = asker.progress.place.load(Ordering::Relaxed);
            let is_same = place > 0 && place == asker.seen;
            let tid = asker.progress.tid.load(Ordering::Relaxed);
            asker.is_stuck = is_same && Stat::of_thread(tid).is_ok_and(|stat| stat.is_waiting());
            asker.seen = place;
        }
        let stuck = self.askers.iter().filter(|asker| asker.is_stuck).count();
        let is_stalled = self.askers.iter().all(|asker| asker.is_stuck || asker.thread.is_finished());
        if !is_stalled || stuck >= MAX_UNANSWERED || !self.questions.has_unasked() {
            return is_stalled;
        }
        self.refuse_users();
        let before = self.askers.len();
        for _ in 0..stuck.min(MAX_UNANSWERED - stuck) {
            self.add_asker();
        }
        self.askers.len() == before
    }

    /// Refuses the users of too many processes that do not answer, now or in an earlier round.
    fn refuse_users(&self) {
        let mut users = silence(|silence| silence.pids.clone());
        let stuck = self.askers.iter().filter(|asker| asker.is_stuck);
        let pids = stuck.map(|asker| self.questions.pid(asker.seen - 1));
        users.extend(pids.map(|pid| (pid, real_uid(pid))));
        let mut numbers = BTreeMap::<u32, usize>::new();
        users.into_values().flatten().for_each(|user| *numbers.entry(user).or_default() += 1);
        numbers.retain(|_, number| *number >= MAX_OF_USER);
        silence(|silence| silence.has_refused |= !numbers.is_empty());
        self.questions.refuse(numbers.into_keys().collect());
    }

    /// Joins the threads that have ended or are about to.
    fn join(self, are_over: bool) {
        for asker in self.askers.into_iter().filter(|asker| are_over || asker.thread.is_finished()) {
            if let Err(panic) = asker.thread.join() {
                resume_unwind(panic);
            }
        }
    }
}
