//! What a command says when it cannot do what it was asked to.

use std::fmt;
use std::io;

use crate::sysv::{self, Errno};
use crate::values::ShmId;

/// How a command ended, as its exit status tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// 0: all done.
    Done,
    /// 1: something failed; the rest was still tried.
    Failed,
    /// 2: bad usage, nothing was done.
    Usage,
    /// 3: a named segment does not exist, and nothing else failed.
    Missing,
    /// The work was done, and then a signal asked for the end: the process ends as that signal ends it.
    Signal(i32),
    /// The status that `guard` passes on.
    Guarded(u8),
}

impl Status {
    /// The process's exit status.
    pub fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Missing => 3,
            Self::Signal(signal) => 128 + signal as u8,
            Self::Guarded(status) => status,
        }
    }

    /// The status of two pieces of work together: a failure outweighs what is merely missing.
    pub fn and(self, other: Status) -> Status {
        let weight = |status| match status {
            Self::Done => 0,
            Self::Missing => 1,
            Self::Failed => 2,
            Self::Usage => 3,
            Self::Signal(_) | Self::Guarded(_) => 4,
        };
        if weight(self) >= weight(other) { self } else { other }
    }
}

/// A failure, for a person (one line: what was tried on which segment, the cause, what to do) and for a script.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    /// The exit status that it leads to.
    pub status: Status,
    /// The kernel's errno, where there was one.
    pub errno: Option<Errno>,
    /// The line, without `shmadm: ` before it.
    pub message: String,
    /// The reader of standard output has gone away: nothing is said, and the process ends as SIGPIPE ends it.
    pub reader_left: bool,
}

/// What a command's functions return.
pub(crate) type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// A failure, exit status 1.
    pub fn failed(message: impl Into<String>) -> Error {
        Error { status: Status::Failed, errno: None, message: message.into(), reader_left: false }
    }

    /// Bad usage, exit status 2: found before anything was done.
    pub fn usage(message: impl Into<String>) -> Error {
        Error { status: Status::Usage, ..Error::failed(message) }
    }

    /// A named segment that does not exist, exit status 3.
    pub fn missing(message: impl Into<String>) -> Error {
        Error { status: Status::Missing, ..Error::failed(message) }
    }

    /// A system call on a segment failed: `what` was tried (`remove segment 0x2a`), and the cause is the call's.
    pub fn call(what: impl fmt::Display, error: sysv::Error) -> Error {
        let message = format!("cannot {what}: {error}");
        let status = match error.reason {
            sysv::Reason::NoSuchSegment => Status::Missing,
            _ => Status::Failed,
        };
        Error { status, errno: Some(error.errno), message, reader_left: false }
    }

    /// The same, of a call that only some may make on this segment: tells how to see who they are.
    pub fn call_on(what: impl fmt::Display, id: ShmId, error: sysv::Error) -> Error {
        let told = Error::call(what, error);
        match error.reason {
            sysv::Reason::NotPermitted => told.hint(format_args!("`shmadm stat id:{id}` shows who they are")),
            _ => told,
        }
    }

    /// Reading or writing something that is no segment failed.
    pub fn io(what: impl fmt::Display, error: &io::Error) -> Error {
        let errno = error.raw_os_error().map(Errno::from_raw);
        Error { errno, ..Error::failed(format!("cannot {what}: {}", sysv::cause(error))) }
    }

    /// Standard output could not be written.
    pub fn output(error: &io::Error) -> Error {
        let reader_left = error.kind() == io::ErrorKind::BrokenPipe;
        Error { reader_left, ..Error::io("write standard output", error) }
    }

    /// The same, with more of the cause.
    pub fn append(mut self, details: impl fmt::Display) -> Error {
        self.message = format!("{}{details}", self.message);
        self
    }

    /// The same, with what the user can do about it.
    pub fn hint(mut self, hint: impl fmt::Display) -> Error {
        self.message = format!("{}; {hint}", self.message);
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}
