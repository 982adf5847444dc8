//! Help for users: correct examples in `--help`, suggestions for typos, errors that say what to do next.

use std::process::{Command, Stdio};

use crate::support::{ended, in_namespace, shmadm_path};

fn shmadm(args: &[&str]) -> Command {
    let mut command = Command::new(shmadm_path());
    command.args(args).stdin(Stdio::null());
    command
}

/// Returns every command, as `--help` names it.
fn commands() -> Vec<String> {
    let help = ended(&mut shmadm(&["--help"])).ok();
    let (_, list) = help.split_once("Commands:\n").expect("the commands");
    let names = list.lines().take_while(|line| !line.is_empty()).filter_map(|line| line.split_whitespace().next());
    let commands: Vec<_> = names.filter(|name| *name != "help").map(str::to_owned).collect();
    assert!(commands.len() >= 10, "{commands:?}");
    commands
}

/// Returns the lines below `Examples:` in a command's `--help`.
fn examples(command: &str) -> Vec<String> {
    let help = ended(&mut shmadm(&[command, "--help"])).ok();
    let (_, examples) = help.split_once("\nExamples:\n").unwrap_or_else(|| panic!("{command} has no examples: {help}"));
    examples.lines().take_while(|line| line.starts_with("  ")).map(str::to_owned).collect()
}

#[test]
fn every_command_is_described_in_the_list() {
    for told in [ended(&mut shmadm(&["--help"])).ok(), ended(&mut shmadm(&["-h"])).ok(), ended(&mut shmadm(&[])).err] {
        let (_, list) = told.split_once("Commands:\n").expect("the commands");
        for line in list.lines().take_while(|line| !line.is_empty()) {
            let (name, about) = line.trim_start().split_once(' ').unwrap_or_else(|| panic!("no text in {line:?}"));
            assert!(about.trim_start().starts_with(|c: char| c.is_ascii_uppercase()), "{name}: {about:?}");
        }
    }
}

#[test]
fn the_text_after_the_options_fits_80_columns() {
    // clap wraps the options at the width of the terminal. It wraps the lines after them, too, but then columns break.
    for command in commands() {
        for line in ["Exit status", "Examples"].iter().flat_map(|heading| below(&command, heading)) {
            assert!(line.chars().count() <= 80, "{command}: {line}");
        }
    }
    let help = ended(&mut shmadm(&["--help"])).ok();
    let (_, end) = help.split_once("\nSEGMENT is").expect("the end");
    assert!(end.lines().skip(1).all(|line| line.chars().count() <= 80), "{end}");
}

/// Returns the lines of a command's `--help` from one that begins with this word to the next empty line.
fn below(command: &str, heading: &str) -> Vec<String> {
    let help = ended(&mut shmadm(&[command, "--help"])).ok();
    let lines = help.lines().skip_while(|line| !line.starts_with(heading)).take_while(|line| !line.is_empty());
    lines.map(str::to_owned).collect()
}

/// Returns the long options of a command that are long enough for a test with a typo.
fn options(command: &str) -> Vec<String> {
    let help = ended(&mut shmadm(&[command, "--help"])).ok();
    let entries = help.lines().map(str::trim_start).filter(|line| line.starts_with('-'));
    let long = entries.filter_map(|line| line.split([' ', '[', '=']).find(|word| word.starts_with("--")));
    long.filter(|option| option.len() > 5).map(str::to_owned).collect()
}

#[test]
fn every_example_is_understood() {
    for command in commands() {
        let mut count = 0;
        for line in examples(&command) {
            // Text after two spaces is an explanation.
            let line = line.trim_start().split("  ").next().expect("a line");
            let shmadm_calls = line.split(['|', ';', '>']).map(str::trim).filter(|part| part.starts_with("shmadm "));
            for call in shmadm_calls {
                count += 1;
                // The last word is wrong for certain. If clap complains about it, it has understood all words before
                // it, and nothing is done. Words after `--` belong to another program.
                let (own, wrong) = (call.split(" -- ").next().expect("a call"), "--color=nonsense");
                let run = format!("shmadm() {{ '{}' \"$@\"; }}; {own} {wrong}", shmadm_path());
                let error = ended(Command::new("sh").args(["-c", &run]).stdin(Stdio::null())).usage_error();
                assert!(error.contains("'nonsense' for '--color"), "{call}: {error}");
            }
        }
        assert!(count >= 2, "{command} has {count} examples");
    }
}

#[test]
fn help_shows_newcomers_where_to_begin() {
    let help = ended(&mut shmadm(&["--help"])).ok();
    let last = help.trim_end().lines().last().expect("a line");
    assert!(last.contains("`shmadm demo --pause`"), "{last}");
    // Without arguments the text is the same.
    let alone = ended(&mut shmadm(&[]));
    assert_eq!((alone.code, alone.err.contains("`shmadm demo --pause`")), (Some(2), true), "{alone:?}");
}

#[test]
fn a_typo_suggests_the_right_word() {
    assert!(ended(&mut shmadm(&["craete"])).usage_error().contains("'create'"));
    for command in commands() {
        let doubled = format!("{command}{}", &command[command.len() - 1..]);
        let error = ended(&mut shmadm(&[&doubled])).usage_error();
        assert!(error.contains(&format!("'{command}'")), "{doubled}: {error}");

        let options = options(&command);
        assert!(options.iter().any(|option| option == "--trace"), "{command}: {options:?}");
        for option in options {
            let cut = &option[..option.len() - 1];
            let error = ended(&mut shmadm(&[&command, cut])).usage_error();
            // --fil could be --file or --fill.
            let tip = error.split_once("did you mean '").map_or("", |(_, tip)| tip);
            assert!(tip.starts_with(cut), "{command} {cut}: {error}");
        }
    }
}

#[test]
fn a_failure_says_what_to_do_next() {
    in_namespace(|ns| {
        ns.shmadm(["create", "1", "--size", "4096", "--mode", "0"]).ok();
        let id = ns.table()[0].id.clone();
        for (words, status, next) in [
            ("read 2", 3, "`shmadm list`"),
            ("write 2 x", 3, "`shmadm list`"),
            ("stat id:77", 3, "`shmadm list`"),
            ("remove 2", 3, "`shmadm list`"),
            ("set 2 --lock", 3, "`shmadm list`"),
            ("create 1 --size 1", 1, "--exist-ok"),
            ("create 2 --exist-ok", 3, "--size"),
            ("remove --all", 2, "--yes"),
            ("read 1", 1, &*format!("`shmadm stat id:{id}`")),
            ("write 1 x", 1, &format!("`shmadm stat id:{id}`")),
            ("remove 1", 1, &format!("`shmadm stat id:{id}`")),
            ("set 1 --mode 600", 1, &format!("`shmadm stat id:{id}`")),
            ("set 1 --lock", 1, &format!("`shmadm stat id:{id}`")),
            ("write id:0 x --create 4K", 2, "name a key"),
        ] {
            // Root may do everything, also root of a user namespace with its own segments.
            if next.contains("stat id") && !ns.is_root {
                continue;
            }
            let error = ns.shmadm_unprivileged(words.split(' ')).fails(status);
            let (_, hint) = error.split_once("; ").unwrap_or_else(|| panic!("{words}: no hint in {error}"));
            assert!(hint.contains(next), "{words}: {error}");
        }
    });
}
