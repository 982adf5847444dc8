//! A segment's state: its creator, its last user, and whether it is an orphan.
//!
//! The kernel keeps the pid of the creator and of the last user, but a pid can be reused. So a process counts as one of
//! them only if it started before the recorded time of the creation or of the last use.

use std::rc::Rc;

use serde::Serialize;

use crate::segments::attachments::Proof;
use crate::segments::cache::Lookups;
use crate::system::cgroup::Cgroups;
use crate::system::process::Running;
use crate::system::units::Unit;
use crate::sysv::Segment;
use crate::values::Key;

const SECOND: i64 = 1_000_000_000;

/// A process that started this much later than a recorded time is certainly another process: nanoseconds after the end of
/// the recorded second. The kernel's clock of whole seconds moves with its tick, and lags behind by at most 10 ms; start
/// times are counted in steps of 10 ms.
const LAG: i64 = 20_000_000;

/// Whether a process that the kernel has recorded is still alive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Presence {
    /// It is alive.
    Alive,
    /// There is no such process, it is a zombie whose threads have all ended, or a later process has its pid.
    Exited,
    /// Its pid is 0, because it is in a pid namespace that is not visible from here. Or /proc shows other pids than ours,
    /// or the process with that pid may be a later one, or does not answer.
    Unknown,
}

impl Presence {
    /// Returns the word for the status.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Alive => "alive",
            Self::Exited => "exited",
            Self::Unknown => "unknown",
        }
    }
}

/// Returns whether a segment's creator is alive.
pub(crate) fn creator(segment: &Segment, lookups: &Lookups) -> Presence {
    let Some(running) = named(segment.cpid, lookups) else { return Presence::Unknown };
    let Some(running) = running else { return Presence::Exited };
    // The segment existed at each of these times. IPC_SET changes ctime, so the time of creation is not known exactly.
    let times = [segment.ctime, segment.atime, segment.dtime];
    let existed = times.into_iter().filter(|time| *time != 0).min().unwrap_or(segment.ctime);
    let is_creators = (segment.uid, segment.gid) == (segment.cuid, segment.cgid) && segment.has_known_owner();
    let was_set = existed < segment.ctime || !is_creators;
    match start(&running, existed, lookups) {
        Start::Later => Presence::Exited,
        Start::Unclear => Presence::Unknown,
        Start::Before | Start::SameSecond | Start::Hidden if was_set => Presence::Unknown,
        Start::SameSecond if !running.is_run_by(segment.cuid) => Presence::Unknown,
        Start::Before | Start::SameSecond | Start::Hidden => Presence::Alive,
    }
}

/// Returns whether the process that last attached or detached is alive; `None` if nobody has ever attached the segment.
pub(crate) fn last_user(segment: &Segment, lookups: &Lookups) -> Option<Presence> {
    let used = segment.atime.max(segment.dtime);
    if used == 0 {
        return None;
    }
    let Some(running) = named(segment.lpid, lookups) else { return Some(Presence::Unknown) };
    let Some(running) = running else { return Some(Presence::Exited) };
    Some(match start(&running, used, lookups) {
        Start::Later => Presence::Exited,
        Start::Unclear => Presence::Unknown,
        Start::SameSecond if !may_attach(&running, segment) => Presence::Unknown,
        Start::Before | Start::SameSecond | Start::Hidden => Presence::Alive,
    })
}

/// Returns whether the process that has or last had this pid created a segment, or was the last to attach or detach it;
/// `None` if that is unknown. Removals rely on this, so a process that may be a later one does not count.
pub(crate) fn is_used_by(pid: i32, segment: &Segment, lookups: &Lookups) -> Option<bool> {
    let uses = [was_created_by(pid, segment, lookups), was_last_used_by(pid, segment, lookups)];
    if uses.contains(&Some(true)) { Some(true) } else { uses.into_iter().collect::<Option<Vec<_>>>().map(|_| false) }
}

fn was_created_by(pid: i32, segment: &Segment, lookups: &Lookups) -> Option<bool> {
    if segment.cpid != pid {
        return Some(false);
    }
    let Some(running) = named(pid, lookups)? else { return Some(true) };
    match creator(segment, lookups) {
        Presence::Alive => Some(running.is_run_by(segment.cuid)),
        Presence::Exited => Some(false),
        Presence::Unknown => None,
    }
}

fn was_last_used_by(pid: i32, segment: &Segment, lookups: &Lookups) -> Option<bool> {
    if segment.lpid != pid {
        return Some(false);
    }
    if named(pid, lookups)?.is_none() {
        return Some(true);
    }
    match last_user(segment, lookups) {
        Some(Presence::Alive) => Some(true),
        Some(Presence::Exited) | None => Some(false),
        Some(Presence::Unknown) => None,
    }
}

/// Returns the creator's command line; `None` unless the creator is alive.
pub(crate) fn creator_command(segment: &Segment, lookups: &Lookups) -> Option<Rc<str>> {
    match creator(segment, lookups) {
        Presence::Alive => lookups.processes().command(segment.cpid),
        Presence::Exited | Presence::Unknown => None,
    }
}

/// Returns the last user's command line; `None` unless the last user is alive.
pub(crate) fn last_command(segment: &Segment, lookups: &Lookups) -> Option<Rc<str>> {
    match last_user(segment, lookups) {
        Some(Presence::Alive) => lookups.processes().command(segment.lpid),
        Some(Presence::Exited | Presence::Unknown) | None => None,
    }
}

/// Returns the control groups of the creator if it is alive, else of the last user if that is alive.
pub(crate) fn cgroups(segment: &Segment, lookups: &Lookups) -> Option<Rc<Cgroups>> {
    let alive = Some(Presence::Alive);
    if Some(creator(segment, lookups)) == alive {
        lookups.processes().cgroups(segment.cpid)
    } else if last_user(segment, lookups) == alive {
        lookups.processes().cgroups(segment.lpid)
    } else {
        None
    }
}

/// Returns the systemd unit, container or pod of the creator if it is alive, else of the last user if that is alive.
pub(crate) fn unit(segment: &Segment, lookups: &Lookups) -> Option<Unit> {
    cgroups(segment, lookups)?.unit().cloned()
}

/// Returns whether a segment whose control groups are unknown may have a unit: its creator or its last user may be alive.
pub(crate) fn may_have_unit(segment: &Segment, lookups: &Lookups) -> bool {
    let presences = [Some(creator(segment, lookups)), last_user(segment, lookups)];
    presences.into_iter().flatten().any(|presence| presence != Presence::Exited)
}

/// Returns whether a segment seems to be left behind: nobody has it attached, and its creator and its last user have
/// exited.
pub(crate) fn is_orphan(segment: &Segment, lookups: &Lookups) -> bool {
    segment.nattch == 0
        && creator(segment, lookups) == Presence::Exited
        && matches!(last_user(segment, lookups), None | Some(Presence::Exited))
}

/// Returns whether a segment would be an orphan if all processes whose state is unknown had exited.
pub(crate) fn may_be_orphan(segment: &Segment, lookups: &Lookups) -> bool {
    if segment.nattch > 0 {
        return false;
    }
    let presences = [Some(creator(segment, lookups)), last_user(segment, lookups)];
    presences.contains(&Some(Presence::Unknown)) && !presences.contains(&Some(Presence::Alive))
}

/// Returns the special properties of a segment: `dest`, `locked`, `orphan`.
pub(crate) fn status_words(segment: &Segment, lookups: &Lookups) -> impl Iterator<Item = &'static str> + use<> {
    let words =
        [(segment.is_marked(), "dest"), (segment.is_locked(), "locked"), (is_orphan(segment, lookups), "orphan")];
    words.into_iter().filter_map(|(holds, word)| holds.then_some(word))
}

/// Returns the key that a marked segment had, if a process that has it attached shows the key, and how certain that is.
pub(crate) fn original_key(segment: &Segment, lookups: &Lookups) -> Option<(Key, Proof)> {
    if segment.is_marked() { lookups.original_key(segment) } else { None }
}

/// Returns the process with this pid, which the kernel recorded; `Some(None)` if there is none, `None` if that is
/// unknown.
fn named(pid: i32, lookups: &Lookups) -> Option<Option<Rc<Running>>> {
    if pid > 0 { lookups.processes().running(pid) } else { None }
}

/// When a process started, relative to a time that the kernel recorded in whole seconds.
enum Start {
    /// Before that second.
    Before,
    /// In that second, before or after the recorded event.
    SameSecond,
    /// After that second.
    Later,
    /// The clock was set since, so the two cannot be compared.
    Unclear,
    /// /proc hides the process.
    Hidden,
}

fn start(running: &Running, recorded: i64, lookups: &Lookups) -> Start {
    let Some(started) = running.started else { return Start::Hidden };
    let clock = lookups.clock();
    let begin = recorded.saturating_mul(SECOND);
    if started < begin {
        Start::Before
    } else if started < begin.saturating_add(SECOND + LAG) {
        Start::SameSecond
    } else if clock.is_comparable(recorded) {
        Start::Later
    } else {
        Start::Unclear
    }
}

/// Returns whether the mode may allow a process to attach a segment. It does not check groups.
fn may_attach(running: &Running, segment: &Segment) -> bool {
    let is_open_to_others = segment.mode().bits() & 0o044 != 0;
    is_open_to_others || [0, segment.uid, segment.cuid].into_iter().any(|uid| running.is_run_by(uid))
}
