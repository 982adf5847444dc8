//! The value of `--columns`.

use std::ffi::OsStr;
use std::str::FromStr;

use clap_complete::engine::CompletionCandidate;

use crate::error::{Error, Result};
use crate::output::{COLUMNS, Column};

/// One of the comma-separated words of `--columns`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum ColumnWord {
    /// `owner`: this column.
    Named(&'static Column),
    /// `+owner`: the default columns, and this one.
    Added(&'static Column),
    /// `all`: every column.
    All,
    /// `help`: no list, but a line for each column.
    Help,
}

impl FromStr for ColumnWord {
    type Err = String;

    fn from_str(word: &str) -> Result<ColumnWord, String> {
        let named = |title| Column::named(title).map_err(|error| error.to_string());
        match word {
            "all" => Ok(ColumnWord::All),
            "help" => Ok(ColumnWord::Help),
            _ => match word.strip_prefix('+') {
                Some(title) => named(title).map(ColumnWord::Added),
                None => named(word).map(ColumnWord::Named),
            },
        }
    }
}

/// Returns the columns for the words.
///
/// # Errors
/// Bad usage: a `+` that is not before the first column.
pub(super) fn resolve(words: &[ColumnWord], defaults: Vec<&'static Column>) -> Result<Vec<&'static Column>> {
    let adds = matches!(words.first(), Some(ColumnWord::Added(_)));
    let mut columns = if adds { defaults } else { Vec::new() };
    for word in words {
        match word {
            ColumnWord::Named(column) | ColumnWord::Added(column) if adds => {
                if !columns.contains(column) {
                    columns.push(column);
                }
            }
            ColumnWord::Named(column) => columns.push(column),
            ColumnWord::Added(column) => {
                return Err(Error::usage(format!(
                    "-o +{} adds to the default columns: write the + before the first column",
                    column.title.to_lowercase()
                )));
            }
            ColumnWord::All => columns.extend(COLUMNS),
            ColumnWord::Help => {}
        }
    }
    Ok(columns)
}

/// Returns whether the words name none of the columns that a narrow terminal hides. They may be hidden then.
pub(super) fn only_adds(words: &[ColumnWord]) -> bool {
    match words.first() {
        None => true,
        Some(ColumnWord::Added(_)) => !words.iter().any(|word| match word {
            ColumnWord::Named(column) | ColumnWord::Added(column) => column.is_expendable(),
            ColumnWord::All | ColumnWord::Help => false,
        }),
        Some(_) => false,
    }
}

/// Returns the completion candidates for a word.
pub(crate) fn candidates(word: &OsStr) -> Vec<CompletionCandidate> {
    let plus = if word.as_encoded_bytes().starts_with(b"+") { "+" } else { "" };
    let columns = COLUMNS.iter().map(|column| (format!("{plus}{}", column.title.to_lowercase()), column.help));
    let words = [("all".to_owned(), "Every column"), ("help".to_owned(), "A description of each column")];
    let all = columns.chain(words.into_iter().filter(|_| plus.is_empty()));
    let fitting = all.filter(|(name, _)| word.to_str().is_some_and(|word| name.starts_with(word)));
    fitting.map(|(name, help)| CompletionCandidate::new(name).help(Some(help.into()))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_named_added_or_all() {
        let titles = |words: &str| {
            let words: Vec<_> = words.split(',').map(|word| word.parse().unwrap()).collect();
            let defaults = ["key", "id"].map(|title| Column::named(title).unwrap()).to_vec();
            resolve(&words, defaults).map(|columns| columns.iter().map(|column| column.title).collect::<Vec<_>>())
        };
        assert_eq!(titles("Owner,key").unwrap(), ["OWNER", "KEY"]);
        assert_eq!(titles("+owner,id,+rss").unwrap(), ["KEY", "ID", "OWNER", "RSS"]);
        assert_eq!(titles("all").unwrap().len(), COLUMNS.len());
        for (words, expected) in [("+pids,unit", true), ("+pids,rss", false), ("pids", false), ("all", false)] {
            let parsed: Vec<_> = words.split(',').map(|word| word.parse().unwrap()).collect();
            assert_eq!(only_adds(&parsed), expected, "{words}");
        }
        assert!(only_adds(&[]));
        assert!(titles("owner,+key").is_err());
    }
}
