//! Which processes have which segments attached, and how many processes could not be asked.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io;

use nix::unistd::Pid;

use crate::linux::share_memory;
use crate::system::namespace::Identity;
use crate::system::parallel::in_shares;
use crate::system::process::is_kernel_thread;
use crate::sysv::{MapsReader, Segment, SegmentMapping};
use crate::values::{Key, ShmId};

/// So few processes are not worth a thread.
const FEW: usize = 256;

/// A segment in a process's address space.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Attached {
    /// The process.
    pub pid: i32,
    /// Where it has it.
    pub mapping: SegmentMapping,
}

/// The attachments of all segments, found in one pass over /proc. Processes come and go meanwhile: this is no snapshot.
#[derive(Debug, Default)]
pub(crate) struct Attachments {
    /// By the inode of the process's IPC namespace, and the identifier there.
    found: HashMap<(u64, ShmId), Vec<Attached>>,
    /// This thread's own namespace.
    ours: Option<u64>,
    /// How many processes' memory maps may not be read.
    pub unreadable: usize,
    /// Why there was no looking at all.
    pub error: Option<String>,
}

impl Attachments {
    /// Looks at every process. Where that cannot be done at all, nothing is found and [`Attachments::error`] says why.
    pub(crate) fn look() -> Attachments {
        let mut attachments = Attachments::default();
        if let Err(error) = attachments.look_at_all() {
            attachments.error = Some(error.to_string());
        }
        attachments
    }

    fn look_at_all(&mut self) -> io::Result<()> {
        self.ours = Identity::ours().ok().map(|identity| identity.inode);
        let reader = MapsReader::new()?;
        let mut pids: Vec<i32> = Vec::new();
        for entry in fs::read_dir("/proc")? {
            pids.extend(entry?.file_name().to_str().and_then(|name| name.parse::<i32>().ok()));
        }
        // Nearly all of the time is spent in the kernel, which looks at two processes as fast as at one.
        let shares = in_shares(&pids, FEW, |share| Share::of(&reader, share));
        for Share { found, unreadable } in shares {
            self.unreadable += unreadable;
            for (namespace, attached) in found {
                self.found.entry((namespace, attached.mapping.id)).or_default().push(attached);
            }
        }
        Ok(())
    }

    /// Those of a segment, by pid and address.
    pub(crate) fn of(&self, segment: &Segment) -> Vec<&Attached> {
        let namespace = segment.namespace.or(self.ours);
        let there = namespace.and_then(|inode| self.found.get(&(inode, segment.id)));
        let mut found: Vec<_> = there.into_iter().flatten().filter(|one| one.mapping.is_of(segment)).collect();
        found.sort_by_key(|one| (one.pid, one.mapping.range.start));
        if found.len() as u64 > segment.nattch {
            leave_out_repeated(&mut found);
        }
        found
    }

    /// Returns all that were found, each with the inode of its process's IPC namespace.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u64, &Attached)> {
        self.found.iter().flat_map(|((namespace, _), there)| there.iter().map(|attached| (*namespace, attached)))
    }

    /// The key that a segment was made with, where an attached process shows it: IPC_RMID does not take it from there.
    pub(crate) fn original_key(&self, segment: &Segment) -> Option<Key> {
        self.of(segment).first().map(|one| one.mapping.key)
    }
}

/// What some of the processes have attached.
#[derive(Debug, Default)]
struct Share {
    /// Each with the inode of its process's IPC namespace.
    found: Vec<(u64, Attached)>,
    unreadable: usize,
}

impl Share {
    fn of(reader: &MapsReader, pids: &[i32]) -> Share {
        let mut share = Share::default();
        for &pid in pids {
            match of_process_by(reader, pid) {
                Ok(None) => {}
                Ok(Some(InProcess { namespace, mappings })) => {
                    share.found.extend(mappings.into_iter().map(|mapping| (namespace, Attached { pid, mapping })));
                }
                Err(_) if is_kernel_thread(pid) => {}
                Err(_) => share.unreadable += 1,
            }
        }
        share
    }
}

/// Two processes with one address space show the same attachments, which the kernel counts once.
fn leave_out_repeated(found: &mut Vec<&Attached>) {
    let all = found.clone();
    let mut index = 0;
    found.retain(|one| {
        let is_repeated = all[..index].iter().any(|earlier| {
            earlier.pid != one.pid
                && earlier.mapping == one.mapping
                && share_memory(Pid::from_raw(earlier.pid), Pid::from_raw(one.pid))
        });
        index += 1;
        !is_repeated
    });
}

/// What one process has attached.
#[derive(Debug)]
pub(crate) struct InProcess {
    /// The inode of the IPC namespace that it is in. What it attached before it came there looks the same, and the kernel
    /// does not tell.
    pub namespace: u64,
    /// Its attachments.
    pub mappings: Vec<SegmentMapping>,
}

/// What a process has attached; `None` where it has nothing, or there is no such process.
///
/// Errors: `PermissionDenied` for another user's process.
pub(crate) fn of_process(pid: i32) -> io::Result<Option<InProcess>> {
    of_process_by(&MapsReader::new()?, pid)
}

/// The same, with a reader that is at hand.
pub(crate) fn of_process_by(reader: &MapsReader, pid: i32) -> io::Result<Option<InProcess>> {
    let looked = match mappings(reader, &format!("/proc/{pid}/maps")) {
        Ok(None) => of_threads(reader, pid),
        looked => looked,
    };
    let mappings = gone_is_none(looked)?.unwrap_or_default();
    if mappings.is_empty() {
        return Ok(None);
    }
    // A zombie is in no namespace; then one of its threads is.
    let identity = Identity::of_process(pid).or_else(|error| identity_of_threads(pid).ok_or(error));
    Ok(gone_is_none(identity.map(Some))?.map(|identity| InProcess { namespace: identity.inode, mappings }))
}

/// A process whose first thread has ended shows what the others have.
fn of_threads(reader: &MapsReader, pid: i32) -> io::Result<Option<Vec<SegmentMapping>>> {
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        let path = task?.path().join("maps");
        if let Some(found) = mappings(reader, &path.to_string_lossy())? {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

fn identity_of_threads(pid: i32) -> Option<Identity> {
    let mut tasks = fs::read_dir(format!("/proc/{pid}/task")).ok()?;
    tasks.find_map(|task| Identity::of_file(&task.ok()?.path().join("ns/ipc")).ok())
}

fn mappings(reader: &MapsReader, path: &str) -> io::Result<Option<Vec<SegmentMapping>>> {
    reader.segments(&File::open(path)?)
}

/// What /proc says of a process that ends meanwhile.
fn gone_is_none<T>(looked: io::Result<Option<T>>) -> io::Result<Option<T>> {
    match looked {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) if error.raw_os_error() == Some(libc::ESRCH) => Ok(None),
        looked => looked,
    }
}
