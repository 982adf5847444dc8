//! The creators and last users of many segments, read together.
//!
//! Reading a process can wait, so a thread of its own does it ([`crate::system::patience`]). A new thread for each
//! segment would take several times as long as the reading.

use std::iter;

use super::cache::Lookups;
use super::state::{self, Presence};
use crate::sysv::Segment;

/// The number of segments whose users are read together.
const TOGETHER: usize = 512;

/// Which command lines are shown for a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shown {
    /// The creator's, or the last user's if the creator is not alive.
    One,
    /// Both.
    Both,
}

/// Announces the users of the next segments before it returns the first of them. Once one of the users is needed, all
/// that were announced are read.
pub(crate) fn announce<E>(
    segments: impl Iterator<Item = Result<Segment, E>>,
    lookups: &Lookups,
) -> impl Iterator<Item = Result<Segment, E>> {
    in_batches(segments, |batch| {
        lookups.processes().announce(batch.iter().flatten().flat_map(|segment| [segment.cpid, segment.lpid]));
    })
}

/// Reads the command lines for the next segments before it returns the first of them.
pub(crate) fn with_commands<E>(
    segments: impl Iterator<Item = Result<Segment, E>>,
    shown: Shown,
    lookups: &Lookups,
) -> impl Iterator<Item = Result<Segment, E>> {
    in_batches(segments, move |batch| read_commands(batch.iter().flatten(), shown, lookups))
}

/// Reads the command lines for these segments.
pub(crate) fn read_commands<'a>(segments: impl Iterator<Item = &'a Segment> + Clone, shown: Shown, lookups: &Lookups) {
    lookups.processes().announce(segments.clone().flat_map(|segment| [segment.cpid, segment.lpid]));
    let users = segments.flat_map(|segment| {
        let creator = (state::creator(segment, lookups) == Presence::Alive).then_some(segment.cpid);
        let may_show_last_user = creator.is_none() || shown == Shown::Both;
        let shows_last_user = may_show_last_user && state::last_user(segment, lookups) == Some(Presence::Alive);
        creator.into_iter().chain(shows_last_user.then_some(segment.lpid))
    });
    lookups.processes().read_commands(users);
}

/// Calls `before` with the next segments before it returns the first of them.
fn in_batches<E>(
    segments: impl Iterator<Item = Result<Segment, E>>,
    before: impl Fn(&[Result<Segment, E>]),
) -> impl Iterator<Item = Result<Segment, E>> {
    let mut segments = segments.fuse();
    let batches = iter::from_fn(move || {
        let batch: Vec<_> = segments.by_ref().take(TOGETHER).collect();
        before(&batch);
        (!batch.is_empty()).then_some(batch)
    });
    batches.flatten()
}
