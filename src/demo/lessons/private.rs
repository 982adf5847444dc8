//! `IPC_PRIVATE`: segments without a key.

use crate::demo::lesson::{Contents, Lesson, Script, step};
use crate::demo::name::{A, B, S, T};
use crate::sysv::Access::ReadWrite;

pub(super) const LESSON: Lesson = Lesson {
    name: "private",
    about: "IPC_PRIVATE: a new segment with each call, which no key finds",
    needs_lasting_segments: false,
    contents: Contents::Text,
    script,
};

fn script() -> Script {
    Script {
        opening: "IPC_PRIVATE stands where other calls have a key. The name promises too much: \"IPC_NEW\" would be better.".into(),
        steps: vec![
            step(
                "A calls shmget with IPC_PRIVATE",
                "IPC_PRIVATE is the number 0. The kernel creates a segment without a key (KEY 0x00000000).",
                [A.creates_private(S, 0o600), A.attaches(S, ReadWrite), A.writes(S, "the first")],
            ),
            step(
                "A makes the same call again",
                "It gets another segment, with another identifier. With a key there would be only one: the second call would find it, or fail with EEXIST because of IPC_EXCL.",
                [A.creates_private(T, 0o600), A.attaches(T, ReadWrite), A.writes(T, "the second")],
            ),
            step(
                "B attaches the first one by its identifier",
                "No key finds these segments. A has told B the identifier, through a pipe. A program can pass it in an argument, a \
                 file or a message, too. Private is not secret: every process of the same user may attach it.",
                [B.attaches(S, ReadWrite), B.reads(S)],
            ),
            step(
                "A removes both",
                "The second one is gone with its last detach. B still has the first one, which is marked for destruction (dest).",
                [A.removes(S), A.removes(T), A.detaches(T), A.detaches(S)],
            ),
            step("B detaches the first one", "Now it is gone, too.", [B.detaches(S)]),
        ],
        closing: "Use IPC_PRIVATE for memory that a process shares with its children (see `shmadm demo fork`): no other \
                  program can have the same key by chance. Nobody can find the segment again either, so a crash leaves an orphan \
                  that no key leads to. So remove the segment right after the fork: it works until the last detach. The mode protects it, not its name. `shmadm list \
                  --key private` shows such segments, and `shmadm remove id:N` removes one by its identifier."
            .into(),
        look_up: "shmget(2), section NOTES",
    }
}
