//! Which processes have which segments attached, how sure that is, and how many processes could not be asked.

mod process;
mod twins;

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io;
use std::sync::Arc;

pub(crate) use self::process::{Holding, Proof};
use self::twins::{Member, Twins};
use crate::system::namespace::Identity;
use crate::system::patience::{ask, ask_all, note_missed};
use crate::system::process::is_kernel_thread;
use crate::sysv::{MapsReader, Segment, SegmentFile, SegmentMapping};
use crate::values::{Key, ShmId};

/// A segment in a process's address space.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Attached<'a> {
    /// The process.
    pub pid: i32,
    /// Where it has it.
    pub mapping: &'a SegmentMapping,
    /// How sure that is.
    pub proof: Proof,
}

/// The attachments of all segments, found in one pass over /proc. Processes come and go meanwhile: this is no snapshot.
#[derive(Debug, Default)]
pub(crate) struct Attachments {
    /// What was found, each with the processes that share it.
    holdings: Vec<(Twins, Holding)>,
    /// The places in `holdings` by the inode of a process's IPC namespace, and the identifier there.
    places: HashMap<(u64, ShmId), Vec<usize>>,
    /// This thread's own namespace.
    ours: Option<u64>,
    /// How many processes' memory maps may not be read.
    pub unreadable: usize,
    /// The processes that did not answer.
    pub silent: Vec<i32>,
    /// Why there was no looking at all.
    pub error: Option<String>,
}

impl Attachments {
    /// Looks at every process. If that cannot be done at all, nothing is found and [`Attachments::error`] says why.
    pub(crate) fn look() -> Attachments {
        let mut attachments = Attachments::default();
        if let Err(error) = attachments.look_at_all() {
            attachments.error = Some(error.to_string());
        }
        attachments
    }

    fn look_at_all(&mut self) -> io::Result<()> {
        self.ours = Identity::ours().ok().map(|identity| identity.inode);
        let reader = Arc::new(MapsReader::new()?);
        let mut pids: Vec<i32> = Vec::new();
        for entry in fs::read_dir("/proc")? {
            pids.extend(entry?.file_name().to_str().and_then(|name| name.parse::<i32>().ok()));
        }
        pids.sort_unstable();
        // First who has anything attached, and then all that those have, each address space once.
        let groups = self.group(&reader, &pids);
        let twins: Vec<Twins> = distinct(groups);
        let first: Vec<i32> = twins.iter().filter_map(|twins| Some(twins.first()?.0)).collect();
        let found = ask_all(&first, move |pid| process::holding(&reader, pid));
        for (twins, answer) in twins.into_iter().zip(found) {
            match answer {
                Some(Ok(Some(holding))) => self.add(twins, holding),
                // It has ended or detached meanwhile.
                Some(Ok(None) | Err(_)) => {}
                None => self.silent.extend(twins.iter().map(|(pid, _)| pid)),
            }
        }
        Ok(())
    }

    /// Returns the processes that have anything attached, in groups of those that may share an address space.
    fn group(&mut self, reader: &Arc<MapsReader>, pids: &[i32]) -> Vec<Vec<Member>> {
        let reader = Arc::clone(reader);
        let answers = ask_all(pids, move |pid| process::first(&reader, pid));
        let mut groups: BTreeMap<_, Vec<Member>> = BTreeMap::new();
        for (&pid, answer) in pids.iter().zip(answers) {
            match answer {
                Some(Ok(None)) => {}
                Some(Ok(Some((namespace, mapping)))) => {
                    groups.entry((mapping.range.start, mapping.id, mapping.key)).or_default().push((pid, namespace));
                }
                Some(Err(_)) if is_kernel_thread(pid) => {}
                Some(Err(_)) => self.unreadable += 1,
                None => self.silent.push(pid),
            }
        }
        groups.into_values().collect()
    }

    fn add(&mut self, twins: Twins, holding: Holding) {
        for (_, namespace) in &twins {
            for run in &holding.runs {
                let places = self.places.entry((*namespace, holding.mappings[run.places.start].id)).or_default();
                if places.last() != Some(&self.holdings.len()) {
                    places.push(self.holdings.len());
                }
            }
        }
        self.holdings.push((twins, holding));
    }

    /// Returns those of a segment, by pid and address. No more of them are certain than the kernel counts.
    pub(crate) fn of(&self, segment: &Segment) -> Vec<Attached<'_>> {
        let namespace = segment.namespace.or(self.ours);
        let places = namespace.and_then(|inode| self.places.get(&(inode, segment.id)));
        let mut found = Vec::new();
        for place in places.into_iter().flatten() {
            let (twins, holding) = &self.holdings[*place];
            let Some((pid, _)) = twins.iter().find(|(_, of_twin)| Some(*of_twin) == namespace) else { continue };
            for run in &holding.runs {
                let Some(proof) = run.proof(holding, segment) else { continue };
                let mappings = holding.mappings[run.places.clone()].iter();
                found.extend(mappings.map(|mapping| Attached { pid: *pid, mapping, proof }));
            }
        }
        found.sort_by_key(|one| (one.pid, one.mapping.range.start));
        if (found.len() as u64) < segment.nattch {
            note_missed(&self.silent);
        }
        let certain = found.iter().filter(|one| one.proof == Proof::Certain).count();
        if certain as u64 > segment.nattch {
            // Which of them are wrong cannot be told.
            found.iter_mut().for_each(|one| one.proof = Proof::Unverified);
        }
        found
    }

    /// Returns all that were found, each with the inode of its process's IPC namespace and what the kernel says of its
    /// file, if that may be asked.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u64, i32, &SegmentMapping, Option<SegmentFile>)> {
        self.holdings.iter().flat_map(|(twins, holding)| {
            twins.iter().flat_map(move |(pid, namespace)| {
                holding.runs.iter().map(move |run| (*namespace, *pid, &holding.mappings[run.places.start], run.file))
            })
        })
    }

    /// Returns the key that a segment was made with, if an attached process shows it, and how sure that is: IPC_RMID does
    /// not take the key from there.
    pub(crate) fn original_key(&self, segment: &Segment) -> Option<(Key, Proof)> {
        let found = self.of(segment);
        let certain = found.iter().find(|one| one.proof == Proof::Certain);
        certain.or(found.first()).map(|one| (one.mapping.key, one.proof))
    }
}

/// Sorts each group by address spaces.
fn distinct(groups: Vec<Vec<Member>>) -> Vec<Twins> {
    let (single, several): (Vec<_>, Vec<_>) = groups.into_iter().partition(|group| group.len() == 1);
    let several: BTreeMap<i32, Vec<Member>> =
        several.into_iter().filter_map(|group| Some((group.first()?.0, group))).collect();
    let several = Arc::new(several);
    let first: Vec<i32> = several.keys().copied().collect();
    let asked = Arc::clone(&several);
    let answers = ask_all(&first, move |pid| asked.get(&pid).map(|group| twins::distinct(group)));
    let mut distinct = single;
    for (pid, answer) in first.iter().zip(answers) {
        // If comparing them takes too long, each stands for itself.
        let alone = || several.get(pid).into_iter().flatten().map(|member| vec![*member]).collect();
        distinct.extend(answer.flatten().unwrap_or_else(alone));
    }
    distinct
}

/// Returns what a process has attached; `None` if it has nothing attached, or there is no such process.
///
/// # Errors
/// `PermissionDenied` for another user's process, `TimedOut` for one that does not answer.
pub(crate) fn of_process(pid: i32) -> io::Result<Option<Holding>> {
    of_process_by(&Arc::new(MapsReader::new()?), pid)
}

/// Returns the same as [`of_process`], with a reader that exists already.
pub(crate) fn of_process_by(reader: &Arc<MapsReader>, pid: i32) -> io::Result<Option<Holding>> {
    let reader = Arc::clone(reader);
    ask(pid, move |pid| process::holding(&reader, pid)).unwrap_or_else(|| Err(io::ErrorKind::TimedOut.into()))
}
