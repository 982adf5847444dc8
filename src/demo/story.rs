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
    "attached and at which address, and the segment's row as `shmadm list` has it.",
];

pub(super) const LOOK: &[&str] =
    &["It waits between the steps: look from another terminal meanwhile, with", "`shmadm list` or `ipcs -m`."];

pub(super) const CREATE: Step = step(
    "1 of 8: A creates the segment",
    &[
        "A asks for 4096 bytes under a key, a number that other programs can know too;",
        "the kernel makes a segment and answers with its identifier. The segment",
        "belongs to no process: it stays until somebody removes it. It takes no memory",
        "yet (RSS 0).",
    ],
);

pub(super) const CREATE_FORCED: Step = step(
    "1 of 8: A creates the segment",
    &[
        "A asks for 4096 bytes under a key, a number that other programs can know too;",
        "the kernel makes a segment and answers with its identifier. Elsewhere it would",
        "stay until somebody removes it; here sysctl kernel.shm_rmid_forced is 1, and",
        "the kernel lets no segment outlive its users. It takes no memory yet (RSS 0).",
    ],
);

pub(super) const ATTACH: Step = step(
    "2 of 8: A attaches it",
    &[
        "Nobody can read or write a segment that is not attached: so A has the kernel",
        "put it into its address space, and is told where it begins. NATTCH counts the",
        "attachments.",
    ],
);

pub(super) const WRITE: Step = step(
    "3 of 8: A writes to it",
    &[
        "A stores a text there. That needs no System V call: attached, it is memory like",
        "any other. Only now that it is touched the kernel takes a page for it (RSS).",
    ],
);

pub(super) const SECOND: Step = step(
    "4 of 8: B attaches it too",
    &[
        "B knows the key and finds the segment by it, to get the same identifier. It",
        "attaches it to read only, at an address of its own: NATTCH is one more.",
    ],
);

pub(super) const READ: Step = step(
    "5 of 8: B reads what A has written",
    &[
        "B looks at its address and sees what A stored at another: both mean the same",
        "memory, so nothing was sent or copied. The kernel's table shows the segment to",
        "everybody meanwhile, and this is its row.",
    ],
);

pub(super) const DETACH: Step = step(
    "6 of 8: A detaches it",
    &[
        "A gives its attachment up, and can use that address no more. The segment stays,",
        "with what is in it, and B has it attached as before.",
    ],
);

pub(super) const REMOVE: Step = step(
    "7 of 8: A removes it while B has it attached",
    &[
        "The kernel does not take memory away from B: it only marks the segment for",
        "destruction (STATUS dest). It has lost its key, which shows as 0; that key is",
        "free for another segment at once, and finds this one no more. B still reads it.",
    ],
);

pub(super) const LAST: Step = Step {
    title: "8 of 8: B detaches it, and it is gone",
    text: &[
        "That was the last attachment of a segment that is marked: the kernel destroys",
        "it. Its memory is free, and its identifier means nothing any more.",
    ],
    is_last: true,
};

pub(super) const NOT_LAST: Step = Step {
    title: "8 of 8: B detaches it, but somebody else has it attached",
    text: &[
        "Had that been the last attachment, the kernel would have destroyed the segment.",
        "Another process has attached it meanwhile: it goes when that one detaches or",
        "ends.",
    ],
    is_last: true,
};

pub(super) const END: &[&str] = &[
    "Had nobody removed it, it would still be there, whether A and B run or not.",
    "`shmadm list` shows such segments, and `shmadm remove` removes them.",
];

pub(super) const END_FORCED: &[&str] = &[
    "Here (kernel.shm_rmid_forced is 1) the last detach would have destroyed it",
    "without step 7, too. Elsewhere it stays until `shmadm remove` removes it.",
];
