//! The words in which a lesson is written: steps, and what the processes do in them.
//!
//! `A.attaches(S)` is an [`Act`]: process A attaches the segment S. An act must succeed, unless [`Act::fails`] says with
//! which errno it must fail. If the kernel does anything else, the lesson ends with an error: it shows nothing untrue.

use crate::sysv::{Access, Errno};

use super::name::{Label, Role};
use super::request::Request;

/// The size of the segments in bytes: small, and the same in every call that is shown.
pub(super) const PAGE: u64 = 4096;

/// A lesson of `shmadm demo`.
#[derive(Debug)]
pub(crate) struct Lesson {
    /// The word on the command line.
    pub name: &'static str,
    /// One line for `--list`.
    pub about: &'static str,
    /// Whether the segment must outlive its users, which kernel.shm_rmid_forced prevents.
    pub needs_lasting_segments: bool,
    /// What a segment contains in the pictures.
    pub contents: Contents,
    /// Returns the steps, which can depend on the user and the machine.
    pub script: fn() -> Script,
}

/// What a segment of a lesson contains.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Contents {
    /// A text that ends with NUL.
    Text,
    /// A 64-bit number.
    Number,
}

/// The texts and steps of a lesson. Paragraphs are wrapped when they are shown.
#[derive(Debug)]
pub(crate) struct Script {
    pub opening: String,
    pub steps: Vec<Step>,
    /// What to do about it.
    pub closing: String,
    /// The calls and manual pages to look up.
    pub look_up: &'static str,
}

/// A step: what happens and why, and what the processes do.
#[derive(Debug)]
pub(crate) struct Step {
    pub title: String,
    /// `{count}`, `{expected}`, `{found}`, `{lost}` and `{again}` stand for the results of the last race.
    pub text: String,
    pub(super) acts: Vec<Act>,
    pub(super) view: View,
    /// Title and text if somebody else has the segment attached at the end, so that it still exists.
    pub otherwise: Option<(&'static str, &'static str)>,
}

/// What a step shows below the calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum View {
    /// Who has which segment attached, and the rows of the segments.
    Picture,
    /// The order of reads and writes that lost an update.
    Interleaving,
}

/// One act of a step, and what must come of it.
#[derive(Debug)]
pub(super) struct Act {
    pub what: What,
    pub expected: Expected,
}

/// What must come of an act.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Expected {
    Success,
    Failure(Errno),
    /// It depends on what other processes of the machine do meanwhile.
    Either(Errno),
}

/// Who does what.
#[derive(Debug)]
pub(super) enum What {
    /// A process does this. It is started if the lesson has not seen it before.
    Does(Role, Request),
    /// Two processes add to the number in the segment at the same time.
    Race { roles: [Role; 2], label: Label, count: u32, is_locked: bool },
    /// A process is killed with SIGKILL.
    Kill(Role),
    /// A command of shmadm itself. `KEY` stands for the key of the first segment.
    Run(&'static [&'static str]),
}

/// Returns a step that shows the picture.
pub(super) fn step(title: &str, text: &str, acts: impl IntoIterator<Item = Act>) -> Step {
    Step {
        title: title.into(),
        text: text.into(),
        acts: acts.into_iter().collect(),
        view: View::Picture,
        otherwise: None,
    }
}

impl Act {
    fn new(what: What) -> Act {
        Act { what, expected: Expected::Success }
    }

    /// Returns the act that must fail with this errno.
    pub(super) fn fails(self, errno: Errno) -> Act {
        Act { expected: Expected::Failure(errno), ..self }
    }

    /// Returns the act that fails with this errno, unless another process of the machine has done something meanwhile. It
    /// must change nothing.
    pub(super) fn may_fail(self, errno: Errno) -> Act {
        Act { expected: Expected::Either(errno), ..self }
    }
}

/// Two processes add 1 to the number in the segment, `count` times each.
pub(super) fn race(roles: [Role; 2], label: Label, count: u32, is_locked: bool) -> Act {
    Act::new(What::Race { roles, label, count, is_locked })
}

/// Runs a command of shmadm and shows what it prints.
pub(super) fn run(words: &'static [&'static str]) -> Act {
    Act::new(What::Run(words))
}

impl Role {
    fn does(self, request: Request) -> Act {
        Act::new(What::Does(self, request))
    }

    pub(super) fn creates(self, label: Label, mode: u16) -> Act {
        self.creates_of_size(label, PAGE, mode)
    }

    pub(super) fn creates_of_size(self, label: Label, size: u64, mode: u16) -> Act {
        self.does(Request::Create { label, size, mode, is_private: false })
    }

    /// Creates a segment with `IPC_PRIVATE` instead of a key.
    pub(super) fn creates_private(self, label: Label, mode: u16) -> Act {
        self.does(Request::Create { label, size: PAGE, mode, is_private: true })
    }

    /// Finds the segment by its key.
    pub(super) fn finds(self, label: Label) -> Act {
        self.asks_for(label, 0, 0)
    }

    /// Calls shmget(2) with a size and with permissions.
    pub(super) fn asks_for(self, label: Label, size: u64, mode: u16) -> Act {
        self.does(Request::Get { label, size, mode, creates: false })
    }

    /// The same with `IPC_CREAT`, as most programs do.
    pub(super) fn asks_or_creates(self, label: Label, size: u64, mode: u16) -> Act {
        self.does(Request::Get { label, size, mode, creates: true })
    }

    pub(super) fn attaches(self, label: Label, access: Access) -> Act {
        self.does(Request::Attach { label, is_read_only: access == Access::Read })
    }

    pub(super) fn detaches(self, label: Label) -> Act {
        self.does(Request::Detach { label })
    }

    pub(super) fn writes(self, label: Label, text: &str) -> Act {
        self.does(Request::Write { label, text: text.into() })
    }

    pub(super) fn reads(self, label: Label) -> Act {
        self.does(Request::Read { label, is_number: false })
    }

    pub(super) fn stores(self, label: Label, byte: u8) -> Act {
        self.does(Request::Store { label, byte })
    }

    pub(super) fn clears(self, label: Label) -> Act {
        self.does(Request::Clear { label })
    }

    pub(super) fn sets_mode(self, label: Label, mode: u16) -> Act {
        self.does(Request::SetMode { label, mode })
    }

    pub(super) fn inspects(self, label: Label) -> Act {
        self.does(Request::Stat { label })
    }

    pub(super) fn removes(self, label: Label) -> Act {
        self.does(Request::Remove { label })
    }

    pub(super) fn forks(self, child: Role) -> Act {
        self.does(Request::Fork { child })
    }

    pub(super) fn executes(self) -> Act {
        self.does(Request::Execute)
    }

    pub(super) fn becomes(self, uid: u32) -> Act {
        self.does(Request::Become { uid })
    }

    pub(super) fn drops_privileges(self) -> Act {
        self.does(Request::DropPrivileges)
    }

    pub(super) fn exits(self) -> Act {
        self.does(Request::Exit)
    }

    pub(super) fn is_killed(self) -> Act {
        Act::new(What::Kill(self))
    }
}
