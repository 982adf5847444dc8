//! Sizes, offsets and lengths: their grammar, and how they are shown.

use std::fmt;
use std::str::FromStr;

use parse_size::Config;
use unit_prefix::NumberPrefix;

use crate::values::key::NotCInteger;
use crate::values::{c_integer, counted};

/// A number of bytes, as a user writes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size(pub u64);

/// The error for a word that is not a size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ParseSizeError {
    /// Not a number, or an unknown unit.
    Syntax,
    /// More than 64 bits.
    TooLarge,
}

impl fmt::Display for ParseSizeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Syntax => {
                "a size is bytes (4096, 0x1000), or has a unit: K M G T P E and KiB MiB … count by 1024, KB MB … by 1000"
            }
            Self::TooLarge => "a size has 64 bits: at most 18446744073709551615 bytes",
        })
    }
}

impl std::error::Error for ParseSizeError {}

impl FromStr for Size {
    type Err = ParseSizeError;

    fn from_str(word: &str) -> Result<Size, ParseSizeError> {
        if word.starts_with("0x") || word.starts_with("0X") {
            return c_integer(word).map(Size).map_err(|error| match error {
                NotCInteger::Syntax => ParseSizeError::Syntax,
                NotCInteger::Overflow => ParseSizeError::TooLarge,
            });
        }
        // parse_size also accepts spaces, underscores and exponents. On a command line these are mistakes. `1E` is an
        // exbibyte, and a fraction needs a unit.
        let digits_end = word.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(word.len());
        let (number, unit) = word.split_at(digits_end);
        let well_formed = number.starts_with(|c: char| c.is_ascii_digit())
            && number.ends_with(|c: char| c.is_ascii_digit())
            && is_unit(unit)
            && !(number.contains('.') && (unit.is_empty() || unit.eq_ignore_ascii_case("b")));
        if !well_formed {
            return Err(ParseSizeError::Syntax);
        }
        let by_1024 = Config::new().with_binary();
        let by_1000 = Config::new().with_decimal();
        let config = if unit.len() == 2 && unit.ends_with(['b', 'B']) { by_1000 } else { by_1024 };
        config.parse_size(word).map(Size).map_err(|_| ParseSizeError::TooLarge)
    }
}

/// Returns whether a unit is `K`, `KiB` or `KB` of any power, in either case, or `B`, or nothing. The library also accepts
/// `iB` and `EE`.
fn is_unit(unit: &str) -> bool {
    let is_power = |letter: &u8| b"KMGTPE".contains(&letter.to_ascii_uppercase());
    match unit.as_bytes() {
        [] | [b'b' | b'B'] => true,
        [power] | [power, b'b' | b'B'] | [power, b'i' | b'I', b'b' | b'B'] => is_power(power),
        _ => false,
    }
}

/// Returns a number of bytes for people, in powers of 1024 with one letter: `512`, `4K`, `1.5M`.
pub(crate) fn human(bytes: u128) -> String {
    #[expect(clippy::cast_precision_loss, reason = "three digits are shown, and an f64 has fifteen")]
    let (prefix, number) = match NumberPrefix::binary(bytes as f64) {
        NumberPrefix::Standalone(_) => return bytes.to_string(),
        NumberPrefix::Prefixed(prefix, number) => (prefix, number),
    };
    let mut digits = format!("{number:.1}");
    if digits.ends_with(".0") || number >= 100.0 {
        digits = format!("{number:.0}");
    }
    if digits == "1024" {
        // A number just below a power of 1024 is rounded up to the next unit.
        return human(bytes.next_power_of_two());
    }
    digits + &prefix.symbol()[..1]
}

/// Returns a number of bytes for a sentence. Unlike [`human`], it writes the unit where there is no letter: `10 bytes`.
pub(crate) fn human_bytes(bytes: u128) -> String {
    if bytes < 1024 { counted(bytes, "byte") } else { human(bytes) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_by_1024_and_by_1000() {
        for (word, bytes) in [
            ("0", 0),
            ("4096", 4096),
            ("010", 10),
            ("10b", 10),
            ("0x1000", 4096),
            ("1K", 1024),
            ("1k", 1024),
            ("1KiB", 1024),
            ("1kib", 1024),
            ("1KB", 1000),
            ("1kb", 1000),
            ("1.5K", 1536),
            ("2M", 2 << 20),
            ("3MB", 3_000_000),
            ("1G", 1 << 30),
            ("1T", 1 << 40),
            ("1P", 1 << 50),
            ("1E", 1 << 60),
            ("1EB", 1_000_000_000_000_000_000),
            ("15EiB", 15 << 60),
            ("18446744073709551615", u64::MAX),
        ] {
            assert_eq!(word.parse(), Ok(Size(bytes)), "{word}");
        }
    }

    #[test]
    fn malformed_and_large_sizes_are_refused() {
        for word in [
            "", " ", "-1", "+1", "1 K", "1_000", "1e3", "K", ".5K", "5.K", "1.5", "1.5b", "0x", "0x1K", "1KK", "1Z",
            "1KBB", "2iB", "0EE", "1Ki", "١",
        ] {
            assert_eq!(word.parse::<Size>(), Err(ParseSizeError::Syntax), "{word:?}");
        }
        for word in ["16E", "18446744073709551616", "0x10000000000000000", "17179869184G"] {
            assert_eq!(word.parse::<Size>(), Err(ParseSizeError::TooLarge), "{word:?}");
        }
    }

    #[test]
    fn human_sizes_have_at_most_four_digits_and_one_letter() {
        for (bytes, text) in [
            (0, "0"),
            (1023, "1023"),
            (1024, "1K"),
            (1536, "1.5K"),
            (10_000, "9.8K"),
            (150 * 1024 + 100, "150K"),
            ((1 << 20) - 1, "1M"),
            (1 << 20, "1M"),
            (1023 * 1024, "1023K"),
            (1023 * 1024 + 512, "1M"),
            ((1 << 30) - (1 << 10), "1G"),
            ((1 << 40) - 1, "1T"),
            (u128::from(u64::MAX), "16E"),
            (1 << 64, "16E"),
        ] {
            assert_eq!(human(bytes), text, "{bytes}");
        }
    }

    #[test]
    fn in_a_sentence_a_number_has_its_unit() {
        for (bytes, shown) in [(0, "0 bytes"), (1, "1 byte"), (1023, "1023 bytes"), (1024, "1K"), (1 << 62, "4E")] {
            assert_eq!(human_bytes(bytes), shown);
        }
    }
}
