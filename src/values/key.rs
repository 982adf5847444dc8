//! Segment keys, and the C integer notation that they, byte values and sizes are written in.

use std::fmt;
use std::str::FromStr;

/// A System V IPC key, as shmget(2) takes it: 32 bits, of which 0 is `IPC_PRIVATE`.
///
/// Shown as `ipcs` does, `0x0000002a`. `/proc/sysvipc/shm` has the same bits as a signed decimal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(u32);

impl Key {
    /// `IPC_PRIVATE`: the key of segments that cannot be found by a key.
    pub const PRIVATE: Key = Key(0);

    /// Returns the key as the kernel's `key_t`.
    pub fn as_raw(self) -> i32 {
        self.0.cast_signed()
    }

    /// Returns the key for the kernel's `key_t`.
    pub fn from_raw(raw: i32) -> Key {
        Key(raw.cast_unsigned())
    }

    /// Returns the key as a number without a sign.
    pub(crate) fn as_unsigned(self) -> u32 {
        self.0
    }

    /// Returns whether this is `IPC_PRIVATE`: the segment was created without a key, or lost its key to `IPC_RMID`.
    pub fn is_private(self) -> bool {
        self == Key::PRIVATE
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#010x}", self.0)
    }
}

/// Why a word is not a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ParseKeyError {
    /// Not a number in C notation.
    NotANumber,
    /// A number, but not one of 32 bits.
    TooLarge,
    /// A range whose first key is larger than the second.
    EmptyRange,
}

impl fmt::Display for ParseKeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotANumber => {
                "a key is a number in C notation (42, 052, 0x2a) or as /proc/sysvipc/shm prints it (-743314431)"
            }
            Self::TooLarge => "a key has 32 bits: -2147483648 to 4294967295",
            Self::EmptyRange => {
                "a range goes from the smaller key to the larger one, as numbers without a sign: 0x10-0x1f"
            }
        })
    }
}

impl std::error::Error for ParseKeyError {}

impl FromStr for Key {
    type Err = ParseKeyError;

    /// Reads C notation (`42`, `052`, `0x2a`), and the signed decimal of `/proc/sysvipc/shm`.
    fn from_str(word: &str) -> Result<Key, ParseKeyError> {
        if let Some(magnitude) = word.strip_prefix('-') {
            // -052 is ambiguous: it means -42 in C, and -52 in the decimal notation of the table.
            let is_octal = magnitude.len() > 1 && magnitude.starts_with('0');
            let plain = !magnitude.is_empty() && !is_octal && magnitude.bytes().all(|b| b.is_ascii_digit());
            if !plain {
                return Err(ParseKeyError::NotANumber);
            }
            return word.parse().map(Key::from_raw).map_err(|_| ParseKeyError::TooLarge);
        }
        match c_integer(word) {
            Ok(number) => u32::try_from(number).map(Key).map_err(|_| ParseKeyError::TooLarge),
            Err(NotCInteger::Overflow) => Err(ParseKeyError::TooLarge),
            Err(NotCInteger::Syntax) => Err(ParseKeyError::NotANumber),
        }
    }
}

/// Why [`c_integer`] refused a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NotCInteger {
    /// Not a number in C notation.
    Syntax,
    /// More than 64 bits.
    Overflow,
}

/// Reads the whole word as an unsigned C integer constant: decimal, octal after `0`, hexadecimal after `0x`.
pub(crate) fn c_integer(word: &str) -> Result<u64, NotCInteger> {
    let hexadecimal = word.strip_prefix("0x").or_else(|| word.strip_prefix("0X"));
    let (digits, radix) = match (hexadecimal, word.strip_prefix('0')) {
        (Some(digits), _) => (digits, 16),
        (None, Some(digits)) if !digits.is_empty() => (digits, 8),
        _ => (word, 10),
    };
    // from_str_radix accepts a sign.
    if digits.is_empty() || !digits.chars().all(|c| c.is_digit(radix)) {
        return Err(NotCInteger::Syntax);
    }
    u64::from_str_radix(digits, radix).map_err(|_| NotCInteger::Overflow)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_notation_gives_the_same_bits() {
        for (word, raw) in [
            ("0x2a", 42),
            ("42", 42),
            ("052", 42),
            ("0xdeadbeef", 0xdead_beef_u32.cast_signed()),
            ("-559038737", -559_038_737),
            ("0x80000000", i32::MIN),
            ("-2147483648", i32::MIN),
            ("4294967295", -1),
            ("0", 0),
        ] {
            assert_eq!(word.parse(), Ok(Key::from_raw(raw)), "{word}");
        }
        assert_eq!(Key::from_raw(-743_314_431).to_string(), "0xd3b1ec01");
        assert_eq!(Key::from_raw(42).to_string(), "0x0000002a");
    }

    #[test]
    fn malformed_and_large_numbers_are_refused() {
        for word in
            ["", "0x", "08", "4 2", " 42", "42 ", "+42", "--1", "-0x2a", "-052", "-00", "-", "0x-1", "1_0", "٤٢"]
        {
            assert_eq!(word.parse::<Key>(), Err(ParseKeyError::NotANumber), "{word:?}");
        }
        for word in ["0x100000001", "4294967296", "-2147483649", "99999999999999999999999"] {
            assert_eq!(word.parse::<Key>(), Err(ParseKeyError::TooLarge), "{word:?}");
        }
    }
}
