//! Why a command failed: a text for people, fields for scripts, and the exit status.

pub(crate) mod advice;

use std::fmt;
use std::io;

use serde::ser::SerializeStruct;
use serde::{Serialize, Serializer};

use crate::linux::cause;
use crate::sysv::{self, Errno};
use crate::values::{ShmId, visible};

/// How a command ended. Its exit status follows from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Status {
    /// 0: all done.
    Done,
    /// 1: something failed; the rest was still tried.
    Failed,
    /// 2: bad usage, nothing was done.
    Usage,
    /// 3: a named segment does not exist, and nothing else failed.
    Missing,
    /// The work was done, and then a signal requested shutdown: the process ends by that signal.
    Signal(i32),
    /// The status that `guard` passes on.
    Guarded(u8),
}

impl Status {
    /// Returns the process's exit status.
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Missing => 3,
            Self::Signal(signal) => 128 + signal as u8,
            Self::Guarded(status) => status,
        }
    }

    /// Combines the status of two pieces of work: a failure outweighs a missing segment.
    pub(crate) fn and(self, other: Status) -> Status {
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

/// The kind of an [`Error`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Something could not be done.
    Failed,
    /// The command line is invalid. This was detected before anything was done.
    Usage,
    /// A named segment does not exist.
    Missing,
    /// The reader of standard output closed the pipe. Nobody reads a message about that.
    ReaderGone,
}

/// A failure: for people one line, `cannot ACTION: CAUSE; HINT`, and for scripts its parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    /// The kind of failure, which determines the exit status.
    pub(crate) kind: Kind,
    /// What failed, on which segment: `remove segment 0x0000002a (id 5)`. `None` if the cause is a complete sentence.
    pub(crate) action: Option<String>,
    /// Why it failed.
    pub(crate) cause: String,
    /// What the user can do about it.
    pub(crate) hint: Option<String>,
    /// The kernel's errno, if a system call failed.
    pub(crate) errno: Option<Errno>,
}

/// The result of a command's functions.
pub(crate) type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// Returns a failure whose cause is a complete sentence: exit status 1.
    pub(crate) fn failed(cause: impl Into<String>) -> Error {
        Error { kind: Kind::Failed, action: None, cause: cause.into(), hint: None, errno: None }
    }

    /// Returns a failure to do something (`remove segment 0x0000002a`): exit status 1.
    pub(crate) fn cannot(action: impl fmt::Display, cause: impl Into<String>) -> Error {
        Error { action: Some(action.to_string()), ..Error::failed(cause) }
    }

    /// Returns bad usage: exit status 2.
    pub(crate) fn usage(cause: impl Into<String>) -> Error {
        Error { kind: Kind::Usage, ..Error::failed(cause) }
    }

    /// Returns the failure that a named segment does not exist: exit status 3.
    pub(crate) fn missing(cause: impl Into<String>) -> Error {
        Error { kind: Kind::Missing, ..Error::failed(cause) }
    }

    /// Returns the failure of a System V call that was made to perform `action`. A missing segment is
    /// [`Kind::Missing`].
    pub(crate) fn call(action: impl fmt::Display, error: sysv::Error) -> Error {
        let kind = match error.reason {
            sysv::Reason::NoSuchSegment => Kind::Missing,
            _ => Kind::Failed,
        };
        Error { kind, ..Error::cannot(action, error.to_string()).errno(error.errno) }
    }

    /// Returns the failure of a call that only the owner, the creator and root may make on this segment. Like
    /// [`Error::call`], with advice on how to see who they are.
    pub(crate) fn call_on(action: impl fmt::Display, id: ShmId, error: sysv::Error) -> Error {
        let failure = Error::call(action, error);
        match error.reason {
            sysv::Reason::NotPermitted => failure.hint(format_args!("`shmadm stat id:{id}` shows who they are")),
            _ => failure,
        }
    }

    /// Returns the failure of an operation on something other than a segment.
    pub(crate) fn io(action: impl fmt::Display, error: &io::Error) -> Error {
        let errno = error.raw_os_error().map(Errno::from_raw);
        Error { errno, ..Error::cannot(action, cause(error)) }
    }

    /// Returns the failure to write standard output.
    pub(crate) fn output(error: &io::Error) -> Error {
        let kind = match error.kind() {
            io::ErrorKind::BrokenPipe => Kind::ReaderGone,
            _ => Kind::Failed,
        };
        Error { kind, ..Error::io("write standard output", error) }
    }

    /// Adds the kernel's errno, which scripts read.
    pub(crate) fn errno(self, errno: Errno) -> Error {
        Error { errno: Some(errno), ..self }
    }

    /// Appends advice to the existing hints. Commands of shmadm in it are changed to act in the namespace of `--ns`.
    pub(crate) fn hint(mut self, hint: impl fmt::Display) -> Error {
        let hint = advice::localized(&hint.to_string());
        self.hint = Some(match self.hint {
            Some(earlier) => format!("{earlier}; {hint}"),
            None => hint,
        });
        self
    }

    /// Returns the line without the hint: `cannot ACTION: CAUSE`.
    pub(crate) fn message(&self) -> String {
        match &self.action {
            Some(action) => format!("cannot {action}: {}", self.cause),
            None => self.cause.clone(),
        }
    }

    /// Returns the status that a command ends with for this failure.
    pub(crate) fn status(&self) -> Status {
        match self.kind {
            Kind::Failed => Status::Failed,
            Kind::Usage => Status::Usage,
            Kind::Missing => Status::Missing,
            Kind::ReaderGone => Status::Signal(libc::SIGPIPE),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message())?;
        match &self.hint {
            Some(hint) => write!(f, "; {hint}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Error {}

/// Serializes as `{"errno":"EEXIST","message":"…","hint":"…"}`. Words that others chose are escaped.
impl Serialize for Error {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = serializer.serialize_struct("Error", 3)?;
        fields.serialize_field("errno", &self.errno.map(|errno| format!("{errno:?}")))?;
        fields.serialize_field("message", &visible(self.message().as_bytes()))?;
        fields.serialize_field("hint", &self.hint.as_ref().map(|hint| visible(hint.as_bytes())))?;
        fields.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_person_gets_one_line_and_a_script_the_parts() {
        let error = Error::cannot("read segment 0x0000002a", "permission denied").hint("ask root").hint("or its owner");
        assert_eq!(error.to_string(), "cannot read segment 0x0000002a: permission denied; ask root; or its owner");
        assert_eq!(error.message(), "cannot read segment 0x0000002a: permission denied");
        assert_eq!(error.hint.as_deref(), Some("ask root; or its owner"));
        assert_eq!(Error::usage("name a SEGMENT").to_string(), "name a SEGMENT");
    }

    #[test]
    fn the_status_follows_from_the_kind() {
        let gone = sysv::Error { reason: sysv::Reason::NoSuchSegment, errno: Errno::EINVAL };
        let denied = sysv::Error { reason: sysv::Reason::PermissionDenied, errno: Errno::EACCES };
        let closed = io::Error::from_raw_os_error(libc::EPIPE);
        for (error, status) in [
            (Error::failed("no"), Status::Failed),
            (Error::usage("no"), Status::Usage),
            (Error::call("read", gone), Status::Missing),
            (Error::call("read", denied), Status::Failed),
            (Error::output(&closed), Status::Signal(libc::SIGPIPE)),
        ] {
            assert_eq!(error.status(), status, "{error}");
        }
    }
}
