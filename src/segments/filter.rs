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
    pub(crate) undecided: Undecided,
}

/// The numbers of segments that were skipped only because something about their creator or last user is unknown.
#[derive(Debug, Default)]
pub(crate) struct Undecided {
    /// Whether it is alive.
    pub(crate) states: AtomicUsize,
    /// Which unit it belongs to.
    pub(crate) units: AtomicUsize,
}

/// What the filters that inspect the creator and the last user find.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Match,
    NoMatch,
    /// It is unknown whether one of them is alive.
    UnknownState,
    /// The unit is unknown.
    UnknownUnit,
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

    /// Returns whether all filters match a segment, and counts it if that is unknown. The expensive ones, which inspect
    /// processes, come last.
    pub fn matches(&self, segment: &Segment, lookups: &Lookups) -> bool {
        let count = |counter: &AtomicUsize| {
            counter.fetch_add(1, Ordering::Relaxed);
            false
        };
        match self.verdict(segment, lookups) {
            Verdict::Match => true,
            Verdict::NoMatch => false,
            Verdict::UnknownState => count(&self.undecided.states),
            Verdict::UnknownUnit => count(&self.undecided.units),
        }
    }

    /// Returns whether a segment that does not match may be one that matches, because something about a process is
    /// unknown.
    pub(crate) fn may_match(&self, segment: &Segment, lookups: &Lookups) -> bool {
        matches!(self.verdict(segment, lookups), Verdict::UnknownState | Verdict::UnknownUnit)
    }

    fn verdict(&self, segment: &Segment, lookups: &Lookups) -> Verdict {
        if !self.matches_without_processes(segment, lookups) {
            return Verdict::NoMatch;
        }
        let mut verdict = Verdict::Match;
        for check in [Self::process_verdict, Self::unit_verdict, Self::creator_verdict, Self::orphan_verdict] {
            match check(self, segment, lookups) {
                Verdict::NoMatch => return Verdict::NoMatch,
                Verdict::Match => {}
                unknown => verdict = unknown,
            }
        }
        verdict
    }

    fn process_verdict(&self, segment: &Segment, lookups: &Lookups) -> Verdict {
        let of_pid = |process: &ProcessFilter| state::is_used_by(process.pid, segment, lookups);
        if any(&self.processes, |process| process.has_attached(segment, self.needs_proof)) {
            return Verdict::Match;
        }
        let uses: Vec<_> = self.processes.iter().map(of_pid).collect();
        match () {
            () if uses.contains(&Some(true)) => Verdict::Match,
            () if uses.contains(&None) => Verdict::UnknownState,
            () => Verdict::NoMatch,
        }
    }

    fn unit_verdict(&self, segment: &Segment, lookups: &Lookups) -> Verdict {
        if self.units.is_empty() {
            return Verdict::Match;
        }
        match state::cgroups(segment, lookups) {
            Some(cgroups) if self.units.iter().any(|name| cgroups.are_named(name)) => Verdict::Match,
            None if state::may_have_unit(segment, lookups) => Verdict::UnknownUnit,
            _ => Verdict::NoMatch,
        }
    }

    fn creator_verdict(&self, segment: &Segment, lookups: &Lookups) -> Verdict {
        if !self.creator_exited {
            return Verdict::Match;
        }
        match state::creator(segment, lookups) {
            Presence::Exited => Verdict::Match,
            Presence::Alive => Verdict::NoMatch,
            Presence::Unknown => Verdict::UnknownState,
        }
    }

    fn orphan_verdict(&self, segment: &Segment, lookups: &Lookups) -> Verdict {
        match () {
            () if !self.orphaned || state::is_orphan(segment, lookups) => Verdict::Match,
            () if state::may_be_orphan(segment, lookups) => Verdict::UnknownState,
            () => Verdict::NoMatch,
        }
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

    fn has_attached(&self, segment: &Segment, needs_proof: bool) -> bool {
        // The same identifier in another namespace is another segment.
        let proof = self
            .attached
            .as_ref()
            .filter(|attached| Some(attached.namespace) == segment.namespace.or(self.ours))
            .and_then(|attached| attached.proof(segment));
        proof == Some(Proof::Certain) || proof.is_some() && !needs_proof
    }
}
