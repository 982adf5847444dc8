//! For every file name the inserted text is one word to the shell and runs nothing.

use super::{SHELLS, Terminal};
use crate::support::{Namespace, in_namespace};

/// Names that another user can give to files. Each is the only one in its directory.
const NAMES: [&str; 14] = [
    "$(touch pwned)",
    "`touch pwned`",
    "a;touch pwned;b",
    "a|touch pwned",
    "a&touch pwned",
    "a (touch pwned)",
    "a b",
    "a'b",
    "a\"b",
    "a\\b",
    "a!b#c",
    "$HOME",
    "a*?[b]{c,d}",
    "a:b=c",
];

/// Returns command lines that complete a file in this directory, one for each way of quoting.
fn lines(shell: &str, directory: &str) -> Vec<String> {
    let quotes: &[&str] = if shell == "elvish" { &[""] } else { &["", "\"", "'"] };
    quotes.iter().map(|quote| format!("shmadm stat {quote}ftok:A:{directory}/")).collect()
}

/// Presses TAB and Enter on each line. The command must name exactly that file, and nothing else must run.
fn completes_to_one_word(ns: &Namespace, shell: &str) {
    let mut terminal = Terminal::start(ns, shell);
    for (number, name) in NAMES.iter().enumerate() {
        let directory = format!("d{number}");
        std::fs::create_dir(ns.path(&directory)).expect("a directory");
        ns.file(&format!("{directory}/{name}"), "");
        for line in lines(shell, &directory) {
            let open = line.chars().find(|char| ['"', '\''].contains(char));
            // Elvish first shows a word that needs quotes, and inserts it at Enter.
            let is_shown_first = shell == "elvish" && *name != "a\\b";
            // Closes open quotes, as a person would do.
            let last = match (shell, open) {
                ("elvish", _) if is_shown_first => "\r".into(),
                ("elvish", _) => String::new(),
                (_, Some(quote)) if !terminal.complete(&line).trim_end().ends_with(quote) => quote.to_string(),
                _ => String::new(),
            };
            terminal.screen.lock().expect("the screen").clear();
            terminal.type_in(&format!("{line}\t"));
            if is_shown_first {
                terminal.wait_for("COMPLETING");
            }
            terminal.type_in(&format!("{last}\r"));
            terminal.wait_for("cannot stat segment");
            terminal.wait_for("there is no such segment");
            assert!(!ns.path("pwned").exists(), "{shell}: {line} and {name}");
        }
        std::fs::remove_dir_all(ns.path(&directory)).expect("a directory");
    }
    terminal.leave();
}

#[test]
fn in_bash() {
    in_namespace(|ns| completes_to_one_word(ns, SHELLS[0]));
}

#[test]
fn in_zsh() {
    in_namespace(|ns| completes_to_one_word(ns, SHELLS[1]));
}

#[test]
fn in_fish() {
    in_namespace(|ns| completes_to_one_word(ns, SHELLS[2]));
}

#[test]
fn in_elvish() {
    in_namespace(|ns| completes_to_one_word(ns, SHELLS[3]));
}
