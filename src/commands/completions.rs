mod candidates;

use std::any::TypeId;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use clap::{Arg, Args, ValueEnum, ValueHint};
use clap_complete::engine::{self, ArgValueCandidates, ArgValueCompleter, CompletionCandidate};

use super::list::{ColumnWord, column_candidates};
use super::{Context, all_commands};
use crate::error::{Result, Status};
use crate::output::{Column, Output};
use crate::system::namespace::{self, NamespaceRef};
use crate::values::SegmentRef;

/// The candidate that tells the scripts to complete file names, as for any program.
const FILES: &str = ":files";

/// Print a completion script for your shell
///
/// At each TAB, the script asks shmadm for the candidates: commands, options, their values, and existing segments. Some
/// shells also show the size and owner of each segment.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    source <(shmadm completions bash)          in ~/.bashrc\n  \
    source <(shmadm completions zsh)           in ~/.zshrc, after compinit\n  \
    shmadm completions fish | source           in ~/.config/fish/config.fish\n  \
    shmadm completions fish >~/.config/fish/completions/shmadm.fish\n  \
    eval (shmadm completions elvish | slurp)   in ~/.config/elvish/rc.elv")]
pub(super) struct Completions {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
    /// Used by the scripts: print the candidates for the word after the first N of WORD…
    #[arg(long, value_name = "N", hide = true, requires = "words")]
    words_before: Option<usize>,
    #[arg(last = true, value_name = "WORD", hide = true, requires = "words_before")]
    words: Vec<OsString>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Shell {
    Bash,
    Zsh,
    Fish,
    Elvish,
}

impl Shell {
    /// Returns the script, which the packages install too.
    fn script(self) -> &'static str {
        match self {
            Self::Bash => include_str!("../../completions/shmadm.bash"),
            Self::Zsh => include_str!("../../completions/shmadm.zsh"),
            Self::Fish => include_str!("../../completions/shmadm.fish"),
            Self::Elvish => include_str!("../../completions/shmadm.elv"),
        }
    }
}

impl Completions {
    pub(super) fn run(&self, context: &mut Context) -> Result<Status> {
        match self.words_before {
            None => context.output.bytes(self.shell.script().as_bytes())?,
            Some(before) => self.print(&mut context.output, before)?,
        }
        Ok(Status::Done)
    }

    /// Prints one candidate per line: the word and, except for bash, a tab and a description.
    fn print(&self, output: &mut Output, before: usize) -> Result<()> {
        // No script asks for this: the word to complete is one of the words, or directly follows them.
        if before > self.words.len() {
            return Ok(());
        }
        let mut words = self.words.clone();
        words.resize(before + 1, OsString::new());
        let wants_options = words[before].as_encoded_bytes().starts_with(b"-");
        if words[before] == "-" {
            // Long options are easier to understand, so the short form of the same option is not offered.
            words[before].push("-");
        }
        // Offer segments of the namespace in which the command will run.
        match namespace_of(&words[..before]) {
            Some(named) if namespace::enter(&named).is_err() => return Ok(()),
            _ => {}
        }
        let escaped = words[..before].iter().any(|word| word == "--");
        let mut command =
            all_commands().mut_subcommands(|command| command.mut_args(|arg| with_candidates(arg, escaped)));
        // A shell shows candidates only, so an error is not reported.
        let mut candidates = engine::complete(&mut command, words, before, None).unwrap_or_default();
        // After a dash, only options are offered, and no file names.
        candidates.retain(|one| !wants_options || one.get_value() != FILES);
        let is_option = |candidate: &CompletionCandidate| candidate.get_value().as_encoded_bytes().starts_with(b"-");
        // Options are offered after a dash, or if there is nothing else.
        let only_options = candidates.iter().all(is_option);
        let files =
            |candidate: &CompletionCandidate| candidate.get_value().as_encoded_bytes().ends_with(FILES.as_bytes());
        if candidates.iter().any(files) {
            return output.line(FILES);
        }
        for candidate in candidates.iter().filter(|one| wants_options || only_options || !is_option(one)) {
            output.bytes(candidate.get_value().as_encoded_bytes())?;
            if self.shell != Shell::Bash {
                let help = candidate.get_help().map(ToString::to_string).unwrap_or_default();
                output.bytes(b"\t")?;
                output.bytes(help.lines().next().unwrap_or_default().as_bytes())?;
            }
            output.bytes(b"\n")?;
        }
        Ok(())
    }
}

/// Returns the namespace in the last `--ns PID` or `--ns=PID`.
fn namespace_of(words: &[OsString]) -> Option<NamespaceRef> {
    let named = words.iter().enumerate().rev().find_map(|(at, word)| match word.as_bytes().strip_prefix(b"--ns")? {
        [] => words.get(at + 1).cloned(),
        [b'=', rest @ ..] => Some(OsStr::from_bytes(rest).to_owned()),
        _ => None,
    });
    NamespaceRef::try_from(named?).ok()
}

/// Defines how an argument's values are completed: by their type, or for a plain string by the value's name in
/// `--help`.
fn with_candidates(arg: Arg, escaped: bool) -> Arg {
    if arg.is_positional() && arg.is_last_set() && !escaped {
        return arg;
    }
    let value_type = arg.get_value_parser().type_id();
    if value_type == TypeId::of::<SegmentRef>() {
        return arg.add(ArgValueCompleter::new(|word: &OsStr| candidates::segments(word)));
    }
    if value_type == TypeId::of::<ColumnWord>() {
        return arg.add(ArgValueCompleter::new(column_candidates));
    }
    if value_type == TypeId::of::<&Column>() {
        return arg.add(ArgValueCandidates::new(candidates::columns));
    }
    let name = arg.get_value_names().and_then(|names| names.first()).map_or("", |name| name.as_str());
    match name {
        "USER" | "USER[:GROUP]" => arg.add(ArgValueCandidates::new(candidates::users)),
        "GROUP" => arg.add(ArgValueCandidates::new(candidates::groups)),
        "KEY" if arg.is_positional() => arg.add(ArgValueCandidates::new(candidates::new_keys)),
        "KEY" | "KEY|LO-HI|private" => arg.add(ArgValueCompleter::new(|word: &OsStr| candidates::keys(word))),
        // The command of `guard`, and every path.
        "COMMAND" => files(arg),
        _ if arg.get_value_hint() == ValueHint::AnyPath => files(arg),
        _ => arg,
    }
}

fn files(arg: Arg) -> Arg {
    arg.add(ArgValueCompleter::new(|_: &OsStr| vec![CompletionCandidate::new(FILES)]))
}
