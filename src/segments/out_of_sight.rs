//! Attachments of segments whose IPC namespace nothing shows: their process left it, and nobody else is there.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::MetadataExt;

use super::attachments::{self, Attached, Attachments};
use crate::sysv::{Segment, page_size};
use crate::values::ShmId;

/// Huge pages make the file of a segment as much larger than the segment, at most.
const LARGEST_PAGE: u64 = 1 << 30;

/// An attachment whose segment was not seen yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Unknown {
    /// The process.
    pub pid: i32,
    /// The IPC namespace that the process is in, by its inode.
    pub namespace: u64,
    /// The size of the segment in bytes; without privilege that of the attachment.
    pub size: u64,
}

/// The attachments of the machine, until their segments are seen in one namespace or another.
#[derive(Debug)]
pub(crate) struct OutOfSight {
    /// By the identifier of the segment.
    unseen: RefCell<BTreeMap<ShmId, Vec<Unseen>>>,
}

#[derive(Debug)]
struct Unseen {
    unknown: Unknown,
    attached: Attached,
    /// The segment's creator, if its file may be asked.
    creator: Option<u32>,
}

impl OutOfSight {
    /// Starts with all attachments.
    pub(crate) fn new(attachments: &Attachments) -> OutOfSight {
        let mut unseen = BTreeMap::<_, Vec<_>>::new();
        for (namespace, attached) in attachments.iter() {
            let range = &attached.mapping.range;
            let file = format!("/proc/{}/map_files/{:x}-{:x}", attached.pid, range.start, range.end);
            // Only root may ask for the file. Its size is that of the segment, and its owner the creator.
            let file = fs::metadata(file).ok();
            let size = file.as_ref().map_or(range.end - range.start, MetadataExt::size);
            unseen.entry(attached.mapping.id).or_default().push(Unseen {
                unknown: Unknown { pid: attached.pid, namespace, size },
                attached: attached.clone(),
                creator: file.map(|file| file.uid()),
            });
        }
        OutOfSight { unseen: unseen.into() }
    }

    /// Takes out the attachments of a segment that was seen, whichever namespace their processes are in by now.
    pub(crate) fn see(&self, segment: &Segment) {
        if segment.nattch > 0
            && let Some(unseen) = self.unseen.borrow_mut().get_mut(&segment.id)
        {
            unseen.retain(|one| !one.is_of(segment));
        }
    }

    /// Returns those that are left, each segment of a process once. Those of processes in other namespaces than `known`
    /// are left out, as these may be younger; so are those that are gone by now.
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
        let now = attachments::of_process(self.attached.pid).ok().flatten();
        now.is_some_and(|now| now.namespace == self.unknown.namespace && now.mappings.contains(&self.attached.mapping))
    }

    fn is_of(&self, segment: &Segment) -> bool {
        let size = self.unknown.size;
        let fits = match self.creator {
            Some(creator) => {
                let is_huge = size.is_multiple_of(1 << 20) && size.saturating_sub(segment.size) < LARGEST_PAGE;
                creator == segment.cuid && (size == segment.size || size > segment.size && is_huge)
            }
            None => size <= segment.size.next_multiple_of(page_size()),
        };
        fits && self.attached.mapping.is_of(segment)
    }
}
