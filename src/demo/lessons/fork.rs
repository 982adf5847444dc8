//! What a child has attached: everything after fork(2), nothing after execve(2).

use crate::demo::lesson::{Contents, Lesson, Script, step};
use crate::demo::name::{A, B, S};
use crate::sysv::Access::ReadWrite;

pub(super) const LESSON: Lesson = Lesson {
    name: "fork",
    about: "a child inherits attachments, and execve(2) drops them",
    needs_lasting_segments: false,
    contents: Contents::Text,
    script,
};

fn script() -> Script {
    Script {
        opening: "Process A has a segment attached and forks. Does its child have the segment, too? And what if the child runs \
                  another program?"
            .into(),
        steps: vec![
            step(
                "A creates a segment and attaches it",
                "The segment is in the address space of A now. NATTCH, the number of attachments, is 1.",
                [A.creates(S, 0o600), A.attaches(S, ReadWrite), A.writes(S, "from the parent")],
            ),
            step(
                "A forks, and its child B has the segment attached",
                "fork(2) copies the address space, and with it the attachment. B has the segment at the same address, although \
                 it has called neither shmget nor shmat. NATTCH counts both.",
                [A.forks(B), B.reads(S)],
            ),
            step(
                "B writes, and A reads it",
                "Other memory is copied by fork: what a child writes there, its parent never sees. A segment is shared.",
                [B.writes(S, "from the child"), A.reads(S)],
            ),
            step(
                "B executes another program",
                "execve(2) replaces the address space of B, so the attachment is gone: NATTCH is 1 again. The new program knows \
                 nothing about the segment. B is still the same process, with the same pid.",
                [B.executes()],
            ),
            step(
                "The new program attaches it",
                "It must know the key (or the identifier), for example from its arguments or from a configuration file. The \
                 kernel chooses another address.",
                [B.finds(S), B.attaches(S, ReadWrite)],
            ),
            step(
                "B exits without shmdt",
                "The end of a process detaches everything that it has attached. No shmdt is needed for that.",
                [B.exits()],
            ),
            step(
                "A removes and detaches it",
                "Only the end of a process is automatic. The segment itself goes with IPC_RMID and the last detach.",
                [A.removes(S), A.detaches(S)],
            ),
        ],
        closing: "Attach before you fork, and all children share the segment at the same address, so that even pointers into it \
                  work. A program that is executed later must attach again: give it the key or the identifier, and store offsets \
                  in the segment instead of pointers. A child that does not need the segment can call shmdt: only its own \
                  attachment goes."
            .into(),
        look_up: "shmat(2), section NOTES; fork(2); execve(2)",
    }
}
