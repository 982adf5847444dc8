//! Questions about other processes that may never be answered.
//!
//! Reading the command line, the memory map or the environment of a process waits for a lock of that process. The
//! process holds the lock while it is stuck in mmap(2), execve(2) or a page fault, for example on a dead file system.
//! Only SIGKILL ends such a wait. So a separate thread asks each question, and is abandoned if it gets no answer. All
//! questions together cost about [`PATIENCE`]. The threads end with this process.

mod questions;
mod round;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use self::round::Round;
use super::process::real_uid;

/// The total time that this process waits for answers without any progress.
const PATIENCE: Duration = Duration::from_millis(150);
/// The number of unanswered questions after which no more are asked.
const MAX_UNANSWERED: usize = 256;
/// The same for the processes of one user, so that a user can hide only his own processes.
const MAX_OF_USER: usize = 32;

/// The processes that are known not to answer.
struct Silence {
    spent: Duration,
    /// Each with its real user, if that is known.
    pids: BTreeMap<i32, Option<u32>>,
    /// The processes whose output is incomplete.
    missed: BTreeSet<i32>,
    /// Whether processes were not asked because of others.
    has_refused: bool,
}

impl Silence {
    /// Forgets that a process did not answer. Once all answer again, there is time to wait for others.
    fn forget(&mut self, pid: i32) {
        self.pids.remove(&pid);
        if self.pids.is_empty() {
            self.spent = Duration::ZERO;
        }
    }

    /// Reads the users of the processes whose user is not known yet.
    fn find_users(&mut self) {
        for (pid, user) in self.pids.iter_mut().filter(|(_, user)| user.is_none()) {
            *user = real_uid(*pid);
        }
    }
}

static SILENCE: Mutex<Silence> =
    Mutex::new(Silence { spent: Duration::ZERO, pids: BTreeMap::new(), missed: BTreeSet::new(), has_refused: false });

/// Records that the output for these processes is incomplete, because they did not answer.
pub(crate) fn note_missed(pids: &[i32]) {
    silence(|silence| silence.missed.extend(pids));
}

/// Returns the processes whose output is incomplete, in ascending order of pid.
pub(crate) fn unanswered() -> Vec<i32> {
    silence(|silence| silence.missed.iter().copied().collect())
}

/// Returns why processes are not inspected, for messages.
pub(crate) fn reason() -> &'static str {
    if silence(|silence| silence.has_refused) {
        "stuck in the kernel, or not asked because many processes of their user are"
    } else {
        "stuck in the kernel"
    }
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
    // A process that did not answer before would not answer now.
    let asked: Vec<usize> = silence(|silence| {
        let may_ask = silence.pids.len() < MAX_UNANSWERED;
        (0..pids.len()).filter(|index| may_ask && !silence.pids.contains_key(&pids[*index])).collect()
    });
    let list = asked.iter().map(|index| pids[*index]).collect();
    let mut answers: Vec<Option<T>> = pids.iter().map(|_| None).collect();
    for (index, answer) in asked.into_iter().zip(Round::new(list, question).answers()) {
        answers[index] = answer;
    }
    answers
}

fn silence<T>(with: impl FnOnce(&mut Silence) -> T) -> T {
    with(&mut SILENCE.lock().unwrap_or_else(PoisonError::into_inner))
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

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

    #[test]
    fn many_silent_processes_hide_no_other() {
        static ANSWERS: Mutex<()> = Mutex::new(());
        let held = ANSWERS.lock();
        // No process has these pids, so they count for no user.
        let pids: Vec<i32> = (-400..-200).collect();
        let is_silent = |pid: i32| pid % 2 == 0;
        let answers = ask_all(&pids, move |pid| is_silent(pid).then(|| drop(ANSWERS.lock())));
        assert!(answers.iter().zip(&pids).all(|(answer, pid)| answer.is_none() == is_silent(*pid)), "{answers:?}");
        drop(held);
    }
}
