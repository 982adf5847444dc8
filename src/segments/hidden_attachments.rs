//! Attachments of segments in IPC namespaces that are not visible. Such a namespace has no process: the one with the
//! attachment has left it.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::attachments::{self, Attachments};
use crate::sysv::{Segment, SegmentFile, SegmentMapping, page_size};
use crate::values::ShmId;

/// The number of processes that are asked together. Their answers can be large.
const ASKED_TOGETHER: usize = 64;

/// A segment that a process has attached and that has not been found.
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
pub(crate) struct HiddenAttachments<'a> {
    attachments: &'a Attachments,
    /// By the segment's identifier. There can be many, so these are only indices.
    hidden: RefCell<HashMap<ShmId, Vec<Hidden>>>,
}

/// A run of mappings, by the indices of its address space and of the run there.
#[derive(Debug, Clone, Copy)]
struct Hidden {
    holding: u32,
    run: u32,
}

impl<'a> HiddenAttachments<'a> {
    /// Creates the set of all attachments. [`HiddenAttachments::remove`] removes those whose segments are found.
    pub(crate) fn new(attachments: &'a Attachments) -> HiddenAttachments<'a> {
        let mut hidden = HashMap::<_, Vec<_>>::new();
        for (index, (_, holding)) in (0..).zip(attachments.holdings()) {
            for (run, mapping) in (0..).zip(holding.runs.iter().map(|run| &holding.mappings[run.places.start])) {
                hidden.entry(mapping.id).or_default().push(Hidden { holding: index, run });
            }
        }
        HiddenAttachments { attachments, hidden: hidden.into() }
    }

    /// Removes the attachments of a segment that was found, whatever namespace their processes are in now.
    pub(crate) fn remove(&self, segment: &Segment) {
        if segment.nattch > 0
            && let Some(hidden) = self.hidden.borrow_mut().get_mut(&segment.id)
        {
            hidden.retain(|one| !is_of(self.mapping(*one), segment));
        }
    }

    /// Returns the remaining attachments, each segment of a process once. Processes in other namespaces than `known`
    /// are skipped, because those namespaces may be newer. Attachments that are gone by now are skipped, too.
    pub(crate) fn rest(self, known: &BTreeSet<u64>) -> Vec<Unknown> {
        let mut by_holding = BTreeMap::<u32, Vec<Hidden>>::new();
        for one in self.hidden.borrow().values().flatten() {
            by_holding.entry(one.holding).or_default().push(*one);
        }
        // They share one address space, so that one of them shows all.
        let member = |holding: &u32| {
            let (twins, _) = &self.attachments.holdings()[*holding as usize];
            twins.iter().copied().find(|(_, inode)| known.contains(inode))
        };
        let members: Vec<_> =
            by_holding.into_iter().filter_map(|(holding, hidden)| Some((member(&holding)?, hidden))).collect();
        let mut rest = BTreeSet::new();
        for members in members.chunks(ASKED_TOGETHER) {
            let pids: Vec<i32> = members.iter().map(|((pid, _), _)| *pid).collect();
            for (((pid, namespace), hidden), now) in members.iter().zip(attachments::now(&pids)) {
                let Some(now) = now.filter(|now| now.namespace == *namespace) else { continue };
                for (mapping, file) in hidden.iter().map(|one| self.mapping(*one)) {
                    let start = mapping.range.start;
                    let place = now.mappings.binary_search_by_key(&start, |mapping| mapping.range.start);
                    if place.is_ok_and(|place| now.mappings[place] == *mapping) {
                        rest.insert(Unknown { pid: *pid, namespace: *namespace, size: size(mapping, file) });
                    }
                }
            }
        }
        rest.into_iter().collect()
    }

    /// Returns the first mapping of a run, and the kernel's data about the segment's file, if it was requested.
    fn mapping(&self, Hidden { holding, run }: Hidden) -> (&'a SegmentMapping, Option<SegmentFile>) {
        let (_, holding) = &self.attachments.holdings()[holding as usize];
        let run = &holding.runs[run as usize];
        (&holding.mappings[run.places.start], run.file)
    }
}

fn size(mapping: &SegmentMapping, file: Option<SegmentFile>) -> u64 {
    file.map_or(mapping.range.end - mapping.range.start, |file| file.size)
}

fn is_of((mapping, file): (&SegmentMapping, Option<SegmentFile>), segment: &Segment) -> bool {
    let fits = match file {
        Some(file) => file.is_of(segment),
        None => size(mapping, None) <= segment.size.next_multiple_of(page_size()),
    };
    fits && mapping.is_of(segment)
}
