//! The filters of the command line, the same for `list`, `remove`, `save` and `watch`.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::atomic::{AtomicUsize, Ordering};

use clap::Args;
use clap::builder::NonEmptyStringValueParser;
use nix::unistd::geteuid;

use crate::error::Result;
use crate::output::say;
use crate::segments::filter::{ProcessFilter, Selection, Undecided};
use crate::segments::snapshot::Snapshot;
use crate::system::names::{gid_of, uid_of};
use crate::values::{Key, ParseKeyError, Period, Size};

/// The filters as given. All must match; a filter that is given several times matches any of its values.
#[derive(Debug, Clone, Default, PartialEq, Args)]
#[command(next_help_heading = "Filters")]
pub struct Filters {
    /// Owned by USER
    #[arg(long, value_name = "USER")]
    owner: Vec<String>,
    /// Created by USER
    #[arg(long, value_name = "USER")]
    creator_user: Vec<String>,
    /// With group GROUP
    #[arg(long, value_name = "GROUP")]
    group: Vec<String>,
    /// Owned by you
    #[arg(long)]
    mine: bool,
    /// With this key, a key from LO to HI, or `private` (no key)
    #[arg(long, value_name = "KEY|LO-HI|private", allow_hyphen_values = true)]
    key: Vec<Keys>,
    /// Attached by at least one process
    #[arg(long, conflicts_with_all = ["unattached", "orphaned"])]
    attached: bool,
    /// Attached by no process
    #[arg(long)]
    unattached: bool,
    /// Whose creator has exited
    #[arg(long)]
    creator_exited: bool,
    /// Attached by no process, and both the creator and the last user have exited
    #[arg(long)]
    orphaned: bool,
    /// Marked for destruction (dest)
    #[arg(long)]
    marked: bool,
    /// Not in FILE, which an earlier `shmadm list -f json` wrote
    #[arg(long, value_name = "FILE")]
    not_in: Option<PathBuf>,
    /// Of SIZE or more
    #[arg(long, value_name = "SIZE")]
    min_size: Option<Size>,
    /// Of SIZE or less
    #[arg(long, value_name = "SIZE")]
    max_size: Option<Size>,
    /// Created, or changed by IPC_SET, at least DURATION ago
    #[arg(long, value_name = "DURATION")]
    older_than: Option<Period>,
    /// Not attached, detached or changed for at least DURATION
    #[arg(long, value_name = "DURATION")]
    idle: Option<Period>,
    /// Created, last attached or detached, or attached now by process PID
    #[arg(long, value_name = "PID", value_parser = process)]
    pid: Vec<i32>,
    /// Of unit, container or pod NAME (as in UNIT), or with NAME in the cgroup's path
    #[arg(long, value_name = "NAME", value_parser = NonEmptyStringValueParser::new())]
    unit: Vec<String>,
}

/// Parses the number of a process.
fn process(word: &str) -> Result<i32, String> {
    let number = word.parse().ok().filter(|number| *number > 0 && word.bytes().all(|byte| byte.is_ascii_digit()));
    number.ok_or_else(|| "a process is a number from 1 to 2147483647".into())
}

/// The value of `--key`.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Keys(RangeInclusive<Key>);

impl FromStr for Keys {
    type Err = ParseKeyError;

    fn from_str(word: &str) -> Result<Keys, ParseKeyError> {
        if word == "private" {
            return Ok(Keys(Key::PRIVATE..=Key::PRIVATE));
        }
        let whole = word.parse::<Key>();
        // A minus can be a sign, so each minus that has something before it is tried as the separator.
        let range = word
            .match_indices('-')
            .filter(|(at, _)| *at > 0)
            .find_map(|(at, _)| Some((word[..at].parse::<Key>().ok()?, word[at + 1..].parse::<Key>().ok()?)));
        match (whole, range) {
            (Ok(key), _) => Ok(Keys(key..=key)),
            (Err(_), Some((low, high))) if low <= high => Ok(Keys(low..=high)),
            (Err(_), Some(_)) => Err(ParseKeyError::EmptyRange),
            (Err(error), None) => Err(error),
        }
    }
}

impl Filters {
    /// Returns whether no filter was given.
    pub fn is_empty(&self) -> bool {
        *self == Filters::default()
    }

    /// Resolves names and reads the snapshot file, once and before any segment is read.
    ///
    /// # Errors
    /// An unknown name is a usage error. An unreadable snapshot file is a failure (exit status 1).
    pub fn resolve(&self) -> Result<Selection> {
        let numbers = |names: &[String], number_of: fn(&str) -> Result<u32>| -> Result<Vec<u32>> {
            names.iter().map(|name| number_of(name)).collect()
        };
        let mut selection = Selection {
            owners: numbers(&self.owner, uid_of)?,
            creators: numbers(&self.creator_user, uid_of)?,
            groups: numbers(&self.group, gid_of)?,
            mine: self.mine.then(|| geteuid().as_raw()),
            keys: self.key.iter().map(|keys| keys.0.clone()).collect(),
            attached: if self.attached { Some(true) } else { self.unattached.then_some(false) },
            creator_exited: self.creator_exited,
            orphaned: self.orphaned,
            marked: self.marked,
            known: self.not_in.as_deref().map(Snapshot::read).transpose()?,
            min_size: self.min_size.map(|size| size.0),
            max_size: self.max_size.map(|size| size.0),
            older_than: self.older_than.map(|period| period.0),
            idle: self.idle.map(|period| period.0),
            processes: Vec::new(),
            units: self.unit.clone(),
            needs_proof: false,
            undecided: Undecided::default(),
        };
        for &pid in &self.pid {
            let (process, problem) = ProcessFilter::new(pid);
            if let Some(problem) = problem {
                say(problem);
            }
            selection.processes.push(process);
        }
        Ok(selection)
    }
}

/// Reports how many segments were skipped because it cannot be determined whether they match.
pub(in crate::commands) fn report_undecided(selection: &Selection) {
    let of = |counter: &AtomicUsize| match counter.load(Ordering::Relaxed) {
        0 => None,
        1 => Some(("1 segment".to_owned(), "it")),
        many => Some((format!("{many} segments"), "them")),
    };
    if let Some((those, them)) = of(&selection.undecided.states) {
        let may_be_alive = "may be alive in another pid namespace; to include";
        match (selection.orphaned, selection.creator_exited) {
            (true, _) => say(format_args!(
                "skipped {those} whose creator or last user {may_be_alive} {them}, use --unattached --idle DURATION \
                 instead of --orphaned"
            )),
            (false, true) => say(format_args!(
                "skipped {those} whose creator {may_be_alive} {them}, use --idle DURATION instead of --creator-exited"
            )),
            (false, false) => say(format_args!(
                "skipped {those}: it is unknown whether the process of --pid created or used {them}, or an earlier \
                 process with that pid"
            )),
        }
    }
    if let Some((those, _)) = of(&selection.undecided.units) {
        say(format_args!(
            "skipped {those} whose unit is unknown, because the creator or last user cannot be inspected; `shmadm list \
             -o +creator,lastuser,unit` shows what is known"
        ));
    }
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        filters: Filters,
    }

    #[test]
    fn each_filter_alone_is_not_empty() {
        let is_empty = |words: &[String]| {
            let line = ["".into()].iter().chain(words).cloned().collect::<Vec<_>>();
            Line::try_parse_from(line).unwrap_or_else(|error| panic!("{error}")).filters.is_empty()
        };
        assert!(is_empty(&[]));
        let command = Line::command();
        let filters: Vec<_> = command.get_arguments().filter_map(|arg| Some((arg, arg.get_long()?))).collect();
        assert!(filters.len() >= 16);
        for (arg, name) in filters {
            let value = match arg.get_value_names() {
                _ if !arg.get_action().takes_values() => "",
                Some([name]) if name == "DURATION" => "=1s",
                _ => "=1",
            };
            assert!(!is_empty(&[format!("--{name}{value}")]), "{name}");
        }
    }

    #[test]
    fn keys_and_ranges_of_keys() {
        let range = |low, high| Ok(Keys(Key::from_raw(low)..=Key::from_raw(high)));
        assert_eq!("0x2a".parse(), range(42, 42));
        assert_eq!("private".parse(), range(0, 0));
        assert_eq!("0x10-0x1f".parse(), range(16, 31));
        assert_eq!("-5".parse(), range(-5, -5));
        assert_eq!("-5--3".parse(), range(-5, -3));
        assert_eq!("1--1".parse(), range(1, -1));
        assert_eq!("5-3".parse::<Keys>(), Err(ParseKeyError::EmptyRange));
        for word in ["", "2-1", "1-", "-", "1-2-3", "x", "0x100000001"] {
            assert!(word.parse::<Keys>().is_err(), "{word:?}");
        }
    }
}
