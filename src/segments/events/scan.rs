//! The processes that exist when the watch begins, as /proc shows them.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::sync::Arc;

use super::tasks::{Found, Place};
use super::witness::user_of;
use crate::error::Result;
use crate::segments::attachments::{self, Holding, Search, by_memory};
use crate::segments::tables::unreadable;
use crate::system::namespace::Identity;
use crate::system::patience::ask;
use crate::system::process::all_pids;
use crate::sysv::Segment;
use crate::values::ShmId;

/// Returns all processes, with what they have attached of these segments. Some may start or exit during
/// the scan: the records of that time are more precise.
///
/// # Errors
/// /proc cannot be read.
pub(super) fn processes(segments: &HashMap<Place, Segment>) -> Result<Vec<Found>> {
    let search = Search::new(None).map(Arc::new).map_err(unreadable)?;
    let mut found: Vec<Found> = Vec::new();
    for pid in all_pids().map_err(unreadable)? {
        found.extend(process(&search, segments, pid));
    }
    find_sharers(&mut found);
    Ok(found)
}

/// Returns what /proc shows of a process; `None` if it has ended.
fn process(search: &Arc<Search>, segments: &HashMap<Place, Segment>, pid: i32) -> Option<Found> {
    let threads = ask(pid, threads)??;
    let &(_, namespace) = threads.first()?;
    let mut name = [0; 16];
    let comm = fs::read(format!("/proc/{pid}/comm")).unwrap_or_default();
    let comm = comm.strip_suffix(b"\n").unwrap_or(&comm);
    let length = comm.len().min(15);
    name[..length].copy_from_slice(&comm[..length]);
    let holding = attachments::of_process_by(search, pid).ok().flatten();
    let segment = |id| segments.get(&Place { namespace, id });
    let attached = holding.iter().flat_map(|holding| proved(holding, segment));
    let attached = attached.map(|(address, id)| (address, Place { namespace, id })).collect();
    Some(Found { pid, name, user: user_of(pid), threads, attached, shares_with: None })
}

/// Returns the threads of a process, each with the inode of its IPC namespace; `None` if the process has ended. This
/// blocks if the process is stuck.
fn threads(pid: i32) -> Option<Vec<(i32, u64)>> {
    let mut threads = Vec::new();
    for entry in fs::read_dir(format!("/proc/{pid}/task")).ok()? {
        let Some(tid) = entry.ok().and_then(|entry| entry.file_name().to_str()?.parse().ok()) else { continue };
        // A thread that has ended is in no namespace.
        if let Ok(identity) = Identity::of_process(tid) {
            threads.push((tid, identity.inode));
        }
    }
    Some(threads)
}

/// Returns the addresses of the mappings that are attachments of known segments, each with the identifier. Anybody can make
/// mappings that look like attachments.
pub(super) fn proved<'a>(
    holding: &Holding,
    segment: impl Fn(ShmId) -> Option<&'a Segment>,
) -> impl Iterator<Item = (u64, ShmId)> {
    holding.runs.iter().flat_map(move |run| {
        let mappings = &holding.mappings[run.places.clone()];
        let is_proved = mappings.first().and_then(|first| segment(first.id)).is_some_and(|segment| {
            // One that was attached since then has no count yet.
            let segment = Segment { nattch: segment.nattch.max(1), ..segment.clone() };
            run.proof(holding, &segment).is_some()
        });
        mappings.iter().filter(move |_| is_proved).map(|mapping| (mapping.range.start, mapping.id))
    })
}

/// Finds for each process an earlier one with the same address space, such as the parent of a vfork(2) child.
fn find_sharers(found: &mut [Found]) {
    let mut alike: HashMap<&BTreeMap<u64, Place>, Vec<i32>> = HashMap::new();
    for process in found.iter().filter(|process| !process.attached.is_empty()) {
        alike.entry(&process.attached).or_default().push(process.pid);
    }
    let mut sharers = HashMap::new();
    for pids in alike.into_values().filter(|pids| pids.len() > 1) {
        // If the comparison takes too long, each process counts as having its own address space.
        for group in ask(pids[0], move |_| by_memory(&pids)).unwrap_or_default() {
            sharers.extend(group[1..].iter().map(|pid| (*pid, group[0])));
        }
    }
    for process in found {
        process.shares_with = sharers.get(&process.pid).copied();
    }
}
