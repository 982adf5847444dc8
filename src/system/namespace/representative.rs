//! Which process stands for an IPC namespace in the output.

use std::collections::{BTreeMap, BTreeSet};

use super::all::{LiveNamespace, Survey};
use super::keeper::Keeper;
use crate::system::patience::{ask, ask_all};
use crate::system::process::{is_kernel_thread, status_line};

/// The maximum number of processes per namespace that are asked together: each may be the first one of its pid namespace.
const MAX_CHECKED: usize = 64;

/// What decides whether a process represents its namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Rank {
    /// Whether it is the first process of a pid namespace.
    is_first: bool,
    is_kernel_thread: bool,
}

impl Survey {
    /// Finds the process that represents each namespace. The first process of a pid namespace is preferred, because a
    /// container starts with it; next comes the lowest pid that is not a kernel thread.
    pub(crate) fn find_representatives(&mut self) {
        let checked = self.namespaces.iter().flat_map(|namespace| processes(namespace).take(MAX_CHECKED));
        let pids: Vec<i32> = checked.collect::<BTreeSet<_>>().into_iter().collect();
        let answers = ask_all(&pids, |pid| Rank { is_first: is_first(pid), is_kernel_thread: is_kernel_thread(pid) });
        let ranks: BTreeMap<i32, Rank> =
            pids.into_iter().zip(answers).filter_map(|(pid, rank)| Some((pid, rank?))).collect();
        for namespace in &mut self.namespaces {
            namespace.representative = representative(namespace, &ranks).map(Keeper::Process);
        }
    }
}

fn representative(namespace: &LiveNamespace, ranks: &BTreeMap<i32, Rank>) -> Option<i32> {
    let checked = || processes(namespace).take(MAX_CHECKED);
    let has = |pid: &i32, has: fn(&Rank) -> bool| ranks.get(pid).is_some_and(has);
    let first = checked().find(|pid| has(pid, |rank| rank.is_first));
    let lowest = || checked().find(|pid| has(pid, |rank| !rank.is_kernel_thread));
    // Only where the namespace has many kernel threads.
    let later = || processes(namespace).skip(MAX_CHECKED).find(|pid| ask(*pid, is_kernel_thread) == Some(false));
    first.or_else(lowest).or_else(later)
}

fn processes(namespace: &LiveNamespace) -> impl Iterator<Item = i32> {
    namespace.keepers.iter().filter(|keeper| matches!(keeper, Keeper::Process(_))).map(Keeper::pid)
}

fn is_first(pid: i32) -> bool {
    let pids = status_line(pid, "NSpid:").unwrap_or_default();
    pids.split_ascii_whitespace().next_back() == Some("1")
}
