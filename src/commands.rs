//! The command line: one file for each subcommand, with its help text, its `Args` and its `run`.

mod args;
mod attach_write;
mod completions;
mod create;
mod demo;
mod doctor;
mod ftok;
mod global;
mod guard;
mod limits;
mod list;
mod metrics;
mod read;
mod remove;
mod restore;
mod run;
mod save;
mod set;
mod stat;
mod usage;
mod watch;

use clap::{CommandFactory, Parser, Subcommand};

pub use self::args::Filters;
use self::global::{Global, WithGlobal};
pub use self::run::main;
use crate::error::{Result, Status};
use crate::output::Output;
use crate::segments::cache::Lookups;

/// System V shared memory: create, fill, read, list, inspect and remove segments.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100, subcommand_required = true, arg_required_else_help = true)]
#[command(after_help = "SEGMENT is a key (0x2a, 42, 052), an identifier (id:5), or ftok:PROJECT:PATH.\n\
    SIZE is in bytes or has a unit: 4096, 0x1000, 4K, 1.5MiB, 10MB.\n\
    DURATION is a number with a unit, or several: 100ms, 90s, 2h30m, 3d.\n\n\
    Exit status: 0 done, 1 failed, 2 bad usage, 3 a named segment does not exist.\n\n\
    New to segments? `shmadm demo --pause` shows the life of one.")]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
#[command(defer = true)]
enum Command {
    Create(WithGlobal<create::Create>),
    #[command(visible_alias = "write")]
    AttachWrite(WithGlobal<attach_write::AttachWrite>),
    Read(WithGlobal<read::Read>),
    #[command(visible_alias = "ls")]
    List(WithGlobal<list::List>),
    Stat(WithGlobal<stat::Stat>),
    #[command(visible_alias = "rm")]
    Remove(WithGlobal<remove::Remove>),
    Save(WithGlobal<save::Save>),
    Restore(WithGlobal<restore::Restore>),
    Set(WithGlobal<set::Set>),
    Limits(WithGlobal<limits::Limits>),
    Guard(WithGlobal<guard::Guard>),
    Watch(WithGlobal<watch::Watch>),
    Doctor(WithGlobal<doctor::Doctor>),
    Metrics(WithGlobal<metrics::Metrics>),
    Demo(WithGlobal<demo::Demo>),
    Ftok(WithGlobal<ftok::Ftok>),
    Completions(WithGlobal<completions::Completions>),
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
            Self::Save(save) => save.run(context),
            Self::Restore(restore) => restore.run(context),
            Self::Set(set) => set.run(),
            Self::Limits(limits) => limits.run(context),
            Self::Guard(guard) => guard.run(context),
            Self::Watch(watch) => watch.run(context),
            Self::Doctor(doctor) => doctor.run(context),
            Self::Metrics(metrics) => metrics.run(context),
            Self::Demo(demo) => demo.run(context),
            Self::Ftok(ftok) => ftok.run(context),
            Self::Completions(completions) => completions.run(context),
        }
    }

    /// Returns whether a failure must also be printed to standard output, for a script that requested JSON.
    fn wants_json(&self) -> bool {
        match self {
            Self::Create(create) => create.wants_json(),
            Self::List(list) => list.wants_json(),
            Self::Stat(stat) => stat.wants_json(),
            Self::Remove(remove) => remove.wants_json(),
            Self::Save(save) => save.wants_json(),
            Self::Restore(restore) => restore.wants_json(),
            Self::Limits(limits) => limits.wants_json(),
            Self::Watch(watch) => watch.wants_json(),
            Self::Doctor(doctor) => doctor.wants_json(),
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

/// The state shared by all commands: the streams, and lookups so far.
#[derive(Debug)]
struct Context {
    output: Output,
    lookups: Lookups,
}

/// Returns the command line with the arguments of all commands. To run one command, clap builds only that command's
/// arguments (`defer`); help, advice and completion also refer to the others.
fn all_commands() -> clap::Command {
    let mut commands = Cli::command();
    commands.build();
    commands
}
