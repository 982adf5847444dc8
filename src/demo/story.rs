//! The texts of the demonstration, for a reader who has never seen a segment, in lines of at most 78 columns.

/// The texts of a step.
#[derive(Debug)]
pub(super) struct Step {
    pub title: &'static str,
    pub text: &'static [&'static str],
    /// Whether this is the last step.
    pub is_last: bool,
}

const fn step(title: &'static str, text: &'static [&'static str]) -> Step {
    Step { title, text, is_last: false }
}

pub(super) const INTRODUCTION: &[&str] = &[
    "System V shared memory: two real processes, A and B, share a real segment.",
    "Each step shows the system calls and what they returned, who has the segment",
    "attached and at which address, and the row of the segment in `shmadm list`.",
];

pub(super) const LOOK: &[&str] =
    &["It waits between the steps: look from another terminal meanwhile, with", "`shmadm list` or `ipcs -m`."];

pub(super) const CREATE: Step = step(
    "1 of 8: A creates the segment",
    &[
        "A asks for 4096 bytes under a key, a number that other programs can know too.",
        "The kernel creates a segment and returns its identifier. The segment belongs",
        "to no process: it stays until somebody removes it. It uses no memory yet",
        "(RSS 0).",
    ],
);

pub(super) const CREATE_FORCED: Step = step(
    "1 of 8: A creates the segment",
    &[
        "A asks for 4096 bytes under a key, a number that other programs can know too.",
        "The kernel creates a segment and returns its identifier. Usually a segment",
        "stays until somebody removes it. Here sysctl kernel.shm_rmid_forced is 1, and",
        "no segment outlives its users. It uses no memory yet (RSS 0).",
    ],
);

pub(super) const ATTACH: Step = step(
    "2 of 8: A attaches it",
    &[
        "A process must attach a segment before it can read or write it. The kernel",
        "puts it into the address space of A, and returns its address. NATTCH counts",
        "the attachments.",
    ],
);

pub(super) const WRITE: Step = step(
    "3 of 8: A writes to it",
    &[
        "A stores a text there. This needs no System V call: once attached, a segment",
        "is memory like any other. The kernel allocates a page only now (RSS).",
    ],
);

pub(super) const SECOND: Step = step(
    "4 of 8: B attaches it too",
    &[
        "B knows the key, finds the segment by it, and gets the same identifier. It",
        "attaches the segment read-only, at another address: NATTCH is one more.",
    ],
);

pub(super) const READ: Step = step(
    "5 of 8: B reads what A has written",
    &[
        "B reads at its address what A stored at another. Both addresses lead to the",
        "same memory, so nothing was sent or copied. The kernel's table shows the",
        "segment to everybody, and this is its row.",
    ],
);

pub(super) const DETACH: Step = step(
    "6 of 8: A detaches it",
    &[
        "A detaches the segment, and can no longer use that address. The segment stays,",
        "with its contents, and B still has it attached.",
    ],
);

pub(super) const REMOVE: Step = step(
    "7 of 8: A removes it while B has it attached",
    &[
        "The kernel does not take memory away from B: it only marks the segment for",
        "destruction (STATUS dest). The segment has lost its key, which shows as 0. The",
        "key is free at once, and no longer finds this segment. B can still read it.",
    ],
);

pub(super) const LAST: Step = Step {
    title: "8 of 8: B detaches it, and it is gone",
    text: &[
        "That was the last attachment of a marked segment, so the kernel destroys it.",
        "Its memory is free, and its identifier is no longer valid.",
    ],
    is_last: true,
};

pub(super) const NOT_LAST: Step = Step {
    title: "8 of 8: B detaches it, but somebody else has it attached",
    text: &[
        "The kernel destroys a marked segment with its last detach. But another process",
        "has attached this one meanwhile. It is destroyed when that process detaches or",
        "ends.",
    ],
    is_last: true,
};

pub(super) const END: &[&str] = &[
    "Without step 7 it would still exist, even after A and B have exited.",
    "`shmadm list` shows such segments, and `shmadm remove` removes them.",
];

pub(super) const END_FORCED: &[&str] = &[
    "Here (kernel.shm_rmid_forced is 1) the last detach would have destroyed it",
    "without step 7, too. Elsewhere it stays until `shmadm remove` removes it.",
];
