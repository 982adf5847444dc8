//! The processes that exist when the watch begins, as /proc shows them.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::sync::Arc;

use nix::unistd::Pid;

use super::tasks::{Found, Place};
use super::witness::user_of;
use crate::error::{Error, Result};
use crate::linux::compare_memory;
use crate::segments::attachments;
use crate::system::namespace::Identity;
use crate::sysv::MapsReader;

/// Returns all processes. Some may start or exit during the scan: the records of that time are more precise.
///
/// # Errors
///
/// That of reading /proc.
pub(super) fn processes() -> Result<Vec<Found>> {
    let reader = MapsReader::new().map(Arc::new).map_err(unreadable)?;
    let mut found: Vec<Found> = Vec::new();
    for entry in fs::read_dir("/proc").map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        if let Some(mut process) = process(&reader, pid) {
            process.shares_with = sharer(&found, &process);
            found.push(process);
        }
    }
    Ok(found)
}

/// Returns the error for an unreadable /proc.
pub(super) fn unreadable(error: io::Error) -> Error {
    Error::io("read /proc", &error)
}

/// Returns what /proc shows of a process; `None` if it has ended.
fn process(reader: &Arc<MapsReader>, pid: i32) -> Option<Found> {
    let mut threads = Vec::new();
    for entry in fs::read_dir(format!("/proc/{pid}/task")).ok()? {
        let Some(tid) = entry.ok().and_then(|entry| entry.file_name().to_str()?.parse().ok()) else { continue };
        // A thread that has ended is in no namespace.
        if let Ok(identity) = Identity::of_process(tid) {
            threads.push((tid, identity.inode));
        }
    }
    let &(_, namespace) = threads.first()?;
    let mut name = [0; 16];
    let comm = fs::read(format!("/proc/{pid}/comm")).unwrap_or_default();
    let comm = comm.strip_suffix(b"\n").unwrap_or(&comm);
    let length = comm.len().min(15);
    name[..length].copy_from_slice(&comm[..length]);
    let attached = attachments::of_process_by(reader, pid).ok().flatten();
    let mappings = attached.into_iter().flat_map(|attached| attached.mappings);
    let place = |id| Place { namespace, id };
    let attached = mappings.map(|mapping| (mapping.range.start, place(mapping.id))).collect::<BTreeMap<_, _>>();
    Some(Found { pid, name, user: user_of(pid), threads, attached, shares_with: None })
}

/// Returns an earlier process with the same address space, such as the parent of a vfork(2) child.
fn sharer(found: &[Found], process: &Found) -> Option<i32> {
    if process.attached.is_empty() {
        return None;
    }
    let alike = found.iter().filter(|other| other.attached == process.attached);
    let (pid, own) = (|found: &Found| Pid::from_raw(found.pid), Pid::from_raw(process.pid));
    alike.into_iter().find(|other| compare_memory(pid(other), own) == Some(Ordering::Equal)).map(|other| other.pid)
}
