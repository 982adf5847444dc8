//! Who may attach a segment: EACCES, and what the mode has to do with it.

use crate::demo::lesson::{Contents, Lesson, PAGE, Script, Step, step};
use crate::demo::name::{A, B, S};
use crate::demo::user::can_become_user;
use crate::sysv::Access::{Read, ReadWrite};
use crate::sysv::Errno;

/// The user that B becomes: "nobody" on most machines.
const OTHER: u32 = 65534;

pub(super) const LESSON: Lesson = Lesson {
    name: "permissions",
    about: "EACCES: who may attach a segment, and what its mode says",
    needs_lasting_segments: false,
    contents: Contents::Text,
    script,
};

fn script() -> Script {
    let (opening, steps) = if can_become_user(OTHER) {
        ("Process A is root. B becomes another user, and wants to use the segment of A.", two_users())
    } else {
        (
            "This lesson is about other users. Only the machine's root can show it with two of them: `sudo shmadm demo permissions`. Here, A and B \
             are the same user, and B locks itself out: the kernel checks the mode for the owner, too.",
            one_user(),
        )
    };
    Script {
        opening: opening.into(),
        steps,
        closing: "Choose the mode when you create the segment: 0600 for one user, 0660 with a group for several, and 0666 only if every \
                  user of the machine may read and change your data. `shmadm stat KEY` shows owner and mode, and `shmadm set KEY \
                  --mode 660 --group GROUP` changes them. root may do everything, so a test as root proves \
                  nothing."
            .into(),
        look_up: "shmget(2) and shmat(2), sections ERRORS; shmctl(2) with IPC_SET; sysvipc(7)",
    }
}

fn two_users() -> Vec<Step> {
    vec![
        step(
            "A creates a segment with mode 0600",
            "Read and write for the owner, nothing for group and others, as for a file (PERMS).",
            [A.creates(S, 0o600), A.attaches(S, ReadWrite), A.writes(S, "hello from A")],
        ),
        step(
            "B becomes another user and finds the segment",
            "B has left the groups of root, too. shmget without permission bits checks nothing: everybody may know that a segment exists.",
            [B.becomes(OTHER), B.finds(S)],
        ),
        step(
            "B wants to attach it",
            "The mode has three bits for the owner, three for the group, and three for others: read, write, and one that is not used. \
             B is one of the others, and their bits are 0: EACCES, \"Permission denied\".",
            [B.attaches(S, Read).fails(Errno::EACCES)],
        ),
        step(
            "B calls shmget as most programs do",
            "If the segment exists, the mode in this call says what B wants to do: 0666 asks for reading and writing. So most programs of another user fail \
             here already.",
            [B.asks_or_creates(S, PAGE, 0o666).fails(Errno::EACCES)],
        ),
        step(
            "A permits others to read",
            "The owner, the creator and root can change the mode at any time. Now B may attach it, but only with SHM_RDONLY.",
            [A.sets_mode(S, 0o644), B.attaches(S, ReadWrite).fails(Errno::EACCES), B.attaches(S, Read), B.reads(S)],
        ),
        step(
            "B wants to remove it",
            "No mode permits that: only the owner, the creator and root may remove a segment. This error is EPERM.",
            [B.removes(S).fails(Errno::EPERM)],
        ),
        step(
            "A forbids it again",
            "The mode is checked when a process attaches. B keeps what it has.",
            [A.sets_mode(S, 0o600), B.reads(S)],
        ),
        step("A removes it, and both detach it", "The segment is gone.", [A.removes(S), A.detaches(S), B.detaches(S)]),
    ]
}

fn one_user() -> Vec<Step> {
    vec![
        step(
            "A creates a segment with mode 0600",
            "Read and write for the owner, nothing for group and others, as for a file (PERMS).",
            [A.creates(S, 0o600), A.attaches(S, ReadWrite), A.writes(S, "hello from A")],
        ),
        step(
            "B, of the same user, attaches and detaches it",
            "A and B are the same user. For B the first three bits of the mode count: read and write. It does not matter which \
             process created the segment.",
            [B.drops_privileges(), B.finds(S), B.attaches(S, ReadWrite), B.detaches(S)],
        ),
        step(
            "A takes away the permission to write",
            "B may attach the segment only with SHM_RDONLY now. Without it: EACCES, \"Permission denied\".",
            [A.sets_mode(S, 0o400), B.attaches(S, ReadWrite).fails(Errno::EACCES), B.attaches(S, Read)],
        ),
        step(
            "A takes away all permissions",
            "The mode is checked when a process attaches, so B keeps what it has. Nobody but root can attach the segment now, not \
             even its owner.",
            [B.detaches(S), A.sets_mode(S, 0), B.attaches(S, Read).fails(Errno::EACCES)],
        ),
        step(
            "B calls shmget as most programs do",
            "If the segment exists, the mode in this call says what B wants to do: 0600 asks for reading and writing. A program of another user fails here in \
             the same way.",
            [B.asks_or_creates(S, PAGE, 0o600).fails(Errno::EACCES), B.finds(S)],
        ),
        step(
            "B removes it",
            "The owner may always remove a segment and change its mode: no bit of the mode is about that. Another user would get \
             EPERM.",
            [B.removes(S), A.detaches(S)],
        ),
    ]
}
