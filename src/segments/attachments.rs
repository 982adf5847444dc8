//! Which processes have which segments attached, how certain that is, and how many processes could not be inspected.

mod process;
mod search;
mod twins;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::sync::Arc;

pub(crate) use self::process::{Holding, Proof};
use self::search::Found;
pub(crate) use self::search::Search;
use self::twins::Member;
pub(crate) use self::twins::{Twins, by_memory};
use crate::system::namespace::Identity;
use crate::system::patience::{ask, ask_all, note_missed};
use crate::system::process::{all_pids, is_kernel_thread, others_are_hidden};
use crate::sysv::{Segment, SegmentMapping};
use crate::values::{Key, ShmId};

/// The maximum number of namespaces of one address space for which each identifier has an entry.
const MAX_KEYED: usize = 4;

/// A segment in a process's address space.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Attached<'a> {
    /// The process.
    pub pid: i32,
    /// The mapping in its address space.
    pub mapping: &'a SegmentMapping,
    /// How certain it is.
    pub proof: Proof,
}

/// The attachments of all segments, found in one pass over /proc. This is not a snapshot: processes may start and exit
/// during the pass.
#[derive(Debug, Default)]
pub(crate) struct Attachments {
    /// The attachments of each address space, with the processes that share it.
    holdings: Vec<(Twins, Holding)>,
    /// The indices in `holdings`, by the inode of a process's IPC namespace and the identifier there. Without a
    /// namespace: those with processes in more than [`MAX_KEYED`] namespaces.
    places: HashMap<(Option<u64>, ShmId), Vec<usize>>,
    /// This thread's own namespace.
    ours: Option<u64>,
    /// The number of processes whose memory maps may not be read.
    pub unreadable: usize,
    /// Whether /proc does not show the processes of other users (hidepid), so that they are not counted.
    pub hidden: bool,
    /// The processes that did not answer.
    pub silent: Vec<i32>,
    /// The number of processes that were not inspected, because they and others have too many mappings.
    pub skipped: usize,
    /// Why no process could be inspected.
    pub error: Option<String>,
}

impl Attachments {
    /// Inspects every process. If that is impossible, the result is empty and [`Attachments::error`] says why.
    pub(crate) fn find() -> Attachments {
        Attachments::found(None)
    }

    /// Does the same as [`Attachments::find`] for some segments only.
    pub(crate) fn of_segments(ids: BTreeSet<ShmId>) -> Attachments {
        Attachments::found(Some(ids))
    }

    fn found(wanted: Option<BTreeSet<ShmId>>) -> Attachments {
        let mut attachments = Attachments::default();
        match Identity::ours() {
            Ok(ours) => attachments.ours = Some(ours.inode),
            Err(error) => {
                attachments.error = Some(format!("/proc does not show our own IPC namespace: {error}"));
                return attachments;
            }
        }
        if let Err(error) = Search::new(wanted).and_then(|search| attachments.inspect_all(&Arc::new(search))) {
            attachments.error = Some(format!("/proc shows no processes: {error}"));
        }
        attachments
    }

    fn inspect_all(&mut self, search: &Arc<Search>) -> io::Result<()> {
        let mut pids = all_pids()?;
        self.hidden = others_are_hidden();
        pids.sort_unstable();
        // First find the processes that have anything attached. Most have few mappings, which are read at once. Then read
        // the many mappings of the others, once per address space.
        let (groups, mut few) = self.group(search, &pids);
        let mut twins: Vec<Twins> = distinct(groups);
        twins.retain(|twins| {
            let holding = twins.first().and_then(|(pid, _)| few.remove(pid));
            let is_unknown = holding.is_none();
            if let Some(holding) = holding {
                self.add(twins.clone(), holding);
            }
            is_unknown
        });
        let first: Vec<i32> = twins.iter().filter_map(|twins| Some(twins.first()?.0)).collect();
        let asking = Arc::clone(search);
        let found = ask_all(&first, move |pid| search::holding(&asking, pid));
        for (twins, answer) in twins.into_iter().zip(found) {
            match answer {
                Some(Ok(Some(holding))) => self.add(twins, holding),
                Some(Err(error)) if error.kind() == io::ErrorKind::FileTooLarge => self.skipped += twins.len(),
                // The process has exited or detached.
                Some(Ok(None) | Err(_)) => {}
                None => self.silent.extend(twins.iter().map(|(pid, _)| pid)),
            }
        }
        Ok(())
    }

    /// Returns the processes that have anything attached, in groups that may share an address space. Also returns the
    /// attachments of those with few mappings.
    fn group(&mut self, search: &Arc<Search>, pids: &[i32]) -> (Vec<Vec<Member>>, HashMap<i32, Holding>) {
        let search = Arc::clone(search);
        let answers =
            ask_all(pids, move |pid| search::find(&search, pid).map_err(|error| (error.kind(), is_kernel_thread(pid))));
        let mut few = HashMap::new();
        let mut groups: BTreeMap<_, Vec<Member>> = BTreeMap::new();
        for (&pid, answer) in pids.iter().zip(answers) {
            match answer {
                Some(Ok(None)) => {}
                Some(Ok(Some(found))) => {
                    let (namespace, mapping) = found.first();
                    groups.entry((mapping.range.start, mapping.id, mapping.key)).or_default().push((pid, namespace));
                    if let Found::Few(holding) = *found {
                        few.insert(pid, holding);
                    }
                }
                // A kernel thread has no mappings.
                Some(Err((_, true))) => {}
                Some(Err((io::ErrorKind::FileTooLarge, _))) => self.skipped += 1,
                Some(Err(_)) => self.unreadable += 1,
                None => self.silent.push(pid),
            }
        }
        (groups.into_values().collect(), few)
    }

    fn add(&mut self, mut twins: Twins, mut holding: Holding) {
        holding.is_shared = twins.len() > 1;
        twins.sort_unstable_by_key(|(_, namespace)| *namespace);
        let keyed = if twins.len() <= MAX_KEYED { &twins[..] } else { &[] };
        for id in holding.ids() {
            let namespaces = keyed.iter().map(|(_, namespace)| Some(*namespace));
            for namespace in namespaces.chain(keyed.is_empty().then_some(None)) {
                self.places.entry((namespace, id)).or_default().push(self.holdings.len());
            }
        }
        self.holdings.push((twins, holding));
    }

    /// Returns the attachments of a segment, sorted by pid and address. At most as many are certain as the kernel
    /// counts.
    pub(crate) fn of(&self, segment: &Segment) -> Vec<Attached<'_>> {
        let namespace = segment.namespace.or(self.ours);
        let places = [namespace, None].map(|namespace| self.places.get(&(namespace, segment.id)));
        let mut found = Vec::new();
        for place in places.into_iter().flatten().flatten() {
            let (twins, holding) = &self.holdings[*place];
            let twin = twins.binary_search_by_key(&namespace, |(_, of_twin)| Some(*of_twin));
            let Ok((pid, _)) = twin.map(|twin| twins[twin]) else { continue };
            for run in holding.runs_of(segment.id) {
                let Some(proof) = run.proof(holding, segment) else { continue };
                let mappings = holding.mappings[run.places.clone()].iter();
                found.extend(mappings.map(|mapping| Attached { pid, mapping, proof }));
            }
        }
        found.sort_by_key(|one| (one.pid, one.mapping.range.start));
        if (found.len() as u64) < segment.nattch {
            note_missed(&self.silent);
        }
        let certain = found.iter().filter(|one| one.proof == Proof::Certain).count();
        if certain as u64 > segment.nattch {
            // It is impossible to determine which of them are wrong.
            found.iter_mut().for_each(|one| one.proof = Proof::Unverified);
        }
        found
    }

    /// Returns the attachments of each address space, with its processes: one for each IPC namespace.
    pub(crate) fn holdings(&self) -> &[(Twins, Holding)] {
        &self.holdings
    }

    /// Returns the key with which a segment was created, if an attached process shows it, and how certain that is.
    /// IPC_RMID does not remove the key from there.
    pub(crate) fn original_key(&self, segment: &Segment) -> Option<(Key, Proof)> {
        let found = self.of(segment);
        let certain = found.iter().find(|one| one.proof == Proof::Certain);
        certain.or(found.first()).map(|one| (one.mapping.key, one.proof))
    }
}

/// Splits each group by address space.
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
        // If the comparison takes too long, each process counts as having its own address space.
        let alone = || several.get(pid).into_iter().flatten().map(|member| vec![*member]).collect();
        distinct.extend(answer.flatten().unwrap_or_else(alone));
    }
    distinct
}

/// Returns the attachments of a process; `None` if it has none, or there is no such process.
///
/// # Errors
/// `PermissionDenied` for another user's process, `TimedOut` if the process does not answer.
pub(crate) fn of_process(pid: i32) -> io::Result<Option<Holding>> {
    let mut found = of_process_by(&Arc::new(Search::new(None)?), pid)?;
    if let Some(holding) = &mut found {
        holding.is_shared = twins::has_twin_elsewhere(pid);
    }
    Ok(found)
}

/// Returns the same as [`of_process`] as part of a search.
///
/// # Errors
/// Those of [`of_process`], and `FileTooLarge` if the processes of the search have too many mappings.
pub(crate) fn of_process_by(search: &Arc<Search>, pid: i32) -> io::Result<Option<Holding>> {
    let search = Arc::clone(search);
    ask(pid, move |pid| search::holding(&search, pid)).unwrap_or_else(|| Err(io::ErrorKind::TimedOut.into()))
}

/// Returns the attachments that processes have now, in their order; nothing is certain. `None` for a process that has
/// none, or cannot be inspected.
pub(crate) fn now(pids: &[i32]) -> Vec<Option<Holding>> {
    let Ok(search) = Search::new(None) else { return pids.iter().map(|_| None).collect() };
    let answers = ask_all(pids, move |pid| search::unproved(&search, pid).ok().flatten());
    answers.into_iter().map(Option::flatten).collect()
}
