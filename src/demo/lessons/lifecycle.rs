//! The life of a segment, for a reader who has never seen one.

use crate::demo::lesson::{Contents, Lesson, Script, Step, step};
use crate::demo::name::{A, B, S};
use crate::segments::rmid_forced::is_rmid_forced;
use crate::sysv::Access::{Read, ReadWrite};
use crate::sysv::Errno;

pub(super) const LESSON: Lesson = Lesson {
    name: "lifecycle",
    about: "the life of a segment: create, attach, write, read, detach, remove",
    needs_lasting_segments: false,
    contents: Contents::Text,
    script,
};

fn script() -> Script {
    let is_forced = is_rmid_forced();
    let stays = if is_forced {
        "Usually a segment stays until somebody removes it. Here sysctl kernel.shm_rmid_forced is 1, and no segment \
         outlives its users."
    } else {
        "The segment belongs to no process: it stays until somebody removes it."
    };
    Script {
        opening: "System V shared memory: two real processes, A and B, share a real segment. Each step shows the system calls \
                  and what they returned, who has the segment attached and at which address, and the row of the segment in \
                  `shmadm list`. `shmadm list -o help` explains the columns."
            .into(),
        steps: steps(stays),
        closing: if is_forced {
            "Here (kernel.shm_rmid_forced is 1) the last detach would have destroyed the segment without step 7, too. \
             Elsewhere it stays until `shmadm remove` removes it."
        } else {
            "Without step 7 the segment would still exist, even after A and B have exited. Every program that creates a \
             segment needs a place where it removes it. `shmadm list` shows the segments that exist, and `shmadm remove` \
             removes them."
        }
        .into(),
        look_up: "shmget(2), shmat(2), shmdt(2), and shmctl(2) with IPC_RMID",
    }
}

fn steps(stays: &str) -> Vec<Step> {
    let last = step(
        "B detaches it, and it is gone",
        "That was the last attachment of a marked segment, so the kernel destroys it. Its memory is free, and its identifier is \
         no longer valid.",
        [B.detaches(S), A.inspects(S).may_fail(Errno::EINVAL)],
    );
    vec![
        step(
            "A creates the segment",
            &format!(
                "A asks for 4096 bytes under a key, a number that other programs can know too. The kernel creates a segment and \
                 returns its identifier, which the other calls take. (0 is an identifier, too; an error would be -1.) {stays} It \
                 uses no memory yet (RSS 0)."
            ),
            [A.creates(S, 0o600)],
        ),
        step(
            "A attaches it",
            "A process must attach a segment before it can read or write it. The kernel puts it into the address space of A, and \
             returns its address. NATTCH counts the attachments.",
            [A.attaches(S, ReadWrite)],
        ),
        step(
            "A writes to it",
            "A stores a text there. This needs no System V call: once attached, a segment is memory like any other. The kernel \
             allocates a page only now (RSS).",
            [A.writes(S, "hello from A")],
        ),
        step(
            "B attaches it too",
            "B knows the key, finds the segment by it, and gets the same identifier. It attaches the segment read-only, at \
             another address: NATTCH is one more.",
            [B.finds(S), B.attaches(S, Read)],
        ),
        step(
            "B reads what A has written",
            "B reads at its address what A stored at another. Both addresses lead to the same memory, so nothing was sent or \
             copied. The kernel's table shows the segment to everybody, and this is its row.",
            [B.reads(S)],
        ),
        step(
            "A detaches it",
            "A detaches the segment, and can no longer use that address. The segment stays, with its contents, and B still has \
             it attached.",
            [A.detaches(S)],
        ),
        step(
            "A removes it while B has it attached",
            "The kernel does not take memory away from B: it only marks the segment for destruction (STATUS dest). The segment \
             has lost its key, which shows as 0. The key is free at once, and no longer finds this segment. B can still read it.",
            [A.removes(S), A.finds(S).may_fail(Errno::ENOENT)],
        ),
        Step {
            otherwise: Some((
                "B detaches it, but somebody else has it attached",
                "The kernel destroys a marked segment with its last detach. But another process has attached this one meanwhile. \
                 It is destroyed when that process detaches or ends.",
            )),
            ..last
        },
    ]
}
