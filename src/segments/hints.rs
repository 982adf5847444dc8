//! Hints for a key that no segment has: which segment the user may have meant.

use std::collections::HashSet;
use std::sync::OnceLock;

use nix::unistd::geteuid;

use crate::error::Error;
use crate::segments::cache::Lookups;
use crate::segments::state;
use crate::system::namespace::{self, survey};
use crate::sysv::{Segment, is_traced, rows};
use crate::values::{Key, ShmId};

/// The data about the segments of this namespace that hints need. It is read for the first hint only.
struct Present {
    ids: HashSet<ShmId>,
    marked: Vec<(ShmId, Key)>,
}

/// Adds a hint to the error for a key that no segment has.
pub(super) fn with_hint(error: Error, key: Key) -> Error {
    let list = "`shmadm list` shows those that exist";
    // A trace shows the calls of the command, not those of a hint.
    if is_traced() {
        return error.hint(list);
    }
    static PRESENT: OnceLock<Present> = OnceLock::new();
    let present = PRESENT.get_or_init(Present::read);
    if let Some((id, _)) = present.marked.iter().find(|(_, had)| *had == key) {
        return error.hint(format_args!("id:{id} had this key and is marked for destruction"));
    }
    if let Some(id) = ShmId::new(key.as_raw()).filter(|id| present.ids.contains(id)) {
        return error.hint(format_args!("a segment with identifier {id} exists: use id:{id}"));
    }
    if is_in_another_namespace(key) {
        let all = format!("`shmadm list --all-namespaces --key {key}`");
        return error.hint(format_args!("a segment in another IPC namespace has this key: try {all}"));
    }
    error.hint(list)
}

impl Present {
    fn read() -> Present {
        let (mut ids, mut marked) = (HashSet::new(), Vec::new());
        for segment in rows().into_iter().flatten().filter_map(Result::ok) {
            ids.insert(segment.id);
            if segment.is_marked() {
                marked.push(segment);
            }
        }
        let lookups = Lookups::default();
        let had = |segment: Segment| state::original_key(&segment, &lookups).map(|(key, _)| (segment.id, key));
        Present { ids, marked: marked.into_iter().filter_map(had).collect() }
    }
}

/// Returns whether a segment of another IPC namespace has this key. Only root searches: other users may enter few
/// namespaces.
fn is_in_another_namespace(key: Key) -> bool {
    static KEYS: OnceLock<HashSet<Key>> = OnceLock::new();
    let read_keys = || {
        if !geteuid().is_root() {
            return HashSet::new();
        }
        // Processes that do not answer cost at most a hint, so they are not reported.
        let namespaces = survey().map(|survey| survey.namespaces).unwrap_or_default();
        let rows = namespace::rows(&namespaces).filter_map(|(_, rows)| rows.ok().flatten()).flatten();
        rows.filter_map(Result::ok).map(|segment| segment.key).collect()
    };
    KEYS.get_or_init(read_keys).contains(&key)
}
