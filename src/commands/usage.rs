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
    let mut lines = first.lines().map(str::trim);
    let cause = match message.kind() {
        ErrorKind::MissingRequiredArgument => {
            let missing: Vec<_> = lines.skip(1).collect();
            let noun = if missing.len() == 1 { "argument" } else { "arguments" };
            format!("missing {noun}: {}", missing.join(", "))
        }
        _ => {
            let first = lines.next().unwrap_or_default().to_owned();
            in_words(&lines.fold(first, |cause, line| cause + " " + line))
        }
    };
    let error = Error::usage(cause);
    match written_wrong(&message, words).or_else(|| close_to(&message, words)) {
        Some(hint) => error.hint(hint),
        None => error.hint(format_args!("see `{} --help`", command(words))),
    }
}

/// Returns a text without the words of Rust's parsers of numbers, and without its notation of ranges.
fn in_words(cause: &str) -> String {
    for (rust, words) in [
        ("invalid digit found in string", "it is not a number"),
        ("cannot parse integer from empty string", "it is not a number"),
        ("number too large to fit in target type", "the number is too large"),
    ] {
        if let Some(before) = cause.strip_suffix(rust) {
            return format!("{before}{words}");
        }
    }
    let Some((before, (low, high))) =
        cause.rsplit_once(" is not in ").and_then(|(before, range)| Some((before, range.split_once("..")?)))
    else {
        return cause.to_owned();
    };
    match high.strip_prefix('=') {
        Some(high) => format!("{before} is not from {low} to {high}"),
        None => format!("{before} is less than {low}"),
    }
}

/// Returns how to write what was understood as another argument: an optional value, or the command of `guard`.
fn written_wrong(message: &clap::Error, words: &[String]) -> Option<String> {
    let wrong = match message.kind() {
        ErrorKind::UnknownArgument => ContextKind::InvalidArg,
        ErrorKind::ValueValidation => ContextKind::InvalidValue,
        _ => return None,
    };
    let ContextValue::String(wrong) = message.get(wrong)? else { return None };
    let before = words.windows(2).find(|pair| pair[1] == *wrong).map(|pair| pair[0].as_str());
    match before {
        Some(option @ ("--hold" | "--huge" | "--wait")) => Some(format!("a value follows after =: {option}={wrong}")),
        _ if message.kind() == ErrorKind::UnknownArgument
            && command(words) == "shmadm guard"
            && !wrong.starts_with('-') =>
        {
            Some(format!("write -- before the command: `shmadm guard -- {wrong}`"))
        }
        _ => None,
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

/// Returns the options that begin with the word, or else clap's suggestion, if it begins like the word. Other suggestions
/// mislead: `--leaked` is not `--marked`.
fn close_to(message: &clap::Error, words: &[String]) -> Option<String> {
    let (wrong, suggested) = match message.kind() {
        ErrorKind::UnknownArgument => (ContextKind::InvalidArg, ContextKind::SuggestedArg),
        ErrorKind::InvalidSubcommand => (ContextKind::InvalidSubcommand, ContextKind::SuggestedSubcommand),
        ErrorKind::InvalidValue => (ContextKind::InvalidValue, ContextKind::SuggestedValue),
        _ => return None,
    };
    let ContextValue::String(wrong) = message.get(wrong)? else { return None };
    let whole = options_that_begin_with(wrong, words);
    if !whole.is_empty() {
        return Some(format!("did you mean {}?", whole.join(" or ")));
    }
    let in_common = |suggested: &&str| {
        let pairs = wrong.trim_start_matches('-').chars().zip(suggested.trim_start_matches('-').chars());
        pairs.take_while(|(one, other)| one == other).count()
    };
    let closest = match message.get(suggested)? {
        ContextValue::String(suggested) => suggested,
        ContextValue::Strings(suggested) => suggested.iter().map(String::as_str).max_by_key(in_common)?,
        _ => return None,
    };
    Some(closest).filter(|closest| in_common(closest) >= 2).map(|closest| format!("did you mean '{closest}'?"))
}

/// Returns the long options of the command that begin with a word such as `--min`, in quotes.
fn options_that_begin_with(word: &str, words: &[String]) -> Vec<String> {
    let Some(start) = word.strip_prefix("--").filter(|start| start.len() >= 2) else { return Vec::new() };
    let commands = all_commands();
    let command = words.iter().skip(1).find_map(|word| commands.find_subcommand(word)).unwrap_or(&commands);
    let long = command.get_arguments().filter(|argument| !argument.is_hide_set()).filter_map(|one| one.get_long());
    long.filter(|long| long.starts_with(start)).map(|long| format!("'--{long}'")).collect()
}

/// Returns the command that the words are for, such as `shmadm list`. Help has no page of its own.
fn command(words: &[String]) -> String {
    let commands = all_commands();
    let named = words.iter().skip(1).find_map(|word| commands.find_subcommand(word));
    match named.map(clap::Command::get_name) {
        None | Some("help") => "shmadm".into(),
        Some(name) => format!("shmadm {name}"),
    }
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
            ("shmadm create", "missing arguments: --size <SIZE>, <KEY>; see `shmadm create --help`"),
            ("shmadm list --min 5", "unexpected argument '--min' found; did you mean '--mine' or '--min-size'?"),
            (
                "shmadm guard --exit-code 256 -- ls",
                "invalid value '256' for '--exit-code <N>': 256 is not from 0 to 255; see `shmadm guard --help`",
            ),
            (
                "shmadm watch --count x",
                "invalid value 'x' for '--count <N>': it is not a number; see `shmadm watch --help`",
            ),
            (
                "shmadm watch --count 0",
                "invalid value '0' for '--count <N>': 0 is less than 1; see `shmadm watch --help`",
            ),
            ("shmadm guard ls", "unexpected argument 'ls' found; write -- before the command: `shmadm guard -- ls`"),
            ("shmadm help lst", "unrecognized subcommand 'lst'; see `shmadm --help`"),
            ("shmadm xyzzy", "unrecognized subcommand 'xyzzy'; see `shmadm --help`"),
        ] {
            assert_eq!(usage_error(line), expected);
        }
        for line in ["shmadm rm 5 --wait 5s", "shmadm read 5 --hold 5s", "shmadm create --huge 2M -s 2M"] {
            let value = if line.contains("2M") { "--huge=2M" } else { "=5s" };
            assert!(
                usage_error(line).contains("a value follows after =: ") && usage_error(line).ends_with(value),
                "{line}"
            );
        }
        assert!(!usage_error("shmadm guard --al -- true").contains("-- --al"));
        assert!(usage_error("shmadm read").starts_with("missing argument: <SEGMENT>; "));
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
