//! The options of all commands, which may stand before the command's name or behind it.

use std::ops::Deref;

use clap::parser::ValueSource;
use clap::{ArgMatches, Args, ColorChoice, Command, FromArgMatches};

use super::args::namespace_parser;
use crate::system::namespace::NamespaceRef;

// A doc comment would become the description of each command.
#[derive(Debug, Args)]
pub(super) struct Global {
    /// Show every System V call on standard error, in strace's notation
    #[arg(long, help_heading = "Global options")]
    pub(super) trace: bool,
    /// Act in the IPC namespace of process PID, with inode INODE, or of file PATH
    #[arg(long, value_name = "PID|INODE|PATH", help_heading = "Global options")]
    #[arg(value_parser = namespace_parser())]
    pub(super) ns: Option<NamespaceRef>,
    /// When to use colours; auto obeys NO_COLOR and CLICOLOR_FORCE
    #[arg(long, value_name = "WHEN", default_value = "auto", help_heading = "Global options")]
    pub(super) color: ColorChoice,
}

impl Global {
    /// Returns the options of a command line. Those behind the command's name take precedence.
    pub(super) fn of(matches: &ArgMatches) -> Result<Global, clap::Error> {
        let before = Global::from_arg_matches(matches)?;
        let Some((_, matches)) = matches.subcommand() else { return Ok(before) };
        let behind = Global::from_arg_matches(matches)?;
        let has_color = matches.value_source("color") == Some(ValueSource::CommandLine);
        Ok(Global {
            trace: before.trace || behind.trace,
            ns: behind.ns.or(before.ns),
            color: if has_color { behind.color } else { before.color },
        })
    }
}

/// The arguments of a command, with the global options among them.
///
/// clap's own global options would be copied for every command that exists, whichever is run. That would take 3 % of the
/// time of `list`.
#[derive(Debug)]
pub(super) struct WithGlobal<T>(T);

impl<T> Deref for WithGlobal<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T: Args> Args for WithGlobal<T> {
    fn augment_args(command: Command) -> Command {
        Global::augment_args(T::augment_args(command))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Global::augment_args_for_update(T::augment_args_for_update(command))
    }
}

impl<T: FromArgMatches> FromArgMatches for WithGlobal<T> {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        T::from_arg_matches(matches).map(Self)
    }

    fn from_arg_matches_mut(matches: &mut ArgMatches) -> Result<Self, clap::Error> {
        T::from_arg_matches_mut(matches).map(Self)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        self.0.update_from_arg_matches(matches)
    }
}
