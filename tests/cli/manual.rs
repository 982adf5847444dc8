//! The manual and the program agree: each page has exactly the options of `--help`, and is valid mdoc.

use crate::support::{Need, needs, shmadm_path, skippable};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use shmadm::internals::COLUMNS;

/// Long options without their dashes, each with its short option.
type Flags = BTreeMap<String, Option<char>>;

/// The `--help` of the program or of one of its commands.
struct Help {
    flags: Flags,
    /// Options below the heading `Filters`, which shmadm-filters(7) explains.
    filters: Flags,
    /// Commands, each with its aliases.
    commands: BTreeMap<String, Vec<String>>,
}

impl Help {
    fn of(command: Option<&str>) -> Help {
        let mut program = Command::new(shmadm_path());
        program.args(command).arg("--help").env_remove("COLUMNS").env_remove("CLICOLOR_FORCE");
        let output = program.output().expect("shmadm");
        assert!(output.status.success(), "--help of {command:?} failed: {output:?}");
        Help::parse(str::from_utf8(&output.stdout).expect("--help is UTF-8"))
    }

    /// Parses the text of clap: headings are not indented; a command or `-s, --size` has two spaces before it, a long
    /// option without a short one has six. Text that is indented further is an explanation, and may begin with a dash.
    fn parse(text: &str) -> Help {
        let mut help = Help { flags: Flags::new(), filters: Flags::new(), commands: BTreeMap::new() };
        let mut heading = "";
        for line in text.lines() {
            let entry = line.trim_start();
            match line.len() - entry.len() {
                // An empty line does not end a heading's entries.
                0 if line.is_empty() => {}
                0 => heading = line,
                2 if heading == "Commands:" => {
                    let (name, about) = entry.split_once(' ').unwrap_or((entry, ""));
                    help.commands.insert(name.into(), aliases(about));
                }
                2 | 6
                    if (heading == "Filters:" || heading.to_lowercase().ends_with("options:"))
                        && entry.starts_with('-') =>
                {
                    let (flag, short) = flag_of_help(entry);
                    let flags = if heading == "Filters:" { &mut help.filters } else { &mut help.flags };
                    flags.insert(flag, short);
                }
                _ => {}
            }
        }
        help
    }
}

/// Returns the names in `Show them [aliases: ls, dir]`.
fn aliases(about: &str) -> Vec<String> {
    let list = about.rsplit_once("[alias").and_then(|(_, list)| list.trim_end().strip_suffix(']'));
    let names = list.and_then(|list| list.split_once(": ")).map_or("", |(_, names)| names);
    names.split(", ").filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

/// Returns the flag in `-s, --size <SIZE>` or `--hold[=<DURATION>]`.
fn flag_of_help(entry: &str) -> (String, Option<char>) {
    let (short, long) = match entry.split_once(", ") {
        Some((short, long)) if !short.starts_with("--") => (short.strip_prefix('-'), long),
        _ => (None, entry),
    };
    let long = long.strip_prefix("--").unwrap_or_else(|| panic!("{entry:?} has no long option"));
    (leading_name(long).into(), short.and_then(|short| short.chars().next()))
}

fn leading_name(text: &str) -> &str {
    let end = text.find(|c: char| !c.is_ascii_alphanumeric() && c != '-').unwrap_or(text.len());
    text[..end].trim_end_matches('-')
}

/// A page of the manual.
struct Page {
    name: String,
    /// Its lines, with `\-` replaced by a dash.
    lines: Vec<String>,
}

impl Page {
    fn open(path: &Path) -> Page {
        let name = path.file_stem().expect("a name").to_str().expect("UTF-8").to_owned();
        let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        // Comments are not shown to readers.
        let lines = text.lines().filter(|line| !line.starts_with(".\\\"")).map(|line| line.replace("\\-", "-"));
        Page { name, lines: lines.collect() }
    }

    /// Returns whether the page has exactly this line.
    fn has_line(&self, wanted: &str) -> bool {
        self.lines.iter().any(|line| line == wanted)
    }

    /// Returns the options that this page explains: `.It Fl s , Fl \-size Ar SIZE`.
    fn explained(&self) -> Flags {
        let mut flags = Flags::new();
        for line in self.lines.iter().filter_map(|line| line.strip_prefix(".It Fl ")) {
            let words = || line.split(' ').filter(|word| !matches!(*word, "," | "Fl"));
            let short = words().next().filter(|word| word.len() == 1).and_then(|word| word.chars().next());
            let long = words().find_map(|word| word.strip_prefix('-')).map(leading_name);
            let long = long.unwrap_or_else(|| panic!("{}: `.It Fl {line}` has no long option", self.name));
            let before = flags.insert(long.to_owned(), short);
            assert!(before.is_none(), "{} explains --{long} twice", self.name);
        }
        flags
    }

    /// Returns every long option that this page names: `Fl \-size` anywhere, and `\-\-size` in an example.
    fn named(&self) -> BTreeSet<String> {
        let mut flags = BTreeSet::new();
        for line in &self.lines {
            let is_macro = line.starts_with('.');
            let after_fl = line.split("Fl -").skip(1).filter(|_| is_macro);
            let in_text = line.split("--").skip(1).filter(|rest| rest.starts_with(|c: char| c.is_ascii_lowercase()));
            let in_text = in_text.filter(|_| !is_other_program(line));
            flags.extend(after_fl.chain(in_text).map(|rest| leading_name(rest).to_owned()));
        }
        flags
    }

    /// Returns every `Xr shmadm-…`.
    fn references(&self) -> BTreeSet<&str> {
        let words = self.lines.iter().flat_map(|line| line.split("Xr ").skip(1));
        words.filter_map(|rest| rest.split(' ').next()).filter(|name| name.starts_with("shmadm")).collect()
    }
}

/// Returns whether an example's line runs another program, whose options are its own.
fn is_other_program(line: &str) -> bool {
    ["nsenter ", "unshare ", "docker "].iter().any(|program| line.contains(program))
}

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("man")
}

fn paths() -> Vec<PathBuf> {
    let entries = fs::read_dir(directory()).expect("man/");
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("man/").path()).collect();
    paths.sort();
    paths
}

/// Returns the pages of the whole manual, by their names.
fn pages() -> BTreeMap<String, Page> {
    paths().iter().map(|path| Page::open(path)).map(|page| (page.name.clone(), page)).collect()
}

/// Returns the pages of section 1, by their names.
fn pages_of_commands() -> BTreeMap<String, Page> {
    let is_of_command = |path: &&PathBuf| path.extension().is_some_and(|section| section == "1");
    paths().iter().filter(is_of_command).map(|path| Page::open(path)).map(|page| (page.name.clone(), page)).collect()
}

/// Returns the commands, without clap's own `help`.
fn commands() -> BTreeMap<String, Vec<String>> {
    let mut commands = Help::of(None).commands;
    assert!(commands.remove("help").is_some(), "clap's own command is gone from --help");
    assert!(commands.contains_key("list"), "no commands were found in --help: {:?}", commands.keys());
    commands
}

fn names(flags: &Flags) -> Vec<&str> {
    flags.keys().map(String::as_str).collect()
}

#[test]
fn every_command_has_a_page_and_the_reverse() {
    let pages = pages();
    let wanted: BTreeSet<_> = std::iter::once("shmadm".to_owned())
        .chain(commands().keys().map(|command| format!("shmadm-{command}")))
        .collect();
    let there: BTreeSet<_> = pages_of_commands().into_keys().collect();
    assert_eq!(there, wanted, "the pages (left) are not those of the commands (right)");

    let main = &pages["shmadm"];
    for (command, aliases) in commands() {
        let page = &pages[&format!("shmadm-{command}")];
        assert!(main.has_line(&format!(".It Xr shmadm-{command} 1")), "shmadm.1 does not list {command}");
        assert!(page.has_line(&format!(".Nm shmadm-{command}")), "{} has another name in it", page.name);
        for name in std::iter::once(&command).chain(&aliases) {
            assert!(page.has_line(&format!(".Nm shmadm {name}")), "the synopsis of {} lacks {name}", page.name);
        }
        for alias in aliases {
            let line = format!(".Cm {alias} .");
            assert!(main.has_line(&line), "shmadm.1 does not name {alias}, an alias of {command}");
        }
    }
    for page in pages.values() {
        for name in page.references() {
            assert!(pages.contains_key(name), "{} refers to {name}, which is no page", page.name);
        }
    }
}

#[test]
fn every_flag_is_explained_and_the_reverse() {
    let pages = pages();
    let global = Help::of(None).flags;
    assert_eq!(global.get("help"), Some(&Some('h')), "no options were found in --help: {:?}", names(&global));
    assert_eq!(pages["shmadm"].explained(), global, "the flags that shmadm.1 explains (left) are not those of --help");
    for command in commands().keys() {
        let page = &pages[&format!("shmadm-{command}")];
        let Help { flags: mut own, filters, .. } = Help::of(Some(command));
        // Global options are in shmadm.1.
        own.retain(|flag, _| !global.contains_key(flag));
        assert_eq!(page.explained(), own, "the flags that {} explains (left) are not those of --help", page.name);
        if !filters.is_empty() {
            assert_eq!(pages["shmadm-filters"].explained(), filters, "the filters of {command} (right)");
            assert!(page.references().contains("shmadm-filters"), "{} does not refer to the filters", page.name);
        }
    }
}

#[test]
fn every_column_of_a_list_is_explained() {
    let page = &pages()["shmadm-list"];
    let explained: BTreeSet<_> = page.lines.iter().filter_map(|line| line.strip_prefix(".It ")).collect();
    let explained: BTreeSet<_> = explained.iter().flat_map(|line| line.split(" , ")).collect();
    for column in COLUMNS {
        assert!(explained.contains(column.title), "shmadm-list.1 does not explain {}", column.title);
    }
}

#[test]
fn every_page_has_its_sections_in_the_usual_order() {
    for page in pages_of_commands().values() {
        let sections: Vec<_> = page.lines.iter().filter_map(|line| line.strip_prefix(".Sh ")).collect();
        let mut rest = sections.as_slice();
        for wanted in
            ["NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "FILES", "EXIT STATUS", "EXAMPLES", "NOTES", "SEE ALSO"]
        {
            match rest.iter().position(|section| *section == wanted) {
                Some(at) => rest = &rest[at + 1..],
                // ftok uses only the files on its command line, and there is nothing to note about completions.
                None if wanted == "FILES" && page.name == "shmadm-ftok" => {}
                None if wanted == "NOTES" && page.name == "shmadm-completions" => {}
                None => panic!("{} lacks {wanted}, or has it elsewhere: {sections:?}", page.name),
            }
        }
        assert!(rest.is_empty(), "{} goes on after SEE ALSO: {rest:?}", page.name);
        let statuses =
            page.lines.iter().skip_while(|line| *line != ".Sh EXIT STATUS").filter(|line| line.starts_with(".It "));
        assert!(statuses.count() >= 2, "{} does not list its exit statuses", page.name);
        let examples =
            page.lines.iter().skip_while(|line| *line != ".Sh EXAMPLES").take_while(|line| *line != ".Sh NOTES");
        assert!(examples.filter(|line| line.contains("shmadm ")).count() >= 2, "{} has too few examples", page.name);
    }
}

#[test]
fn no_page_names_a_flag_that_does_not_exist() {
    let mut known: BTreeSet<_> = Help::of(None).flags.into_keys().collect();
    for command in commands().keys() {
        let help = Help::of(Some(command));
        known.extend(help.flags.into_keys().chain(help.filters.into_keys()));
    }
    for page in pages().values() {
        let unknown: Vec<_> = page.named().difference(&known).cloned().collect();
        assert!(unknown.is_empty(), "{} names {unknown:?}, which no command has", page.name);
    }
}

#[test]
fn lint() {
    skippable(|| {
        needs(Need::Program("mandoc"));
        let output = Command::new("mandoc").args(["-T", "lint", "-W", "warning"]).args(paths()).output();
        let output = output.expect("mandoc");
        let printed = [output.stdout, output.stderr].concat();
        assert!(
            output.status.success() && printed.is_empty(),
            "mandoc says:
{}",
            String::from_utf8_lossy(&printed)
        );
    });
}

#[test]
fn help_is_understood() {
    let help = Help::parse(
        "Show\n\nWrites what comes of\n--file or not.\n\nUsage: x\n\nCommands:\n  \
         list  List [aliases: ls, dir]\n  stat  Show\n\nOptions:\n      \
         --hold[=<D>]\n          --not this\n\n  -s, --size <SIZE>\n          [default: 1]\n\nGlobal options:\n      \
         --no-nul  Not\n\nExamples:\n  --nor this\n",
    );
    let flags = [("hold".to_owned(), None), ("no-nul".into(), None), ("size".into(), Some('s'))];
    assert_eq!(help.flags, flags.into());
    let commands = [("list".to_owned(), vec!["ls".to_owned(), "dir".into()]), ("stat".into(), vec![])];
    assert_eq!(help.commands, commands.into());
}
