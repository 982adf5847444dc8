//! A program asks for more than the segment has.

use crate::demo::lesson::{Contents, Lesson, PAGE, Script, step};
use crate::demo::name::{A, B, S};
use crate::sysv::Access::ReadWrite;
use crate::sysv::Errno;

pub(super) const LESSON: Lesson = Lesson {
    name: "resize",
    about: "EINVAL when a program asks for more than the segment has",
    needs_lasting_segments: false,
    contents: Contents::Text,
    script,
};

fn script() -> Script {
    Script {
        opening: "The new version of a program needs a larger segment. Somebody changes the size in the source, compiles, and \
                  shmget fails with EINVAL: \"Invalid argument\". Which argument?"
            .into(),
        steps: vec![
            step(
                "A creates a segment of 4096 bytes",
                "A is the old version of the program. It is still running, or it has exited and left its segment behind.",
                [A.creates(S, 0o600), A.attaches(S, ReadWrite), A.writes(S, "old")],
            ),
            step(
                "B asks for 8192 bytes",
                "B is the new version. A segment with this key exists, but it is smaller than B wants: EINVAL. The argument is the size. The size of a \
                 segment never changes.",
                [B.asks_for(S, 2 * PAGE, 0o600).fails(Errno::EINVAL)],
            ),
            step(
                "B asks with IPC_CREAT",
                "IPC_CREAT does not help. It creates a segment only if the key has none; otherwise it asks for the existing one, \
                 with the same result.",
                [B.asks_or_creates(S, 2 * PAGE, 0o600).fails(Errno::EINVAL)],
            ),
            step(
                "B asks for less",
                "Asking for at most what exists works, and so does 0, which means any size. The result is the same segment, which \
                 has 4096 bytes as before (SIZE).",
                [B.asks_for(S, 100, 0o600), B.finds(S)],
            ),
            step(
                "A removes it, and the key is free",
                "A still has the old segment attached, so it lives on without a key.",
                [A.removes(S), B.finds(S).may_fail(Errno::ENOENT)],
            ),
            step(
                "A detaches it",
                "The old segment is gone. Since its key is free, B can create one of 8192 bytes: a new segment, full of zeros.",
                [A.detaches(S)],
            ),
        ],
        closing: "Remove the old segment before the new version starts: `shmadm stat KEY` shows its size and who has it \
                  attached, `shmadm save FILE KEY` keeps its contents, and `shmadm remove KEY` removes it. In the program, report EINVAL of \
                  shmget as \"exists and is smaller\". shmget with size 0 finds a segment of any size, and shm_segsz of \
                  shmctl(IPC_STAT) tells how large it is."
            .into(),
        look_up: "shmget(2), section ERRORS; shmctl(2) with IPC_STAT",
    }
}
