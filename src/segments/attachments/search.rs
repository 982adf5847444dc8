//! Finding the attachments of one process. Every function here blocks if the process is stuck: see
//! [`crate::system::patience`].

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::process::Holding;
use crate::system::budget::{Budget, Share};
use crate::system::namespace::Identity;
use crate::sysv::{MapsReader, SegmentMapping, SharedFiles};
use crate::values::ShmId;

/// The maximum number of mappings that are few.
const FEW: usize = 8;
/// The maximum number of mappings that are kept before it is known which processes share an address space.
const MAX_EARLY: usize = 1 << 16;

/// A search for attachments, and what it may still read. Anybody can have thousands of processes with tens of thousands of
/// mappings each (vm.max_map_count).
#[derive(Debug)]
pub(crate) struct Search {
    reader: MapsReader,
    /// The segments whose attachments are needed; `None` means all.
    wanted: Option<BTreeSet<ShmId>>,
    /// What [`find`] may keep, in mappings.
    early: AtomicUsize,
    /// In mappings of shared files, which take time.
    passed: Budget,
    /// In mappings of segments, which take memory.
    kept: Budget,
    /// In files, each of which takes about 1 KiB of the kernel's memory: a link in map_files and its target.
    proved: Budget,
}

impl Search {
    /// Creates a search for the attachments of some segments; `None` means all.
    ///
    /// # Errors
    /// /proc cannot be read, or the kernel's mounts cannot be found.
    pub(crate) fn new(wanted: Option<BTreeSet<ShmId>>) -> io::Result<Search> {
        Ok(Search {
            reader: MapsReader::new()?,
            wanted,
            early: AtomicUsize::new(MAX_EARLY),
            passed: Budget::new(512, 1 << 16, 1 << 18),
            kept: Budget::new(FEW as u64, 1 << 16, 1 << 17),
            proved: Budget::new(FEW as u64, 1 << 13, 1 << 14),
        })
    }

    fn wants(&self, id: ShmId) -> bool {
        self.wanted.as_ref().is_none_or(|wanted| wanted.contains(&id))
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

/// Returns what a process has attached: all of it if that is little. `None` if it has nothing attached that is wanted, or
/// there is no such process.
///
/// # Errors
/// `PermissionDenied` for another user's process; `FileTooLarge` if it has too many mappings of other files.
pub(super) fn find(search: &Search, pid: i32) -> io::Result<Option<Box<Found>>> {
    let limit = FEW.min(search.early.load(Ordering::Relaxed));
    // Not only what is wanted: the first mapping tells which processes may share an address space.
    let Some((namespace, mut mappings)) = mappings(search, pid, None, |found| found.len() <= limit)? else {
        return Ok(None);
    };
    if mappings.len() > limit {
        return Ok(Some(Box::new(Found::Many(namespace, mappings.swap_remove(0)))));
    }
    mappings.retain(|mapping| search.wants(mapping.id));
    if mappings.is_empty() {
        return Ok(None);
    }
    let keep = |left: usize| Some(left.saturating_sub(mappings.len()));
    let _ = search.early.fetch_update(Ordering::Relaxed, Ordering::Relaxed, keep);
    // Most processes have nothing attached, so their answers should take little memory.
    Ok(Some(Box::new(Found::Few(proved(search, pid, Holding::new(namespace, mappings))))))
}

/// Returns the wanted attachments of a process; `None` if it has none, or there is no such process.
///
/// # Errors
/// `PermissionDenied` for another user's process; `FileTooLarge` if there are too many mappings.
pub(super) fn holding(search: &Search, pid: i32) -> io::Result<Option<Holding>> {
    Ok(unproved(search, pid)?.map(|holding| proved(search, pid, holding)))
}

/// Returns the same as [`holding`], but nothing is certain.
///
/// # Errors
/// Those of [`holding`].
pub(super) fn unproved(search: &Search, pid: i32) -> io::Result<Option<Holding>> {
    let mut kept = search.kept.share(pid);
    let mut is_cut = false;
    let found = mappings(search, pid, search.wanted.as_ref(), |_| {
        is_cut = !kept.take(1);
        !is_cut
    })?;
    if is_cut {
        return Err(too_many());
    }
    Ok(found.map(|(namespace, mappings)| Holding::new(namespace, mappings)))
}

/// Asks the kernel for the files of the runs, as far as the search may.
fn proved(search: &Search, pid: i32, mut holding: Holding) -> Holding {
    let mut share = search.proved.share(pid);
    for run in &mut holding.runs {
        if !share.take(1) {
            break;
        }
        run.file = search.reader.file(pid, &holding.mappings[run.places.start].range).ok();
    }
    holding
}

/// Returns the mappings of segments, up to the last one that is wanted, and the inode of the process's IPC namespace. `None`
/// if there are none.
fn mappings(
    search: &Search,
    pid: i32,
    wanted: Option<&BTreeSet<ShmId>>,
    mut wants_more: impl FnMut(&[SegmentMapping]) -> bool,
) -> io::Result<Option<(u64, Vec<SegmentMapping>)>> {
    let mut share = search.passed.share(pid);
    let mut read = |path: &str| {
        let maps = File::open(path)?;
        collect(search.reader.shared_files(&maps, wanted), &mut share, &mut wants_more)
    };
    let result = match read(&format!("/proc/{pid}/maps")) {
        Err(error) if error.raw_os_error() == Some(libc::ESRCH) => of_threads(pid, read),
        result => result.map(Some),
    };
    let found = gone_is_none(result)?.unwrap_or_default();
    if found.is_empty() {
        return Ok(None);
    }
    // A zombie is in no namespace, but its other threads may be.
    let identity = Identity::of_process(pid).or_else(|error| identity_of_threads(pid).ok_or(error));
    Ok(gone_is_none(identity.map(Some))?.map(|identity| (identity.inode, found)))
}

/// Takes the segments among mappings.
///
/// # Errors
/// Those of reading them; `FileTooLarge` if there are more than the share allows.
fn collect(
    files: SharedFiles<'_>,
    share: &mut Share<'_>,
    mut wants_more: impl FnMut(&[SegmentMapping]) -> bool,
) -> io::Result<Vec<SegmentMapping>> {
    let mut found = Vec::new();
    for file in files {
        if let Some(segment) = file? {
            found.push(segment);
            if !wants_more(&found) {
                break;
            }
        }
        if !share.take(1) {
            return Err(too_many());
        }
    }
    Ok(found)
}

fn too_many() -> io::Error {
    io::Error::new(io::ErrorKind::FileTooLarge, "too many mappings")
}

/// Returns the result of another thread, if the process's first thread has ended.
fn of_threads(
    pid: i32,
    mut read: impl FnMut(&str) -> io::Result<Vec<SegmentMapping>>,
) -> io::Result<Option<Vec<SegmentMapping>>> {
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        match read(&task?.path().join("maps").to_string_lossy()) {
            Err(error) if error.raw_os_error() == Some(libc::ESRCH) => {}
            result => return result.map(Some),
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
