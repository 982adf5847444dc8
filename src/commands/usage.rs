//! Usage errors in the form of all other errors: one line that ends with advice.

use clap::error::{ContextKind, ContextValue, ErrorKind};

use super::all_commands;
use crate::error::Error;

/// Converts clap's error for these words, which are already escaped.
///
/// While a command is parsed, only its own arguments are defined. The words are parsed again with the arguments of all
/// commands, because a word can belong to another command.
pub(super) fn error(message: clap::Error, words: &[String]) -> Error {
    let message = all_commands().try_get_matches_from(words).err().unwrap_or(message);
    let text = message.render().to_string();
    let text = text.strip_prefix("error: ").unwrap_or(&text);
    // The other paragraphs are clap's advice, which often misleads, and the usage.
    let first = text.split("\n\n").next().unwrap_or(text);
    let cause = first.lines().map(str::trim).collect::<Vec<_>>().join(" ");
    let error = Error::usage(cause);
    match close_to(&message) {
        Some(suggestion) => error.hint(format_args!("did you mean '{suggestion}'?")),
        None => error.hint(format_args!("see `{} --help`", command(words))),
    }
}

/// Returns whether the words ask for JSON.
pub(super) fn wants_json(words: &[String]) -> bool {
    let is_json = |value: &str| matches!(value, "json" | "jsonl");
    let options: Vec<&str> = words.iter().map(String::as_str).take_while(|word| *word != "--").collect();
    let next = options.iter().skip(1).map(Some).chain([None]);
    options.iter().zip(next).any(|(word, next)| match *word {
        "-f" | "--format" => next.is_some_and(|value| is_json(value)),
        word => word.strip_prefix("--format=").or(word.strip_prefix("-f")).is_some_and(is_json),
    })
}

/// Returns clap's suggestion, if it begins like the word. Other suggestions mislead: `--leaked` is not `--marked`.
fn close_to(message: &clap::Error) -> Option<&str> {
    let (wrong, suggested) = match message.kind() {
        ErrorKind::UnknownArgument => (ContextKind::InvalidArg, ContextKind::SuggestedArg),
        ErrorKind::InvalidSubcommand => (ContextKind::InvalidSubcommand, ContextKind::SuggestedSubcommand),
        ErrorKind::InvalidValue => (ContextKind::InvalidValue, ContextKind::SuggestedValue),
        _ => return None,
    };
    let ContextValue::String(wrong) = message.get(wrong)? else { return None };
    let in_common = |suggested: &&str| {
        let pairs = wrong.trim_start_matches('-').chars().zip(suggested.trim_start_matches('-').chars());
        pairs.take_while(|(one, other)| one == other).count()
    };
    let closest = match message.get(suggested)? {
        ContextValue::String(suggested) => suggested,
        ContextValue::Strings(suggested) => suggested.iter().map(String::as_str).max_by_key(in_common)?,
        _ => return None,
    };
    Some(closest).filter(|closest| in_common(closest) >= 2)
}

/// Returns the command that the words are for, such as `shmadm list`.
fn command(words: &[String]) -> String {
    let commands = all_commands();
    let named = words.iter().skip(1).find_map(|word| commands.find_subcommand(word));
    named.map_or("shmadm".into(), |command| format!("shmadm {}", command.get_name()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usage_error(line: &str) -> String {
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        let message = all_commands().try_get_matches_from(&words).expect_err("a usage error");
        error(message, &words).to_string()
    }

    #[test]
    fn a_usage_error_is_one_line_without_misleading_advice() {
        for (line, expected) in [
            ("shmadm list --leaked", "unexpected argument '--leaked' found; see `shmadm list --help`"),
            ("shmadm list --orphan", "unexpected argument '--orphan' found; did you mean '--orphaned'?"),
            ("shmadm craete", "unrecognized subcommand 'craete'; did you mean 'create'?"),
            ("shmadm xyzzy", "unrecognized subcommand 'xyzzy'; see `shmadm --help`"),
        ] {
            assert_eq!(usage_error(line), expected);
        }
        assert!(!usage_error("shmadm guard --al -- true").contains("-- --al"));
        assert!(
            usage_error("shmadm read").starts_with("the following required arguments were not provided: <SEGMENT>; ")
        );
        assert!(usage_error("shmadm stat 7a6d0001").contains("did you mean 0x7a6d0001?"));
    }

    #[test]
    fn each_form_of_the_format_option_is_recognized() {
        let wants = |line: &str| wants_json(&line.split(' ').map(str::to_owned).collect::<Vec<_>>());
        for line in ["list -f json", "list --format=jsonl x", "list -fjson", "x --format json"] {
            assert!(wants(line), "{line}");
        }
        for line in ["list -f raw", "guard -- x -f json", "list -f", "read json"] {
            assert!(!wants(line), "{line}");
        }
    }
}
