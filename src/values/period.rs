//! Durations as a user writes them.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use jiff::{Span, SpanRelativeTo};

/// A length of time: `100ms`, `90s`, `10m`, `2h 30m`, `3d`. A day has 24 hours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Period(pub Duration);

/// The error for a word that is not a duration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ParsePeriodError;

impl fmt::Display for ParsePeriodError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a duration is a number with a unit, or several: 100ms, 90s, 10m, 2h 30m, 3d")
    }
}

impl std::error::Error for ParsePeriodError {}

impl FromStr for Period {
    type Err = ParsePeriodError;

    fn from_str(word: &str) -> Result<Period, ParsePeriodError> {
        // The library also accepts ISO 8601 ("PT5M"), clock times ("1:07:06"), "5m ago" and surrounding spaces. Here a
        // duration begins with a digit, ends with a unit, and does not lie in the past.
        let is_allowed = |c: char| c.is_ascii_alphanumeric() || c == '.' || c == ' ';
        let begins = word.starts_with(|c: char| c.is_ascii_digit());
        if !(begins && word.ends_with(|c: char| c.is_ascii_alphabetic()) && word.chars().all(is_allowed)) {
            return Err(ParsePeriodError);
        }
        word.parse::<Span>()
            .and_then(|span| span.to_duration(SpanRelativeTo::days_are_24_hours()))
            .ok()
            .and_then(|duration| Duration::try_from(duration).ok())
            .map(Period)
            .ok_or(ParsePeriodError)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_units_of_the_manual() {
        for (word, ms) in [
            ("100ms", 100),
            ("90s", 90_000),
            ("1.5s", 1500),
            ("10m", 600_000),
            ("2h 30m", 9_000_000),
            ("2h30m", 9_000_000),
            ("3d", 259_200_000),
            ("0s", 0),
        ] {
            assert_eq!(word.parse(), Ok(Period(Duration::from_millis(ms))), "{word}");
        }
        // jiff accepts these. The fuzzer found them.
        for word in ["1:7:6", "79:42000581414:0079070.01", "2h\r\n", "2h ", "0\u{c}d", "9w2d\t\t"] {
            assert_eq!(word.parse::<Period>(), Err(ParsePeriodError), "{word:?}");
        }
        for word in ["", "10", "-5s", "5s ago", "PT5M", "s", "1y", "5 parsecs", "1M", "99999999999999999999d"] {
            assert_eq!(word.parse::<Period>(), Err(ParsePeriodError), "{word:?}");
        }
    }
}
