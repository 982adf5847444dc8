//! The characters that the user's terminal shows, as the locale says.

use std::env;
use std::ffi::OsStr;

/// What lines and ellipses are drawn with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Charset {
    /// Box-drawing characters.
    Unicode,
    /// `+`, `-` and `|`.
    Ascii,
}

impl Charset {
    /// Returns the characters for the locale in the environment: the first of LC_ALL, LC_CTYPE and LANG that is not
    /// empty decides (locale(7)).
    pub(crate) fn of_locale() -> Charset {
        let values = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().filter_map(env::var_os);
        Charset::named(values.into_iter().find(|value| !value.is_empty()).unwrap_or_default().as_ref())
    }

    fn named(locale: &OsStr) -> Charset {
        let locale = locale.to_string_lossy().to_lowercase();
        if locale.contains("utf-8") || locale.contains("utf8") { Charset::Unicode } else { Charset::Ascii }
    }

    /// Returns a line of a picture, drawn with these characters. Other characters stay.
    pub(super) fn draw(self, line: &str) -> String {
        let ascii = |c| match c {
            '─' => '-',
            '│' => '|',
            '┌' | '┐' | '└' | '┘' | '├' | '┤' | '┬' | '┴' | '┼' => '+',
            '▲' => '^',
            c => c,
        };
        match self {
            Charset::Unicode => line.into(),
            Charset::Ascii => line.chars().map(ascii).collect(),
        }
    }

    /// Returns what marks a text that was cut.
    pub(super) fn ellipsis(self) -> &'static str {
        match self {
            Charset::Unicode => "…",
            Charset::Ascii => "~",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_locale_says_which() {
        for (locale, charset) in [
            ("C.UTF-8", Charset::Unicode),
            ("de_DE.utf8", Charset::Unicode),
            ("C", Charset::Ascii),
            ("de_DE", Charset::Ascii),
            ("", Charset::Ascii),
        ] {
            assert_eq!(Charset::named(locale.as_ref()), charset, "{locale:?}");
        }
    }
}
