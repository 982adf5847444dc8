//! The way from the command line to the exit status.

use std::env;
use std::mem::ManuallyDrop;
use std::os::unix::ffi::OsStrExt;

use clap::error::ErrorKind;
use clap::{ColorChoice, CommandFactory, FromArgMatches};
use nix::unistd::geteuid;
use serde::Serialize;

use super::global::Global;
use super::{Cli, Command, Context, all_commands, usage};
use crate::error::{Error, Kind, Result, Status, advice};
use crate::output::{Output, note_raw, say};
use crate::segments::attachments::Attachments;
use crate::segments::cache::Lookups;
use crate::system::namespace::{self, NamespaceRef};
use crate::system::patience;
use crate::system::privileges;
use crate::system::process::HIDDEN;
use crate::system::signals;
use crate::sysv;
use crate::values::{counted, visible};

/// Parses the command line, runs the command, and converts the result into messages and the exit status.
pub fn main() -> u8 {
    signals::ignore_file_size_limit();
    // Must come first: not even the command line may be parsed with another user's privileges.
    if let Err(error) = privileges::refuse_foreign() {
        return fail(&error);
    }
    let cli = match parse() {
        Ok(cli) => cli,
        Err(message) => return help_or_usage(message),
    };
    if cli.global.trace {
        // The demonstration marks its own calls: those of the lesson are made by other processes.
        let mark = if matches!(cli.command, Command::Demo(_)) { "- " } else { "" };
        sysv::trace_to(move |call| note_raw(&format!("{mark}{call}")));
    }
    let color = match cli.global.color {
        ColorChoice::Auto => anstream::ColorChoice::Auto,
        ColorChoice::Always => anstream::ColorChoice::Always,
        ColorChoice::Never => anstream::ColorChoice::Never,
    };
    let ended = Output::new(color).and_then(|output| {
        let mut context = Context { output, lookups: Lookups::default() };
        let result = enter(&cli).and_then(|()| cli.command.run(&mut context));
        if let Err(error) = &result
            && cli.command.wants_json()
        {
            // If standard output itself has failed, nothing can be printed there.
            let _ = context.output.json(&JsonError { error });
        }
        report_unanswered();
        report_cut();
        if result.is_ok() && context.lookups.misses_processes() {
            say(
                "cannot tell whether creators and last users are alive: /proc does not show the processes of this pid \
                 namespace",
            );
        }
        if let Some(attachments) = context.lookups.incomplete_attachments() {
            report_incomplete(attachments);
        }
        // The command's own failure takes precedence over a failure to write its last output.
        let flushed = context.output.flush();
        result.and_then(|status| flushed.map(|()| status))
    });
    match ended {
        Ok(status) => exit(status),
        Err(error) => fail(&error),
    }
}

/// Parses the command line, as [`clap::Parser::try_parse`] does. What clap needed for it is not freed: that would take 2 %
/// of the time of `list`, and this process ends soon.
fn parse() -> Result<Cli, clap::Error> {
    let mut command = ManuallyDrop::new(Cli::command());
    let matches = command.try_get_matches_from_mut(env::args_os());
    let cli = matches.and_then(|mut matches| {
        let global = Global::of(&matches)?;
        Ok(Cli { global, ..Cli::from_arg_matches_mut(&mut matches)? })
    });
    cli.map_err(|error| error.format(&mut command))
}

/// Reports the processes that did not answer: the output is incomplete for them.
fn report_unanswered() {
    let silent = patience::unanswered();
    let (Some(first), others) = (silent.first(), silent.len().saturating_sub(1)) else { return };
    let (others, whose) = if others == 0 { (String::new(), "its") } else { (format!(" and {others} more"), "their") };
    say(format_args!(
        "cannot inspect process {first}{others}: {}; {whose} command line, state and attachments are unknown",
        patience::reason()
    ));
}

/// Reports the processes whose mounts or open files were not all read.
fn report_cut() {
    let cut = namespace::read_in_part();
    let (Some(first), others) = (cut.first(), cut.len().saturating_sub(1)) else { return };
    let (others, have) = if others == 0 { (String::new(), "has") } else { (format!(" and {others} more"), "have") };
    say(format_args!(
        "process {first}{others} {have} too many mounts or open files to read all: IPC namespaces that only these keep may \
         be missing"
    ));
}

/// Reports why the output may not show all attachments. Processes that cannot be inspected are those of others for an
/// ordinary user; for root, a security module or the user namespace can be the reason.
fn report_incomplete(attachments: &Attachments) {
    if let Some(error) = &attachments.error {
        say(format_args!("cannot find the attachments: {error}"));
    }
    if attachments.skipped > 0 {
        let those = counted(attachments.skipped, "process");
        say(format_args!("cannot find all attachments: {those} not inspected: together they have too many mappings"));
    }
    let processes = attachments.unreadable;
    let unreadable = (processes > 0).then(|| format!("{} cannot be inspected", counted(processes, "process")));
    let hidden = attachments.hidden.then(|| HIDDEN.to_owned());
    let reasons: Vec<_> = unreadable.into_iter().chain(hidden).collect();
    if !reasons.is_empty() {
        let advice = if geteuid().is_root() { "" } else { "; run as root" };
        say(format_args!("cannot find all attachments: {}{advice}", reasons.join(", and ")));
    }
}

/// Enters the namespace of `--ns`, before a second thread starts.
fn enter(cli: &Cli) -> Result<()> {
    match (&cli.global.ns, &cli.command) {
        (None, _) => Ok(()),
        (Some(_), Command::Guard(guard)) if !guard.is_shared() => {
            Err(Error::usage("guard creates its own namespace; add --shared to run the command in that of --ns"))
        }
        (Some(named), _) => {
            namespace::enter(named)?;
            match named {
                NamespaceRef::Process(pid) => advice::act_in_process(*pid),
                NamespaceRef::Inode(inode) => advice::act_in_inode(*inode),
                NamespaceRef::Path(path) => advice::act_in_file(path.as_os_str()),
            }
            Ok(())
        }
    }
}

#[derive(Serialize)]
struct JsonError<'a> {
    error: &'a Error,
}

fn fail(error: &Error) -> u8 {
    if error.kind != Kind::ReaderGone {
        say(error);
    }
    exit(error.status())
}

fn exit(status: Status) -> u8 {
    if let Status::Signal(signal) = status {
        signals::end_by(signal);
    }
    status.code()
}

/// Prints help, or a usage error. Help is not printed by clap, which exits with status 0 even if the disk is full.
fn help_or_usage(message: clap::Error) -> u8 {
    // While clap parses, it knows only the names of the commands that it has not built. Their help is part of the list.
    let message = match message.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            all_commands().try_get_matches().err().unwrap_or(message)
        }
        _ => message,
    };
    if message.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        // If standard error is closed, nothing can be reported.
        let _ = message.print();
        return exit(Status::Usage);
    }
    if message.use_stderr() {
        let words: Vec<_> = env::args_os().map(|word| visible(word.as_bytes()).into_owned()).collect();
        let error = usage::error(message, &words);
        if usage::wants_json(&words)
            && let Ok(mut output) = Output::new(anstream::ColorChoice::Never)
        {
            // If standard output has failed, only the line on standard error is printed.
            let _ = output.json(&JsonError { error: &error }).and_then(|()| output.flush());
        }
        return fail(&error);
    }
    let printed = Output::new(anstream::ColorChoice::Auto).and_then(|mut output| {
        let text = message.render();
        let text = if output.color() { text.ansi().to_string() } else { text.to_string() };
        output.bytes(text.as_bytes())?;
        output.flush()
    });
    printed.map_or_else(|error| fail(&error), |()| Status::Done.code())
}
