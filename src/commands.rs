//! The command line: one file a subcommand, each with its help text, its `Args` and its `run`.

mod attach_write;
mod attachment;
mod completions;
mod create;
mod demo;
mod ftok;
mod guard;
mod limits;
mod list;
mod metrics;
mod read;
mod remove;
mod set;
mod stat;
mod watch;

use std::env;
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;

use clap::builder::{OsStringValueParser, TypedValueParser};
use clap::{Args, ColorChoice, CommandFactory, Parser, Subcommand, ValueEnum};
use serde::Serialize;

use crate::error::{Error, Kind, Result, Status};
use crate::output::{ErrorRecord, Lookups, Output, note_raw, say};
use crate::segments::lookup::rows;
use crate::system::namespace::{self, NamespaceRef};
use crate::system::privileges;
use crate::system::signals;
use crate::sysv;
use crate::values::{SegmentRef, visible};

/// System V shared memory: create, fill, read, list, inspect and remove segments.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100, subcommand_required = true, arg_required_else_help = true)]
#[command(after_help = "SEGMENT is a key (0x2a, 42, 052), an identifier (id:5), or ftok:PROJECT:PATH.\n\
    SIZE is bytes or has a unit: 4K, 1.5MiB, 10MB, 0x1000. DURATION is like 100ms, 90s, 2h 30m, 3d.\n\n\
    Exit status: 0 done, 1 something failed, 2 bad usage, 3 a named segment does not exist.\n\n\
    New to segments? `shmadm demo --pause` shows one from its making to its end, with every system call.")]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Args)]
struct Global {
    /// Show every System V call on standard error, in strace's notation
    #[arg(long, global = true, help_heading = "Global options")]
    trace: bool,
    /// Act in the IPC namespace of process PID, or of the namespace file PATH
    #[arg(long, global = true, value_name = "PID|PATH", help_heading = "Global options")]
    #[arg(value_parser = namespace_parser())]
    ns: Option<NamespaceRef>,
    /// When to use colours; NO_COLOR and CLICOLOR_FORCE count in auto
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto", help_heading = "Global options")]
    color: ColorChoice,
}

#[derive(Debug, Subcommand)]
#[command(defer = true)]
enum Command {
    Create(create::Create),
    #[command(visible_alias = "write")]
    AttachWrite(attach_write::AttachWrite),
    Read(read::Read),
    #[command(visible_alias = "ls")]
    List(list::List),
    Stat(stat::Stat),
    #[command(visible_alias = "rm")]
    Remove(remove::Remove),
    Set(set::Set),
    Limits(limits::Limits),
    Guard(guard::Guard),
    Watch(watch::Watch),
    Metrics(metrics::Metrics),
    Demo(demo::Demo),
    Ftok(ftok::Ftok),
    Completions(completions::Completions),
}

impl Command {
    fn run(&self, context: &mut Context) -> Result<Status> {
        match self {
            Self::Create(create) => create.run(context),
            Self::AttachWrite(attach_write) => attach_write.run(context),
            Self::Read(read) => read.run(context),
            Self::List(list) => list.run(context),
            Self::Stat(stat) => stat.run(context),
            Self::Remove(remove) => remove.run(context),
            Self::Set(set) => set.run(),
            Self::Limits(limits) => limits.run(context),
            Self::Guard(guard) => guard.run(context),
            Self::Watch(watch) => watch.run(context),
            Self::Metrics(metrics) => metrics.run(context),
            Self::Demo(demo) => demo.run(context),
            Self::Ftok(ftok) => ftok.run(context),
            Self::Completions(completions) => completions.run(context),
        }
    }

    /// Whether a failure is to be told on standard output too, for a script that asked for JSON.
    fn wants_json(&self) -> bool {
        match self {
            Self::Create(create) => create.wants_json(),
            Self::List(list) => list.wants_json(),
            Self::Stat(stat) => stat.wants_json(),
            Self::Remove(remove) => remove.wants_json(),
            Self::Limits(limits) => limits.wants_json(),
            Self::Watch(watch) => watch.wants_json(),
            Self::AttachWrite(_)
            | Self::Read(_)
            | Self::Set(_)
            | Self::Guard(_)
            | Self::Metrics(_)
            | Self::Demo(_)
            | Self::Ftok(_)
            | Self::Completions(_) => false,
        }
    }
}

/// What all commands work with: the streams, and what was looked up so far.
#[derive(Debug)]
struct Context {
    output: Output,
    lookups: Lookups,
}

/// Text for people or JSON for scripts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
enum TextOrJson {
    /// Text for people
    #[default]
    Text,
    /// JSON for scripts
    Json,
}

/// Reads the word that names a segment.
fn segment_parser() -> impl TypedValueParser<Value = SegmentRef> {
    OsStringValueParser::new().try_map(|word: OsString| SegmentRef::try_from(word))
}

/// Reads the word that names a namespace.
fn namespace_parser() -> impl TypedValueParser<Value = NamespaceRef> {
    OsStringValueParser::new().try_map(|word: OsString| NamespaceRef::try_from(word))
}

/// Parses the command line, runs the command, and turns what came of it into messages and the exit status.
pub fn main() -> u8 {
    signals::ignore_file_size_limit();
    // Before anything else: not even the words of the command line are looked at with the rights of others.
    if let Err(error) = privileges::refuse_foreign() {
        return fail(&error);
    }
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(message) => return help_or_usage(&with_all_commands(message)),
    };
    if cli.global.trace {
        sysv::trace_to(|call| note_raw(&call.to_string()));
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
            // Where standard output is what failed, there is nobody to tell.
            let _ = context.output.json(&JsonError { error: error.into() });
        }
        // What the command says of its failure weighs more than that its last words could not be written.
        let flushed = context.output.flush();
        result.and_then(|status| flushed.map(|()| status))
    });
    match ended {
        Ok(status) => exit(status),
        Err(error) => fail(&error),
    }
}

/// The command line with the arguments of all commands. To run one, clap builds only those of its own (`defer`); but
/// help, advice and completion speak of the others, too.
fn all_commands() -> clap::Command {
    let mut commands = Cli::command();
    commands.build();
    commands
}

/// What clap has to say when it knows all commands. It repeats words, which others may have chosen: made visible before.
fn with_all_commands(message: clap::Error) -> clap::Error {
    let words = env::args_os().map(|word| visible(word.as_bytes()).into_owned());
    all_commands().try_get_matches_from(words).err().unwrap_or(message)
}

/// Goes where `--ns` says, before there is a second thread.
fn enter(cli: &Cli) -> Result<()> {
    match (&cli.global.ns, &cli.command) {
        (None, _) => Ok(()),
        (Some(_), Command::Guard(guard)) if !guard.is_shared() => {
            Err(Error::usage("guard makes a namespace of its own; add --shared to run the command in that of --ns"))
        }
        (Some(named), _) => namespace::enter(named),
    }
}

#[derive(Serialize)]
struct JsonError {
    error: ErrorRecord,
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

/// Prints what clap has to say. Its own way would leave `--help` into a full disk with exit status 0.
fn help_or_usage(message: &clap::Error) -> u8 {
    if message.use_stderr() {
        // Where standard error is gone there is nobody to tell.
        let _ = message.print();
        return exit(Status::Usage);
    }
    let printed = Output::new(anstream::ColorChoice::Auto).and_then(|mut output| {
        let text = message.render();
        let text = if output.color() { text.ansi().to_string() } else { text.to_string() };
        output.bytes(text.as_bytes())?;
        output.flush()
    });
    printed.map_or_else(|error| fail(&error), |()| Status::Done.code())
}
