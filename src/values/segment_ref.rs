//! The words that name a segment on a command line.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use crate::values::{Key, ParseKeyError, ShmId, visible_path};

/// A segment as a user names it: by key, by identifier, or by the path that its key derives from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SegmentRef {
    /// `0x2a`, `052`.
    Key(Key),
    /// `42`. Messages show this key in decimal too, because the user knows it by that number.
    Decimal(Key),
    /// `id:5`.
    Id(ShmId),
    /// `ftok:A:/srv/app`. The key is derived when the segment is looked up, because the path may not exist.
    Ftok(ProjectId, PathBuf),
}

impl fmt::Display for SegmentRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key(key) => key.fmt(f),
            Self::Decimal(key) => key.as_unsigned().fmt(f),
            Self::Id(id) => write!(f, "id:{id}"),
            Self::Ftok(project, path) => write!(f, "ftok:{project}:{}", visible_path(path)),
        }
    }
}

/// The project id of ftok(3): its low eight bits, which must not all be zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProjectId(pub u8);

impl fmt::Display for ProjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            letter if letter.is_ascii_graphic() && !letter.is_ascii_digit() => write!(f, "{}", char::from(letter)),
            number => number.fmt(f),
        }
    }
}

impl ProjectId {
    /// Returns the project id in the upper 8 bits of an ftok key; `None` if they are all zero.
    pub fn of(key: Key) -> Option<ProjectId> {
        let [project, ..] = key.as_raw().to_be_bytes();
        (project != 0).then_some(ProjectId(project))
    }

    /// Reads a number (1 to 255) or one character; `None` if the word is not a project id.
    pub fn from_bytes(word: &[u8]) -> Option<ProjectId> {
        if !word.is_empty() && word.iter().all(u8::is_ascii_digit) {
            let number = str::from_utf8(word).ok()?.parse().ok()?;
            return (number > 0).then_some(ProjectId(number));
        }
        match word {
            [character] if *character != 0 => Some(ProjectId(*character)),
            _ => None,
        }
    }
}

impl std::str::FromStr for ProjectId {
    type Err = ParseSegmentRefError;

    fn from_str(word: &str) -> Result<ProjectId, ParseSegmentRefError> {
        ProjectId::from_bytes(word.as_bytes()).ok_or(ParseSegmentRefError::Project)
    }
}

/// Why a word names no segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ParseSegmentRefError {
    /// Neither a key nor one of the prefixed forms.
    Key(ParseKeyError),
    /// Hexadecimal digits without `0x`.
    Hexadecimal(Key),
    /// A name as shm_open(3) takes it.
    Posix,
    /// Key 0.
    Private,
    /// `id:` is not followed by a number of 31 bits.
    Id,
    /// `ftok:` without a project id and a path.
    Ftok,
    /// The project id is neither one character nor a number from 1 to 255.
    Project,
}

impl fmt::Display for ParseSegmentRefError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key(ParseKeyError::NotANumber) => {
                f.write_str("a segment is a key (0x2a, 42, 052), id:N, or ftok:PROJECT:PATH")
            }
            Self::Key(error) => error.fmt(f),
            Self::Hexadecimal(key) => write!(f, "did you mean {:#x}?", key.as_unsigned()),
            Self::Posix => f.write_str("a name with / is a POSIX shared memory object: see /dev/shm"),
            Self::Private => f.write_str(
                "key 0 is IPC_PRIVATE, which names no segment; name one without a key by its identifier, id:N",
            ),
            Self::Id => f.write_str("after id: comes a number from 0 to 2147483647, as in id:5"),
            Self::Ftok => f.write_str("ftok: is followed by a project id, a colon and a path, as in ftok:A:/srv/app"),
            Self::Project => f.write_str("a project id is one character, or a number from 1 to 255"),
        }
    }
}

impl std::error::Error for ParseSegmentRefError {}

impl TryFrom<&OsStr> for SegmentRef {
    type Error = ParseSegmentRefError;

    /// Reads the whole word. This is not `FromStr`, because a path need not be UTF-8.
    fn try_from(word: &OsStr) -> Result<SegmentRef, ParseSegmentRefError> {
        let bytes = word.as_bytes();
        if let Some(rest) = bytes.strip_prefix(b"ftok:") {
            // The first byte belongs to the project id, which can be a colon.
            let colon = rest.iter().skip(1).position(|b| *b == b':').ok_or(ParseSegmentRefError::Ftok)? + 1;
            let (project, path) = (&rest[..colon], &rest[colon + 1..]);
            if path.is_empty() {
                return Err(ParseSegmentRefError::Ftok);
            }
            let project = ProjectId::from_bytes(project).ok_or(ParseSegmentRefError::Project)?;
            return Ok(SegmentRef::Ftok(project, OsStr::from_bytes(path).into()));
        }
        let word = word.to_str().ok_or(ParseSegmentRefError::Key(ParseKeyError::NotANumber))?;
        if let Some(number) = word.strip_prefix("id:") {
            let digits = number.bytes().all(|b| b.is_ascii_digit());
            let id = number.parse().ok().filter(|_| digits);
            return id.and_then(ShmId::new).map(SegmentRef::Id).ok_or(ParseSegmentRefError::Id);
        }
        match word.parse::<Key>() {
            Ok(key) if key.is_private() => Err(ParseSegmentRefError::Private),
            Ok(key) if word.starts_with(|first: char| ('1'..='9').contains(&first)) => Ok(SegmentRef::Decimal(key)),
            Ok(key) => Ok(SegmentRef::Key(key)),
            Err(ParseKeyError::NotANumber) if word.starts_with('/') => Err(ParseSegmentRefError::Posix),
            Err(error) => Err(match u32::from_str_radix(word, 16) {
                Ok(number) if error == ParseKeyError::NotANumber && !word.starts_with(['+', '-']) => {
                    ParseSegmentRefError::Hexadecimal(Key::from_raw(number.cast_signed()))
                }
                _ => ParseSegmentRefError::Key(error),
            }),
        }
    }
}

impl TryFrom<OsString> for SegmentRef {
    type Error = ParseSegmentRefError;

    fn try_from(word: OsString) -> Result<SegmentRef, ParseSegmentRefError> {
        SegmentRef::try_from(word.as_os_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(word: &str) -> Result<SegmentRef, ParseSegmentRefError> {
        SegmentRef::try_from(OsStr::new(word))
    }

    #[test]
    fn the_three_forms() {
        assert_eq!(parse("0x2a"), Ok(SegmentRef::Key(Key::from_raw(42))));
        assert_eq!(parse("id:0"), Ok(SegmentRef::Id(ShmId::new(0).unwrap())));
        assert_eq!(parse("id:2147483647"), Ok(SegmentRef::Id(ShmId::new(i32::MAX).unwrap())));
        for (word, project) in [("A", b'A'), ("1", 1), ("49", 49), ("255", 255), ("!", b'!'), (":", b':')] {
            let expected = SegmentRef::Ftok(ProjectId(project), "/srv/app".into());
            assert_eq!(parse(&format!("ftok:{word}:/srv/app")), Ok(expected), "{word}");
        }
        assert_eq!(parse("ftok:A:/srv:app"), Ok(SegmentRef::Ftok(ProjectId(b'A'), "/srv:app".into())));
    }

    #[test]
    fn near_misses_have_their_own_errors() {
        assert_eq!(parse("42"), Ok(SegmentRef::Decimal(Key::from_raw(42))));
        assert_eq!(parse("7a6d0001"), Err(ParseSegmentRefError::Hexadecimal(Key::from_raw(0x7a6d_0001))));
        assert_eq!(parse("/postgres"), Err(ParseSegmentRefError::Posix));
        for word in ["+ff", "-ff", "123456789abc"] {
            assert_eq!(parse(word), Err(ParseSegmentRefError::Key(ParseKeyError::NotANumber)), "{word}");
        }
    }

    #[test]
    fn malformed_words_are_refused() {
        for word in ["0", "0x0", "00", "-0"] {
            assert_eq!(parse(word), Err(ParseSegmentRefError::Private), "{word}");
        }
        for word in ["id:", "id:-1", "id:2147483648", "id:x", "id: 5", "id:5 "] {
            assert_eq!(parse(word), Err(ParseSegmentRefError::Id), "{word}");
        }
        for word in ["ftok:", "ftok:A", "ftok:A:", "ftok::/srv"] {
            assert_eq!(parse(word), Err(ParseSegmentRefError::Ftok), "{word}");
        }
        for word in ["ftok:0:/srv", "ftok:256:/srv", "ftok:AB:/srv", "ftok:é:/srv"] {
            assert_eq!(parse(word), Err(ParseSegmentRefError::Project), "{word}");
        }
        for word in ["", "foo", "5:id", "ID:5"] {
            assert_eq!(parse(word), Err(ParseSegmentRefError::Key(ParseKeyError::NotANumber)), "{word}");
        }
    }
}
