//! Numbers of things in sentences.

use std::fmt::Display;

/// Returns a number with its noun: `1 segment`, `2 segments`, `2 processes`.
pub(crate) fn counted(count: impl Display, noun: &str) -> String {
    let count = count.to_string();
    let suffix = match noun.as_bytes().last() {
        _ if count == "1" => "",
        Some(b's') => "es",
        _ => "s",
    };
    format!("{count} {noun}{suffix}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_agree() {
        for (count, noun, text) in [
            (0, "segment", "0 segments"),
            (1, "segment", "1 segment"),
            (2, "byte", "2 bytes"),
            (1, "process", "1 process"),
            (11, "process", "11 processes"),
        ] {
            assert_eq!(counted(count, noun), text);
        }
    }
}
