//! Two writers that lose each other's updates, and a lock that prevents it.

use crate::demo::lesson::{Contents, Lesson, Script, Step, View, race, step};
use crate::demo::name::{A, B, S};
use crate::sysv::Access::ReadWrite;

/// How often each process adds 1.
const COUNT: u32 = 10_000;

pub(super) const LESSON: Lesson = Lesson {
    name: "race",
    about: "two writers lose updates; with a lock they lose none",
    needs_lasting_segments: false,
    contents: Contents::Number,
    script,
};

fn script() -> Script {
    let found = step(
        "How one update was lost",
        "This is one of those moments, as both processes recorded it. Around each read and write they drew tickets, numbers \
         from a common counter, which prove the order. Both read the same value and wrote the same result, so one of the two \
         additions is lost. `*n = *n + 1` is three things: read, add, write. Another process can come in between.",
        [],
    );
    Script {
        opening: "Processes A and B count in the same segment: each adds 1 to a number there, thousands of times. Shared memory \
                  has no order of its own."
            .into(),
        steps: vec![
            step(
                "A and B attach a segment",
                "Its first 8 bytes are the number, which begins at 0.",
                [
                    A.creates(S, 0o600),
                    A.attaches(S, ReadWrite),
                    A.clears(S),
                    B.finds(S),
                    B.attaches(S, ReadWrite),
                ],
            ),
            step(
                "Both count at the same time",
                "Each adds 1 {count} times. Two times {count} is {expected}, but the number is {found}: {lost} updates were lost.{again}",
                [race([A, B], S, COUNT, false)],
            ),
            Step { view: View::Interleaving, ..found },
            step(
                "The same with a lock",
                "The lock is in the segment as well. lock() tries to change a word from 0 to 1 with one atomic instruction, until it \
                 succeeds; unlock() makes it 0. From 0 again, the number is {found}: {lost} updates were lost.",
                [race([A, B], S, COUNT, true)],
            ),
            step(
                "A removes it, and both detach it",
                "With the last detach the segment is gone.",
                [A.removes(S), A.detaches(S), B.detaches(S)],
            ),
        ],
        closing: "Whatever two processes change needs a lock that both can see: a pthread_mutex_t in the segment, with the attribute \
                  PTHREAD_PROCESS_SHARED (and PTHREAD_MUTEX_ROBUST, so that a crash does not lock it for ever). For a single \
                  number, C11's atomic_fetch_add is enough. System V semaphores work, too. A test that passes once proves \
                  nothing: another run may lose none, or thousands.\n\
                  volatile does not help: it makes the compiler read and write each time, but another process can still come in between."
            .into(),
        look_up: "pthread_mutexattr_setpshared(3), atomic_fetch_add(3), semop(2)",
    }
}
