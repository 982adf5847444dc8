//! The attachments of one process. Every function here blocks if the process is stuck: see [`crate::system::patience`].

use std::fs::{self, File};
use std::io;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::system::namespace::Identity;
use crate::sysv::{MapsReader, Segment, SegmentFile, SegmentMapping};
use crate::values::ShmId;

/// The maximum number of mappings that are few.
const FEW: usize = 8;

/// The attachments of a process.
#[derive(Debug)]
pub(crate) struct Holding {
    /// The inode of the process's current IPC namespace. Attachments from before it entered that namespace look the
    /// same.
    pub namespace: u64,
    /// Sorted by address.
    pub mappings: Vec<SegmentMapping>,
    /// Adjacent mappings of one segment, from one attach that mprotect(2) split. There are few, so that every file is
    /// checked.
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
    /// The kernel's data about their file; `None` if we may not request it.
    pub file: Option<SegmentFile>,
}

/// How certain it is that a mapping is an attachment of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Proof {
    /// The file is the segment's, according to the kernel.
    Certain,
    /// Name, inode and mount match the segment, but we may not ask the kernel for the owner of the file.
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
    fn new(namespace: u64, mappings: Vec<SegmentMapping>) -> Holding {
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

/// What is found in the first look at a process that has anything attached.
#[derive(Debug)]
pub(super) enum Found {
    /// All attachments, because they are few.
    Few(Holding),
    /// The IPC namespace and the first attachment.
    Many(u64, SegmentMapping),
}

impl Found {
    /// Returns the IPC namespace and the first attachment.
    pub(super) fn first(&self) -> (u64, &SegmentMapping) {
        match self {
            Self::Few(holding) => (holding.namespace, &holding.mappings[0]),
            Self::Many(namespace, mapping) => (*namespace, mapping),
        }
    }
}

/// Returns what a process has attached: all of it if that is little, and if so many mappings are `left`. `None` if it has
/// nothing attached, or there is no such process.
///
/// # Errors
/// `PermissionDenied` for another user's process.
pub(super) fn find(reader: &MapsReader, pid: i32, left: &AtomicUsize) -> io::Result<Option<Box<Found>>> {
    // Most processes have nothing attached, so their answers should take little memory.
    let found = match holding(reader, pid, FEW.min(left.load(Ordering::Relaxed))) {
        Ok(holding) => holding.map(|holding| {
            let kept = holding.mappings.len();
            let _ = left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| Some(left.saturating_sub(kept)));
            Found::Few(holding)
        }),
        Err(error) if error.kind() == io::ErrorKind::FileTooLarge => {
            first(reader, pid)?.map(|(namespace, mapping)| Found::Many(namespace, mapping))
        }
        Err(error) => return Err(error),
    };
    Ok(found.map(Box::new))
}

/// Returns the first attachment of a process, and its IPC namespace.
fn first(reader: &MapsReader, pid: i32) -> io::Result<Option<(u64, SegmentMapping)>> {
    Ok(mappings(reader, pid, 1)?.and_then(|(namespace, mut found)| Some((namespace, found.pop()?))))
}

/// Returns the attachments of a process; `None` if it has none, or there is no such process.
///
/// # Errors
/// Those of [`find`]; `FileTooLarge` if there are more than `limit` mappings.
pub(super) fn holding(reader: &MapsReader, pid: i32, limit: usize) -> io::Result<Option<Holding>> {
    let Some((namespace, mappings)) = mappings(reader, pid, limit.saturating_add(1))? else { return Ok(None) };
    if mappings.len() > limit {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    let mut holding = Holding::new(namespace, mappings);
    for run in &mut holding.runs {
        run.file = reader.file(pid, &holding.mappings[run.places.start].range).ok();
    }
    Ok(Some(holding))
}

fn continues(one: &SegmentMapping, next: &SegmentMapping) -> bool {
    (one.range.end, one.id, one.key) == (next.range.start, next.id, next.key)
}

/// Returns at most `limit` mappings, and the inode of the process's IPC namespace.
fn mappings(reader: &MapsReader, pid: i32, limit: usize) -> io::Result<Option<(u64, Vec<SegmentMapping>)>> {
    let read = |path: &str| reader.segments(&File::open(path)?, limit);
    let result = match read(&format!("/proc/{pid}/maps")) {
        Ok(None) => of_threads(pid, read),
        result => result,
    };
    let found = gone_is_none(result)?.unwrap_or_default();
    if found.is_empty() {
        return Ok(None);
    }
    // A zombie is in no namespace, but its other threads may be.
    let identity = Identity::of_process(pid).or_else(|error| identity_of_threads(pid).ok_or(error));
    Ok(gone_is_none(identity.map(Some))?.map(|identity| (identity.inode, found)))
}

/// Returns the result of another thread, if the process's first thread has ended.
fn of_threads(
    pid: i32,
    read: impl Fn(&str) -> io::Result<Option<Vec<SegmentMapping>>>,
) -> io::Result<Option<Vec<SegmentMapping>>> {
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        if let Some(found) = read(&task?.path().join("maps").to_string_lossy())? {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

fn identity_of_threads(pid: i32) -> Option<Identity> {
    let mut tasks = fs::read_dir(format!("/proc/{pid}/task")).ok()?;
    tasks.find_map(|task| Identity::of_file(&task.ok()?.path().join("ns/ipc")).ok())
}

/// Converts the errors that /proc returns for an exiting process to `None`.
fn gone_is_none<T>(result: io::Result<Option<T>>) -> io::Result<Option<T>> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) if error.raw_os_error() == Some(libc::ESRCH) => Ok(None),
        result => result,
    }
}
