//! A process that is killed: the kernel detaches its segments, and leaves them.

use crate::demo::lesson::{Contents, Lesson, Script, step};
use crate::demo::name::{A, B, C, S};
use crate::sysv::Access::{Read, ReadWrite};

pub(super) const LESSON: Lesson = Lesson {
    name: "crash",
    about: "a killed process is detached, but its segment stays, as it was left",
    needs_lasting_segments: true,
    contents: Contents::Text,
    script,
};

fn script() -> Script {
    Script {
        opening: "Process A shares a segment with B and is killed. What becomes of the segment, and of what A was about to write?"
            .into(),
        steps: vec![
            step(
                "A creates a segment, and A and B attach it",
                "Both have the segment attached: NATTCH, the number of attachments, is 2.",
                [A.creates(S, 0o600), A.attaches(S, ReadWrite), B.finds(S), B.attaches(S, ReadWrite)],
            ),
            step(
                "A begins to write",
                "A wants to store two values that belong together. It has stored the first one.",
                [A.writes(S, "width=80 height=")],
            ),
            step(
                "A is killed with SIGKILL",
                "A could not clean up: no program can catch this signal. The kernel detaches what A had attached, so NATTCH is 1. \
                 The segment stays.",
                [A.is_killed()],
            ),
            step(
                "B reads what A has left",
                "B sees the write of A as far as it came. Nothing tells B that A has gone. If A had held a lock in the segment, \
                 the lock would stay locked.",
                [B.reads(S)],
            ),
            step(
                "B is killed, too",
                "Nobody has the segment attached (NATTCH 0), and its creator and its last user have ended: shmadm calls it an orphan (STATUS). It still \
                 uses memory, and it stays until somebody removes it or the machine restarts.",
                [B.is_killed()],
            ),
            step(
                "C starts and finds the old segment",
                "The key leads C to the segment that A made, with its old contents. A program that expects zeros there is wrong.",
                [C.finds(S), C.attaches(S, Read), C.reads(S)],
            ),
            step(
                "C removes it",
                "Any process of the same user may do that.",
                [C.removes(S), C.detaches(S)],
            ),
        ],
        closing: "When a program starts again, it must not trust what is in a segment: keep a mark \"complete\" there, clear it before each change, \
                  and set it last. \
                  Use a robust mutex (PTHREAD_MUTEX_ROBUST), which tells the next process that its owner died. Or remove the \
                  segment as soon as all have attached it: it then goes with the last process, however that ends.\n\
                  `shmadm list --orphaned` shows what crashed programs have left, and `shmadm remove --orphaned --idle 1d` removes \
                  what has been idle for a day."
            .into(),
        look_up: "shmctl(2) with IPC_RMID, pthread_mutexattr_setrobust(3)",
    }
}
