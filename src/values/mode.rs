//! Permission bits.

use std::fmt;
use std::str::FromStr;

/// The nine permission bits of a segment, at most 0777, written in octal as for chmod(1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mode(u16);

impl Mode {
    /// Returns the permission bits of a kernel mode, without `SHM_DEST` and `SHM_LOCKED`.
    pub fn from_raw(mode: u16) -> Mode {
        Mode(mode & 0o777)
    }

    /// Returns the bits, at most 0777.
    pub fn bits(self) -> u16 {
        self.0
    }

    /// Returns the bits in the notation of ls(1), `rw-r-----`.
    pub fn letters(self) -> impl Iterator<Item = char> {
        "rwxrwxrwx".chars().enumerate().map(move |(i, letter)| if self.0 >> (8 - i) & 1 == 1 { letter } else { '-' })
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04o}", self.0)
    }
}

/// The error for a word that is not a mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ParseModeError;

impl fmt::Display for ParseModeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a mode is octal, at most 0777: 600, 0640")
    }
}

impl std::error::Error for ParseModeError {}

impl FromStr for Mode {
    type Err = ParseModeError;

    fn from_str(word: &str) -> Result<Mode, ParseModeError> {
        // from_str_radix accepts a sign.
        if !word.starts_with(|c: char| c.is_digit(8)) {
            return Err(ParseModeError);
        }
        // Higher bits are flags of shmget(2) (IPC_CREAT, SHM_HUGETLB …), which a mode must not set.
        u16::from_str_radix(word, 8).ok().filter(|bits| *bits <= 0o777).map(Mode).ok_or(ParseModeError)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn octal_up_to_0777() {
        for (word, bits) in [("600", 0o600), ("0600", 0o600), ("0", 0), ("777", 0o777), ("00640", 0o640)] {
            assert_eq!(word.parse(), Ok(Mode(bits)), "{word}");
        }
        for word in ["", "1000", "01600", "8", "0o600", "+600", "-1", "rw", "600 ", "99999999"] {
            assert_eq!(word.parse::<Mode>(), Err(ParseModeError), "{word:?}");
        }
        assert_eq!(Mode(0o641).letters().collect::<String>(), "rw-r----x");
        assert_eq!(Mode(0o41).to_string(), "0041");
    }
}
