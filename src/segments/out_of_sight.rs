//! Attachments of segments whose IPC namespace is not visible: their process has left it, and no other process is in
//! it.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use super::attachments::{self, Attachments};
use crate::sysv::{Segment, SegmentFile, SegmentMapping, page_size};
use crate::values::ShmId;

/// An attachment whose segment has not been found yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Unknown {
    /// The process.
    pub pid: i32,
    /// The IPC namespace that the process is in, by its inode.
    pub namespace: u64,
    /// The size of the segment in bytes; without privilege, the size of the attachment.
    pub size: u64,
}

/// The attachments of the machine whose segments have not been found yet in any namespace.
#[derive(Debug)]
pub(crate) struct OutOfSight {
    /// By the segment's identifier.
    unseen: RefCell<BTreeMap<ShmId, Vec<Unseen>>>,
}

#[derive(Debug)]
struct Unseen {
    unknown: Unknown,
    mapping: SegmentMapping,
    /// The kernel's data about the segment's file. Only root may request it.
    file: Option<SegmentFile>,
}

impl OutOfSight {
    /// Starts with all attachments.
    pub(crate) fn new(attachments: &Attachments) -> OutOfSight {
        let mut unseen = BTreeMap::<_, Vec<_>>::new();
        for (namespace, pid, mapping, file) in attachments.iter() {
            let size = file.map_or(mapping.range.end - mapping.range.start, |file| file.size);
            let unknown = Unknown { pid, namespace, size };
            unseen.entry(mapping.id).or_default().push(Unseen { unknown, mapping: mapping.clone(), file });
        }
        OutOfSight { unseen: unseen.into() }
    }

    /// Removes the attachments of a segment that was found, whatever namespace their processes are in now.
    pub(crate) fn see(&self, segment: &Segment) {
        if segment.nattch > 0
            && let Some(unseen) = self.unseen.borrow_mut().get_mut(&segment.id)
        {
            unseen.retain(|one| !one.is_of(segment));
        }
    }

    /// Returns the remaining attachments, each segment of a process once. Processes in other namespaces than `known`
    /// are skipped, because those namespaces may be newer. Attachments that are gone by now are skipped, too.
    pub(crate) fn rest(self, known: &BTreeSet<u64>) -> Vec<Unknown> {
        let mut rest = Vec::new();
        for mut unseen in self.unseen.into_inner().into_values() {
            unseen.retain(|one| known.contains(&one.unknown.namespace) && one.is_still_attached());
            unseen.sort_by_key(|one| one.unknown);
            unseen.dedup_by_key(|one| one.unknown);
            rest.extend(unseen.into_iter().map(|one| one.unknown));
        }
        rest.sort_unstable();
        rest
    }
}

impl Unseen {
    fn is_still_attached(&self) -> bool {
        let now = attachments::of_process(self.unknown.pid).ok().flatten();
        now.is_some_and(|now| now.namespace == self.unknown.namespace && now.mappings.contains(&self.mapping))
    }

    fn is_of(&self, segment: &Segment) -> bool {
        let fits = match self.file {
            Some(file) => file.is_of(segment),
            None => self.unknown.size <= segment.size.next_multiple_of(page_size()),
        };
        fits && self.mapping.is_of(segment)
    }
}
