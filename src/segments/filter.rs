//! The filters: one value, read by `list`, `watch` and `remove` alike, so that `list FILTERS` shows what `remove FILTERS` removes.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufReader};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use clap::Args;
use nix::unistd::geteuid;
use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::error::{Error, Result};
use crate::output::{Lookups, is_orphan, say};
use crate::segments::attachments::{self, InProcess};
use crate::system::names::{gid_of, uid_of};
use crate::system::namespace;
use crate::system::process::{Creator, is_hidden};
use crate::sysv::{Identity, Segment};
use crate::values::{Key, ParseKeyError, Period, ShmId, Size};

/// Filters as they are written. Where there are several, all must hold.
#[derive(Debug, Clone, Default, PartialEq, Args)]
#[command(next_help_heading = "Filters")]
pub struct Filters {
    /// Owned by USER
    #[arg(long, value_name = "USER")]
    owner: Option<String>,
    /// Created by USER
    #[arg(long, value_name = "USER")]
    creator_user: Option<String>,
    /// Of GROUP
    #[arg(long, value_name = "GROUP")]
    group: Option<String>,
    /// Owned by you
    #[arg(long)]
    mine: bool,
    /// With this key, a key from LO to HI, or `private` (none)
    #[arg(long, value_name = "KEY|LO-HI|private", allow_hyphen_values = true)]
    key: Option<Keys>,
    /// Attached by somebody
    #[arg(long, conflicts_with_all = ["unattached", "orphaned"])]
    attached: bool,
    /// Attached by nobody
    #[arg(long)]
    unattached: bool,
    /// Whose creator has exited
    #[arg(long)]
    creator_exited: bool,
    /// Attached by nobody, and the creator has exited for sure
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
    /// Neither attached, detached nor changed for DURATION
    #[arg(long, value_name = "DURATION")]
    idle: Option<Period>,
    /// Created, last attached or detached, or attached now by process PID
    #[arg(long, value_name = "PID", value_parser = clap::value_parser!(i32).range(1..))]
    pid: Option<i32>,
}

/// What `--key` takes.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Keys(RangeInclusive<Key>);

impl FromStr for Keys {
    type Err = ParseKeyError;

    fn from_str(word: &str) -> Result<Keys, ParseKeyError> {
        if word == "private" {
            return Ok(Keys(Key::PRIVATE..=Key::PRIVATE));
        }
        let whole = word.parse::<Key>();
        // A minus may be a sign, so each that has something before it is tried as the one between two keys.
        let range = word.match_indices('-').filter(|(at, _)| *at > 0).find_map(|(at, _)| {
            let (low, high) = (word[..at].parse::<Key>().ok()?, word[at + 1..].parse::<Key>().ok()?);
            (low <= high).then_some(Keys(low..=high))
        });
        match (whole, range) {
            (Ok(key), _) => Ok(Keys(key..=key)),
            (Err(_), Some(range)) => Ok(range),
            (Err(error), None) => Err(error),
        }
    }
}

/// Filters with their names resolved and their files read: ready to be asked.
#[derive(Debug, Default)]
pub struct Selection {
    owner: Option<u32>,
    creator: Option<u32>,
    group: Option<u32>,
    keys: Option<RangeInclusive<Key>>,
    attached: Option<bool>,
    creator_exited: bool,
    orphaned: bool,
    marked: bool,
    known: Option<Known>,
    min_size: Option<u64>,
    max_size: Option<u64>,
    older_than: Option<Duration>,
    idle: Option<Duration>,
    mine: Option<u32>,
    process: Option<ProcessFilter>,
}

/// A process, with what it has attached.
#[derive(Debug)]
struct ProcessFilter {
    pid: i32,
    attached: Option<InProcess>,
    /// The inode of this thread's own IPC namespace.
    ours: Option<u64>,
}

impl ProcessFilter {
    fn new(pid: i32) -> ProcessFilter {
        let looked = match attachments::of_process(pid) {
            Ok(None) if is_hidden(pid) => Err(io::Error::other("/proc does not show that process")),
            looked => looked,
        };
        let attached = looked.unwrap_or_else(|error| {
            let told = Error::io(format_args!("see what process {pid} has attached"), &error);
            say(told.hint("only what it created or used last is taken for its own"));
            None
        });
        ProcessFilter { pid, attached, ours: namespace::Identity::ours().ok().map(|ours| ours.inode) }
    }

    fn holds(&self, segment: &Segment) -> bool {
        // The same identifier in another namespace is another segment.
        let has_attached = self.attached.as_ref().is_some_and(|attached| {
            Some(attached.namespace) == segment.namespace.or(self.ours)
                && attached.mappings.iter().any(|mapping| mapping.is_of(segment))
        });
        self.pid == segment.cpid || self.pid == segment.lpid || has_attached
    }
}

/// What an earlier `list -f json` wrote. serde takes an array for a struct, too, and would read `[[]]` as "no segment was
/// there before"; it does not where a struct has a flattened field.
#[derive(Deserialize)]
struct Snapshot {
    segments: Vec<KnownSegment>,
    #[serde(flatten)]
    _more: HashMap<String, IgnoredAny>,
}

#[derive(Deserialize)]
struct KnownSegment {
    id: i32,
    size: u64,
    cpid: i32,
    cuid: u32,
    cgid: u32,
    /// Only a list of all namespaces has it.
    ns: Option<u64>,
    #[serde(flatten)]
    _more: HashMap<String, IgnoredAny>,
}

impl Filters {
    /// Whether no filter was given.
    pub fn is_empty(&self) -> bool {
        *self == Filters::default()
    }

    /// Resolves names and reads the snapshot, once and before anything is looked at.
    ///
    /// Errors: an unknown name is a usage error; a snapshot that cannot be read, or is none, is exit status 1.
    pub fn resolve(&self) -> Result<Selection> {
        Ok(Selection {
            owner: self.owner.as_deref().map(uid_of).transpose()?,
            creator: self.creator_user.as_deref().map(uid_of).transpose()?,
            group: self.group.as_deref().map(gid_of).transpose()?,
            keys: self.key.clone().map(|keys| keys.0),
            attached: if self.attached { Some(true) } else { self.unattached.then_some(false) },
            creator_exited: self.creator_exited,
            orphaned: self.orphaned,
            marked: self.marked,
            known: self.not_in.as_deref().map(read_snapshot).transpose()?,
            min_size: self.min_size.map(|size| size.0),
            max_size: self.max_size.map(|size| size.0),
            older_than: self.older_than.map(|period| period.0),
            idle: self.idle.map(|period| period.0),
            process: self.pid.map(ProcessFilter::new),
            mine: self.mine.then(|| geteuid().as_raw()),
        })
    }
}

impl Selection {
    /// Looks again at what changes with time: what the process of `--pid` has attached.
    pub fn look_again(&mut self) {
        if let Some(process) = &mut self.process
            && let Ok(attached) = attachments::of_process(process.pid)
        {
            process.attached = attached;
        }
    }

    /// Whether all filters hold for a segment. The dear ones, which look at processes, are asked last.
    pub fn matches(&self, segment: &Segment, lookups: &Lookups) -> bool {
        let at_least = |limit: Option<Duration>, since: i64| {
            limit.is_none_or(|limit| Duration::from_secs(lookups.clock().seconds_since(since)) >= limit)
        };
        self.owner.is_none_or(|uid| segment.uid == uid)
            && self.mine.is_none_or(|uid| segment.uid == uid)
            && self.creator.is_none_or(|uid| segment.cuid == uid)
            && self.group.is_none_or(|gid| segment.gid == gid)
            && self.keys.as_ref().is_none_or(|keys| keys.contains(&segment.key))
            && self.attached.is_none_or(|attached| (segment.nattch > 0) == attached)
            && (!self.marked || segment.is_marked())
            && self.min_size.is_none_or(|size| segment.size >= size)
            && self.max_size.is_none_or(|size| segment.size <= size)
            && self.known.as_ref().is_none_or(|known| !known.has(segment))
            && self.process.as_ref().is_none_or(|process| process.holds(segment))
            && at_least(self.older_than, segment.ctime)
            && at_least(self.idle, segment.last_used())
            && (!self.orphaned || is_orphan(segment, lookups.processes()))
            && (!self.creator_exited || lookups.processes().creator(segment) == Creator::Exited)
    }
}

/// The segments of a snapshot, each with the IPC namespaces that it was seen in, as far as the snapshot says so.
#[derive(Debug)]
struct Known(HashMap<Identity, Vec<Option<u64>>>);

impl Known {
    fn has(&self, segment: &Segment) -> bool {
        let namespace = segment.namespace;
        // Where one side does not say which namespace it speaks of, it can be this one.
        let can_be_here = |seen: &Option<u64>| seen.is_none() || namespace.is_none() || *seen == namespace;
        self.0.get(&segment.identity()).is_some_and(|seen| seen.iter().any(can_be_here))
    }
}

fn read_snapshot(path: &Path) -> Result<Known> {
    let file = File::open(path).map_err(|error| Error::io(format_args!("read {}", path.display()), &error))?;
    let snapshot: Snapshot = serde_json::from_reader(BufReader::new(file)).map_err(|error| {
        Error::failed(format!("cannot take {} for a snapshot: {error}", path.display()))
            .hint("`shmadm list -f json >FILE` writes one")
    })?;
    let mut known = HashMap::<_, Vec<_>>::new();
    for KnownSegment { id, size, cpid, cuid, cgid, ns, .. } in snapshot.segments {
        if let Some(id) = ShmId::new(id) {
            known.entry(Identity { id, size, cpid, cuid, cgid }).or_default().push(ns);
        }
    }
    Ok(Known(known))
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
    fn each_filter_alone_is_one() {
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
        for word in ["", "2-1", "1-", "-", "1-2-3", "x", "0x100000001"] {
            assert!(word.parse::<Keys>().is_err(), "{word:?}");
        }
    }
}
