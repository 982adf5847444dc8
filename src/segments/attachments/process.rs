//! The attachments of one process.

use std::ops::Range;

use crate::sysv::{Segment, SegmentFile, SegmentMapping};
use crate::values::ShmId;

/// The attachments of a process.
#[derive(Debug)]
pub(crate) struct Holding {
    /// The inode of the process's current IPC namespace. Attachments from before it entered that namespace look the
    /// same.
    pub namespace: u64,
    /// Sorted by address.
    pub mappings: Vec<SegmentMapping>,
    /// Adjacent mappings of one segment, from one attach that mprotect(2) split.
    pub runs: Vec<Run>,
    /// Whether a process in another namespace shares the address space. It may have attached a segment of that
    /// namespace with the same number, size and creator.
    pub is_shared: bool,
    /// The indices of the runs, in the order of the segments' identifiers.
    by_id: Vec<u32>,
}

/// A run of adjacent mappings.
#[derive(Debug)]
pub(crate) struct Run {
    /// Their indices in [`Holding::mappings`].
    pub places: Range<usize>,
    /// The kernel's data about their file; `None` if we may not request it, or if there are too many to request all.
    pub file: Option<SegmentFile>,
}

/// How certain it is that a mapping is an attachment of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Proof {
    /// The file is the segment's, according to the kernel.
    Certain,
    /// Name, inode and mount match the segment, but the kernel was not asked for the owner of the file.
    Unverified,
}

impl Run {
    /// Returns whether the run belongs to the segment, and how certain that is, if the process is in the segment's
    /// namespace.
    pub(crate) fn proof(&self, holding: &Holding, segment: &Segment) -> Option<Proof> {
        // If the kernel counts no attachment, nobody has attached the segment.
        let first = holding.mappings.get(self.places.start)?;
        if segment.nattch == 0 || !first.is_of(segment) {
            return None;
        }
        match self.file {
            None => Some(Proof::Unverified),
            Some(file) if !file.is_of(segment) => None,
            Some(_) if holding.is_shared => Some(Proof::Unverified),
            Some(_) => Some(Proof::Certain),
        }
    }
}

impl Holding {
    /// Finds the runs among mappings that are sorted by address.
    pub(super) fn new(namespace: u64, mappings: Vec<SegmentMapping>) -> Holding {
        let mut runs: Vec<Run> = Vec::new();
        for (place, mapping) in mappings.iter().enumerate() {
            match runs.last_mut() {
                Some(run) if continues(&mappings[place - 1], mapping) => run.places.end = place + 1,
                _ => runs.push(Run { places: place..place + 1, file: None }),
            }
        }
        let mut by_id: Vec<u32> = (0..).take(runs.len()).collect();
        by_id.sort_by_key(|run| mappings[runs[*run as usize].places.start].id);
        Holding { namespace, mappings, runs, is_shared: false, by_id }
    }

    /// Returns the identifiers of the attached segments, each once.
    pub(super) fn ids(&self) -> impl Iterator<Item = ShmId> {
        let chunks = self.by_id.chunk_by(|one, other| self.id_of(*one) == self.id_of(*other));
        chunks.map(|runs| self.id_of(runs[0]))
    }

    /// Returns the runs whose segment has an identifier, in the order of their addresses.
    pub(super) fn runs_of(&self, id: ShmId) -> impl Iterator<Item = &Run> {
        let start = self.by_id.partition_point(|run| self.id_of(*run) < id);
        let rest = self.by_id[start..].iter().take_while(move |run| self.id_of(**run) == id);
        rest.map(|run| &self.runs[*run as usize])
    }

    fn id_of(&self, run: u32) -> ShmId {
        self.mappings[self.runs[run as usize].places.start].id
    }

    /// Returns whether the process has a segment attached, and how certain that is, if it is in the segment's
    /// namespace.
    pub(crate) fn proof(&self, segment: &Segment) -> Option<Proof> {
        let proofs = || self.runs_of(segment.id).filter_map(|run| run.proof(self, segment));
        proofs().find(|proof| *proof == Proof::Certain).or_else(|| proofs().next())
    }
}

fn continues(one: &SegmentMapping, next: &SegmentMapping) -> bool {
    (one.range.end, one.id, one.key) == (next.range.start, next.id, next.key)
}
