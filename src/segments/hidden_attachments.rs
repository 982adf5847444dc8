//! Attachments of segments in IPC namespaces that are not visible. Such a namespace has no process: the one with the
//! attachment has left it.

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
pub(crate) struct HiddenAttachments {
    /// By the segment's identifier.
    hidden: RefCell<BTreeMap<ShmId, Vec<Hidden>>>,
}

#[derive(Debug)]
struct Hidden {
    unknown: Unknown,
    mapping: SegmentMapping,
    /// The kernel's data about the segment's file. Only root may request it.
    file: Option<SegmentFile>,
}

impl HiddenAttachments {
    /// Creates the set of all attachments. [`HiddenAttachments::remove`] removes those whose segments are found.
    pub(crate) fn new(attachments: &Attachments) -> HiddenAttachments {
        let mut hidden = BTreeMap::<_, Vec<_>>::new();
        for (namespace, pid, mapping, file) in attachments.iter() {
            let size = file.map_or(mapping.range.end - mapping.range.start, |file| file.size);
            let unknown = Unknown { pid, namespace, size };
            hidden.entry(mapping.id).or_default().push(Hidden { unknown, mapping: mapping.clone(), file });
        }
        HiddenAttachments { hidden: hidden.into() }
    }

    /// Removes the attachments of a segment that was found, whatever namespace their processes are in now.
    pub(crate) fn remove(&self, segment: &Segment) {
        if segment.nattch > 0
            && let Some(hidden) = self.hidden.borrow_mut().get_mut(&segment.id)
        {
            hidden.retain(|one| !one.is_of(segment));
        }
    }

    /// Returns the remaining attachments, each segment of a process once. Processes in other namespaces than `known`
    /// are skipped, because those namespaces may be newer. Attachments that are gone by now are skipped, too.
    pub(crate) fn rest(self, known: &BTreeSet<u64>) -> Vec<Unknown> {
        let mut rest = Vec::new();
        for mut hidden in self.hidden.into_inner().into_values() {
            hidden.retain(|one| known.contains(&one.unknown.namespace) && one.is_still_attached());
            hidden.sort_by_key(|one| one.unknown);
            hidden.dedup_by_key(|one| one.unknown);
            rest.extend(hidden.into_iter().map(|one| one.unknown));
        }
        rest.sort_unstable();
        rest
    }
}

impl Hidden {
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
