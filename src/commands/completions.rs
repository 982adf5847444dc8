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

/// What the scripts take for "complete the name of a file, as you do for any program".
const FILES: &str = ":files";

/// Print what makes a shell complete the words of shmadm
///
/// The script asks shmadm itself what fits at each TAB: commands, options and their values, and for a SEGMENT those
/// that exist, with size and owner where the shell shows such things.
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
    /// What the scripts ask: the candidates for the word after the first N of WORD…
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
    /// The script, which the packages install too.
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

    /// A candidate a line: the word and, but for bash, a tab and what explains it.
    fn print(&self, output: &mut Output, before: usize) -> Result<()> {
        // No shell asks so: the word to complete is one of these, or comes right after them.
        if before > self.words.len() {
            return Ok(());
        }
        let mut words = self.words.clone();
        words.resize(before + 1, OsString::new());
        let wants_options = words[before].as_encoded_bytes().starts_with(b"-");
        if words[before] == "-" {
            // Long options tell more than short ones, and one of the two is offered.
            words[before].push("-");
        }
        // Segments are those of the namespace that the command will act in.
        match namespace_of(&words[..before]) {
            Some(named) if namespace::enter(&named).is_err() => return Ok(()),
            _ => {}
        }
        let escaped = words[..before].iter().any(|word| word == "--");
        let mut command =
            all_commands().mut_subcommands(|command| command.mut_args(|arg| with_candidates(arg, escaped)));
        // Without a candidate the shell has nothing to offer, and needs no reason.
        let mut candidates = engine::complete(&mut command, words, before, None).unwrap_or_default();
        // No file's name where a dash begins an option.
        candidates.retain(|one| !wants_options || one.get_value() != FILES);
        let is_option = |candidate: &CompletionCandidate| candidate.get_value().as_encoded_bytes().starts_with(b"-");
        // Options come once a dash asks for them, or where there is nothing else.
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

/// The namespace in `--ns PID` or `--ns=PID`, the last one.
fn namespace_of(words: &[OsString]) -> Option<NamespaceRef> {
    let named = words.iter().enumerate().rev().find_map(|(at, word)| match word.as_bytes().strip_prefix(b"--ns")? {
        [] => words.get(at + 1).cloned(),
        [b'=', rest @ ..] => Some(OsStr::from_bytes(rest).to_owned()),
        _ => None,
    });
    NamespaceRef::try_from(named?).ok()
}

/// Says how the values of an argument are completed: by their type, and where that is a mere string by the name that
/// `--help` gives to the value.
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
        // The command of `guard`, and all that is a path.
        "COMMAND" => files(arg),
        _ if arg.get_value_hint() == ValueHint::AnyPath => files(arg),
        _ => arg,
    }
}

fn files(arg: Arg) -> Arg {
    arg.add(ArgValueCompleter::new(|_: &OsStr| vec![CompletionCandidate::new(FILES)]))
}
