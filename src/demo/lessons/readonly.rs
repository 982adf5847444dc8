//! A write to a read-only attachment.

use crate::demo::lesson::{Contents, Lesson, Script, step};
use crate::demo::name::{A, B, S};
use crate::sysv::Access::{Read, ReadWrite};

pub(super) const LESSON: Lesson = Lesson {
    name: "readonly",
    about: "SHM_RDONLY, and the SIGSEGV of a process that writes nevertheless",
    needs_lasting_segments: false,
    contents: Contents::Text,
    script,
};

fn script() -> Script {
    Script {
        opening: "Process B only wants to read, and says so. Then it writes by mistake.".into(),
        steps: vec![
            step(
                "A creates a segment and writes to it",
                "A has it attached for reading and writing (rw).",
                [A.creates(S, 0o600), A.attaches(S, ReadWrite), A.writes(S, "hello from A")],
            ),
            step(
                "B attaches it with SHM_RDONLY",
                "B gets an address as A did, and can read there (ro). This is a matter of the attachment: the mode of the segment \
                 would allow B to write.",
                [B.finds(S), B.attaches(S, Read), B.reads(S)],
            ),
            step(
                "B writes one byte",
                "No call fails, because there is none: a write to memory has no result. The processor refuses it, and the kernel \
                 sends SIGSEGV, as for a NULL pointer. B is dead.",
                [B.stores(S, b'X')],
            ),
            step(
                "A reads the segment",
                "Nothing has changed there. The mistake of B has hurt only B.",
                [A.reads(S)],
            ),
            step(
                "A writes the same byte",
                "A may: its own attachment is for reading and writing.",
                [A.stores(S, b'X'), A.reads(S)],
            ),
            step("A removes and detaches it", "The segment is gone.", [A.removes(S), A.detaches(S)]),
        ],
        closing: "Attach with SHM_RDONLY wherever you only read: a mistake then shows at once, at the line that makes it, and cannot \
                  damage what others use. If your program dies with SIGSEGV at an address of a segment, look at the third argument \
                  of its shmat. To forbid writing to other users, use the mode of the segment: see `shmadm demo permissions`."
            .into(),
        look_up: "shmat(2) with SHM_RDONLY, signal(7)",
    }
}
