//! The command lines of the creators and last users of many segments, read together.
//!
//! Reading a command line can wait, so a thread of its own does it ([`crate::system::patience`]). A new thread for each
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

/// Reads the command lines for the next segments before it returns the first of them.
pub(crate) fn read_ahead<E>(
    segments: impl Iterator<Item = Result<Segment, E>>,
    shown: Shown,
    lookups: &Lookups,
) -> impl Iterator<Item = Result<Segment, E>> {
    let mut segments = segments.fuse();
    let batches = iter::from_fn(move || {
        let batch: Vec<_> = segments.by_ref().take(TOGETHER).collect();
        read(batch.iter().flatten(), shown, lookups);
        (!batch.is_empty()).then_some(batch)
    });
    batches.flatten()
}

/// Reads the command lines for these segments.
pub(crate) fn read<'a>(segments: impl Iterator<Item = &'a Segment>, shown: Shown, lookups: &Lookups) {
    let segments: Vec<_> = segments.collect();
    lookups.processes().read_processes(segments.iter().flat_map(|segment| [segment.cpid, segment.lpid]));
    let users = segments.into_iter().flat_map(|segment| {
        let creator = (state::creator(segment, lookups) == Presence::Alive).then_some(segment.cpid);
        let may_show_last_user = creator.is_none() || shown == Shown::Both;
        let shows_last_user = may_show_last_user && state::last_user(segment, lookups) == Some(Presence::Alive);
        creator.into_iter().chain(shows_last_user.then_some(segment.lpid))
    });
    lookups.processes().read_commands(users);
}
