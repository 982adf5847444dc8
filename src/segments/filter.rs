//! Selecting segments. All commands with filters use the same type, so that `list FILTERS` shows what `remove FILTERS`
//! removes.

use std::io;
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::error::Error;
use crate::linux::{may_be_unmapped_gid, may_be_unmapped_uid};
use crate::segments::attachments::{self, Holding, Proof};
use crate::segments::cache::Lookups;
use crate::segments::snapshot::Snapshot;
use crate::segments::state::{self, Presence};
use crate::system::namespace;
use crate::system::process::is_hidden;
use crate::sysv::Segment;
use crate::values::Key;

/// Filters with their names resolved and their files read. All filters must match. A list matches if one of its values
/// does; an empty list matches everything.
#[derive(Debug, Default)]
pub struct Selection {
    pub(crate) owners: Vec<u32>,
    pub(crate) creators: Vec<u32>,
    pub(crate) groups: Vec<u32>,
    pub(crate) mine: Option<u32>,
    pub(crate) keys: Vec<RangeInclusive<Key>>,
    pub(crate) attached: Option<bool>,
    pub(crate) creator_exited: bool,
    pub(crate) orphaned: bool,
    pub(crate) marked: bool,
    pub(crate) known: Option<Snapshot>,
    pub(crate) min_size: Option<u64>,
    pub(crate) max_size: Option<u64>,
    pub(crate) older_than: Option<Duration>,
    pub(crate) idle: Option<Duration>,
    pub(crate) processes: Vec<ProcessFilter>,
    pub(crate) units: Vec<String>,
    /// Whether an attachment must be certain for `processes` to match, because matching segments are removed.
    pub(crate) needs_proof: bool,
    /// The number of segments that `orphaned` alone skipped, because a deciding process is unknown.
    pub(crate) undecided: AtomicUsize,
}

impl Selection {
    /// Reads the attachments of the processes of `--pid` again.
    pub(crate) fn refresh(&mut self) {
        for process in &mut self.processes {
            if let Ok(attached) = attachments::of_process(process.pid) {
                process.attached = attached;
            }
        }
    }

    /// Returns an id among the owners, creators and groups that may be shown for several users or groups, with the
    /// noun for them.
    pub(crate) fn ambiguous_owner(&self) -> Option<(&'static str, u32)> {
        let mut users = self.owners.iter().chain(&self.creators).chain(&self.mine).copied();
        let mut groups = self.groups.iter().copied();
        let user = users.find(|uid| may_be_unmapped_uid(*uid)).map(|uid| ("user", uid));
        user.or_else(|| groups.find(|gid| may_be_unmapped_gid(*gid)).map(|gid| ("group", gid)))
    }

    /// Returns whether all filters match a segment. The expensive ones, which inspect processes, come last.
    pub fn matches(&self, segment: &Segment, lookups: &Lookups) -> bool {
        self.matches_without_processes(segment, lookups)
            && any(&self.processes, |process| process.matches(segment, lookups, self.needs_proof))
            && self.is_of_unit(segment, lookups)
            && (!self.creator_exited || state::creator(segment, lookups) == Presence::Exited)
            && (!self.orphaned || self.is_orphan(segment, lookups))
    }

    /// Returns whether a segment that does not match may be one that matches, because the state of a process is unknown.
    pub(crate) fn may_match(&self, segment: &Segment, lookups: &Lookups) -> bool {
        let is_unknown = self.creator_exited && state::creator(segment, lookups) == Presence::Unknown
            || self.orphaned && state::may_be_orphan(segment, lookups);
        is_unknown && self.matches_without_processes(segment, lookups)
    }

    fn is_of_unit(&self, segment: &Segment, lookups: &Lookups) -> bool {
        self.units.is_empty()
            || state::cgroups(segment, lookups)
                .is_some_and(|cgroups| self.units.iter().any(|name| cgroups.are_named(name)))
    }

    /// Returns whether a segment is an orphan, and counts it if that is unknown.
    fn is_orphan(&self, segment: &Segment, lookups: &Lookups) -> bool {
        if state::may_be_orphan(segment, lookups) {
            self.undecided.fetch_add(1, Ordering::Relaxed);
        }
        state::is_orphan(segment, lookups)
    }

    fn matches_without_processes(&self, segment: &Segment, lookups: &Lookups) -> bool {
        let at_least = |limit: Option<Duration>, since: i64| {
            limit.is_none_or(|limit| Duration::from_secs(lookups.clock().seconds_since(since)) >= limit)
        };
        any(&self.owners, |uid| segment.uid == *uid)
            && self.mine.is_none_or(|uid| segment.uid == uid)
            && any(&self.creators, |uid| segment.cuid == *uid)
            && any(&self.groups, |gid| segment.gid == *gid)
            && any(&self.keys, |keys| keys.contains(&segment.key))
            && self.attached.is_none_or(|attached| (segment.nattch > 0) == attached)
            && (!self.marked || segment.is_marked())
            && self.min_size.is_none_or(|size| segment.size >= size)
            && self.max_size.is_none_or(|size| segment.size <= size)
            && self.known.as_ref().is_none_or(|known| !known.has(segment))
            && at_least(self.older_than, segment.ctime)
            && at_least(self.idle, segment.last_used())
    }
}

/// Returns whether one of the values matches, or there is none.
fn any<T>(values: &[T], matches: impl Fn(&T) -> bool) -> bool {
    values.is_empty() || values.iter().any(matches)
}

/// A process and its attachments.
#[derive(Debug)]
pub(crate) struct ProcessFilter {
    pid: i32,
    attached: Option<Holding>,
    /// The inode of this thread's own IPC namespace.
    ours: Option<u64>,
}

impl ProcessFilter {
    /// Inspects a process. Also returns why its attachments are unknown, if they are.
    pub(crate) fn new(pid: i32) -> (ProcessFilter, Option<Error>) {
        let (ours, result) = match namespace::Identity::ours() {
            Ok(ours) => (Some(ours.inode), attachments::of_process(pid)),
            Err(error) => (None, Err(error)),
        };
        let result = match result {
            Ok(None) if is_hidden(pid) => Err(io::Error::other("/proc does not show that process")),
            result => result,
        };
        let (attached, problem) = match result {
            Ok(attached) => (attached, None),
            Err(error) => {
                let problem = Error::io(format_args!("see what process {pid} has attached"), &error);
                (None, Some(problem.hint("only segments that it created or used last match")))
            }
        };
        (ProcessFilter { pid, attached, ours }, problem)
    }

    fn matches(&self, segment: &Segment, lookups: &Lookups, needs_proof: bool) -> bool {
        // The same identifier in another namespace is another segment.
        let proof = self
            .attached
            .as_ref()
            .filter(|attached| Some(attached.namespace) == segment.namespace.or(self.ours))
            .and_then(|attached| attached.proof(segment));
        (proof == Some(Proof::Certain) || proof.is_some() && !needs_proof)
            || state::was_created_by(self.pid, segment, lookups)
            || state::was_last_used_by(self.pid, segment, lookups)
    }
}
