//! Recognizing the segment that another process has begun and not completed.

use std::collections::HashSet;

use nix::unistd::geteuid;

use super::message::Message;
use crate::linux::known_uid;
use crate::segments::lookup;
use crate::sysv::Segment;
use crate::values::{Key, ShmId};

/// The maximum number of seconds from the announcement of a segment to its creation. Within this time, no other process
/// gets our pid.
const MAX_DELAY: i64 = 60;

/// What the child knows.
#[derive(Debug, Default)]
pub(super) struct Known {
    creator: i32,
    can_search: bool,
    /// Segments with this creator that are not the one in progress.
    others: HashSet<ShmId>,
    begun: Option<Begun>,
}

/// A segment in progress.
#[derive(Debug)]
struct Begun {
    key: Key,
    size: u64,
    time: i64,
    id: Option<ShmId>,
}

impl Known {
    /// Takes a message into account.
    pub(super) fn learn(&mut self, message: Message) {
        match message {
            Message::Creator { pid, can_search } => (self.creator, self.can_search) = (pid, can_search),
            Message::Earlier(id) => _ = self.others.insert(id),
            Message::Begun { key, size, time } => self.begun = Some(Begun { key, size, time, id: None }),
            Message::Created(id) => self.begun.iter_mut().for_each(|begun| begun.id = Some(id)),
            Message::Over => {
                let id = self.begun.take().and_then(|begun| begun.id);
                self.others.extend(id);
            }
        }
    }

    /// Returns the segment that was begun, exists, and is not complete.
    pub(super) fn incomplete(&self) -> Option<ShmId> {
        let begun = self.begun.as_ref()?;
        let Some(id) = begun.id else { return self.search(begun) };
        // Meanwhile another process may have removed it, and a third one's segment may have its identifier.
        let now = lookup::current(id).ok().flatten()?;
        self.is_expected(&now, begun).then_some(id)
    }

    /// Finds a segment that was created without an announcement: the process was killed between the two.
    fn search(&self, begun: &Begun) -> Option<ShmId> {
        if !self.can_search {
            return None;
        }
        let rows = lookup::rows().ok()?.filter_map(Result::ok);
        let mut found = rows.filter(|row| self.is_unannounced(row, begun));
        found.next().map(|segment| segment.id)
    }

    fn is_unannounced(&self, row: &Segment, begun: &Begun) -> bool {
        let is_recent = (begun.time..=begun.time + MAX_DELAY).contains(&row.ctime);
        let is_untouched = (row.lpid, row.nattch, row.atime) == (0, 0, 0);
        self.is_expected(row, begun) && is_recent && is_untouched && !self.others.contains(&row.id)
    }

    fn is_expected(&self, segment: &Segment, begun: &Begun) -> bool {
        (segment.cpid, segment.cuid) == (self.creator, known_uid(geteuid().as_raw()))
            && (segment.key, segment.size) == (begun.key, begun.size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sysv::Segments;

    fn id(id: i32) -> ShmId {
        ShmId::new(id).expect("an identifier")
    }

    #[test]
    fn only_a_new_segment_of_this_process_is_the_unannounced_one() {
        let uid = geteuid().as_raw();
        let row = |row: &str| Segments::new(format!("key\n{row}\n").as_bytes()).unwrap().next().unwrap().unwrap();
        let mut known = Known::default();
        known.learn(Message::Creator { pid: 100, can_search: true });
        known.learn(Message::Earlier(id(9)));
        for complete in [5, 6] {
            known.learn(Message::Begun { key: Key::from_raw(42), size: 4096, time: 1000 });
            known.learn(Message::Created(id(complete)));
            known.learn(Message::Over);
        }
        assert_eq!(known.incomplete(), None);
        known.learn(Message::Begun { key: Key::from_raw(42), size: 4096, time: 1000 });
        let begun = known.begun.as_ref().unwrap();
        for (line, is_it) in [
            (format!("42 7 600 4096 100 0 0 {uid} 0 {uid} 0 0 0 1000 0 0"), true),
            (format!("42 7 600 4096 100 0 0 {uid} 0 {uid} 0 0 0 1060 0 0"), true),
            // Another key, size, creator or user; attached before; too early, too late.
            (format!("43 7 600 4096 100 0 0 {uid} 0 {uid} 0 0 0 1000 0 0"), false),
            (format!("42 7 600 4097 100 0 0 {uid} 0 {uid} 0 0 0 1000 0 0"), false),
            (format!("42 7 600 4096 101 0 0 {uid} 0 {uid} 0 0 0 1000 0 0"), false),
            (format!("42 7 600 4096 100 0 0 {uid} 0 {} 0 0 0 1000 0 0", uid + 1), false),
            (format!("42 7 600 4096 100 0 1 {uid} 0 {uid} 0 0 0 1000 0 0"), false),
            (format!("42 7 600 4096 100 100 0 {uid} 0 {uid} 0 1000 1000 1000 0 0"), false),
            (format!("42 7 600 4096 100 0 0 {uid} 0 {uid} 0 0 0 999 0 0"), false),
            (format!("42 7 600 4096 100 0 0 {uid} 0 {uid} 0 0 0 1061 0 0"), false),
            // It existed before, or is complete.
            (format!("42 9 600 4096 100 0 0 {uid} 0 {uid} 0 0 0 1000 0 0"), false),
            (format!("42 5 600 4096 100 0 0 {uid} 0 {uid} 0 0 0 1000 0 0"), false),
            (format!("42 6 600 4096 100 0 0 {uid} 0 {uid} 0 0 0 1000 0 0"), false),
        ] {
            assert_eq!(known.is_unannounced(&row(&line), begun), is_it, "{line}");
        }
    }
}
