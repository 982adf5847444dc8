//! What a process of a lesson can do, and what it answers: one line of JSON in each direction.

use serde::{Deserialize, Serialize};

use super::name::{Label, Role};
use super::race::Update;

/// What every process of a lesson knows about a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Known {
    pub label: Label,
    /// Its key; 0 for `IPC_PRIVATE`.
    pub key: i32,
    /// Its identifier, once it has been created.
    pub id: Option<i32>,
    /// The process that created it.
    pub creator: i32,
}

/// What a process is asked to do.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) enum Request {
    /// Remember a segment. This is not a part of a lesson.
    Know(Known),
    /// shmget(2) with `IPC_CREAT|IPC_EXCL`, and with an unused key or `IPC_PRIVATE`.
    Create { label: Label, size: u64, mode: u16, is_private: bool },
    /// shmget(2) without `IPC_EXCL`.
    Get { label: Label, size: u64, mode: u16, creates: bool },
    /// shmat(2).
    Attach { label: Label, is_read_only: bool },
    /// shmdt(2).
    Detach { label: Label },
    /// Write a text to the beginning of the segment.
    Write { label: Label, text: String },
    /// Read the text at the beginning of the segment; the number in the first word, if `is_number` is set.
    Read { label: Label, is_number: bool },
    /// Store a byte with one instruction, which ends the process if the attachment is read-only.
    Store { label: Label, byte: u8 },
    /// Fill the words that [`Request::Add`] uses with zeros.
    Clear { label: Label },
    /// Add 1 to the first word, `count` times, when another process is ready to do the same.
    Add { label: Label, count: u32, is_locked: bool },
    /// shmctl(2) `IPC_SET` with another mode.
    SetMode { label: Label, mode: u16 },
    /// shmctl(2) `IPC_STAT`.
    Stat { label: Label },
    /// shmctl(2) `IPC_RMID`.
    Remove { label: Label },
    /// fork(2). The child takes the connection that its parent has kept for it.
    Fork { child: Role },
    /// Wait for the end of a child, and say how it ended. This is not a part of a lesson.
    Wait { pid: i32 },
    /// execve(2) of this program.
    Execute,
    /// setresuid(2) and setresgid(2).
    Become { uid: u32 },
    /// capset(2) without any capability.
    DropPrivileges,
    /// exit(3).
    Exit,
}

/// What a process says. Zero or more calls, and then one of the others, answer each request.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Reply {
    /// A System V call that has returned, in the notation of strace(1).
    Call { text: String, is_look: bool },
    /// The request is done.
    Done(Outcome),
    /// A call has failed with this errno, or something else has failed.
    Failed { errno: Option<i32>, message: String },
}

/// The result of a request.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) enum Outcome {
    Nothing,
    /// A segment's identifier.
    Id(i32),
    /// The address of an attachment.
    Address(usize),
    /// What was read, escaped.
    Text(String),
    /// The pid of a child.
    Child(i32),
    /// What was read and written while adding.
    Updates(Vec<Update>),
}
