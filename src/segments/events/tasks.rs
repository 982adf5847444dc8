//! The threads and processes of the machine, as far as needed to understand their calls: each thread's IPC namespace,
//! and the attachments of each address space.

use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

use super::Program;
use crate::system::tracepoints::Call;
use crate::values::ShmId;

/// Effective user and group of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct User {
    /// Effective user id.
    pub uid: u32,
    /// Effective group id.
    pub gid: u32,
}

/// A segment in any namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Place {
    /// The inode of its IPC namespace.
    pub namespace: u64,
    /// Its identifier there.
    pub id: ShmId,
}

/// A thread.
#[derive(Debug, Clone)]
pub(super) struct Thread {
    /// Its process.
    pub pid: i32,
    /// The inode of its IPC namespace.
    pub namespace: u64,
    /// The call that it is executing.
    pub call: Option<(Call, [u64; 3])>,
    /// The process that it has just created, until the flags of clone(2) show whether that has its own address space.
    pub child: Option<i32>,
}

/// A process.
#[derive(Debug, Clone)]
pub(super) struct Process {
    /// The name from /proc/PID/comm, padded with NUL.
    pub name: [u8; 16],
    /// Its user, as last seen.
    pub user: Option<User>,
    /// Its program, if known.
    pub program: Option<Rc<Program>>,
    threads: u32,
    /// Its address space.
    pub space: u32,
}

/// An address space. A child of vfork(2) shares its parent's.
#[derive(Debug, Default)]
struct Space {
    processes: u32,
    /// Attachments by address.
    attached: BTreeMap<u64, Place>,
}

/// A process as /proc shows it.
#[derive(Debug, Clone)]
pub(crate) struct Found {
    /// Its pid.
    pub pid: i32,
    /// Its name.
    pub name: [u8; 16],
    /// Its user.
    pub user: Option<User>,
    /// Its threads, each with its IPC namespace.
    pub threads: Vec<(i32, u64)>,
    /// Its attachments, by address.
    pub attached: BTreeMap<u64, Place>,
    /// An earlier process whose address space it shares.
    pub shares_with: Option<i32>,
}

/// All threads and processes. Those that end are dropped, so that the size depends on the load of the machine.
#[derive(Debug, Default)]
pub(super) struct Tasks {
    threads: HashMap<i32, Thread>,
    processes: HashMap<i32, Process>,
    spaces: HashMap<u32, Space>,
    last_space: u32,
}

impl Tasks {
    /// Starts with what /proc shows.
    pub(super) fn new(found: Vec<Found>) -> Tasks {
        let mut tasks = Tasks::default();
        for Found { pid, name, user, threads, attached, shares_with } in found {
            let shared = shares_with.and_then(|other| tasks.processes.get(&other)).map(|other| other.space);
            let space = shared.unwrap_or_else(|| tasks.new_space(attached));
            tasks.join_space(space);
            tasks.processes.insert(pid, Process { name, user, program: None, threads: threads.len() as u32, space });
            for (tid, namespace) in threads {
                tasks.threads.insert(tid, Thread { pid, namespace, call: None, child: None });
            }
        }
        tasks
    }

    /// Returns a thread.
    pub(super) fn thread(&mut self, tid: i32) -> Option<&mut Thread> {
        self.threads.get_mut(&tid)
    }

    /// Returns a process.
    pub(super) fn process(&mut self, pid: i32) -> Option<&mut Process> {
        self.processes.get_mut(&pid)
    }

    /// Returns the IPC namespace of a thread.
    pub(super) fn namespace(&self, tid: i32) -> Option<u64> {
        self.threads.get(&tid).map(|thread| thread.namespace)
    }

    /// Returns whether a thread is in this IPC namespace.
    pub(super) fn any_in_namespace(&self, namespace: u64) -> bool {
        self.threads.values().any(|thread| thread.namespace == namespace)
    }

    /// Returns the calls that threads of a namespace are executing.
    pub(super) fn calls(&self, namespace: u64) -> impl Iterator<Item = (Call, [u64; 3])> {
        self.threads.values().filter(move |thread| thread.namespace == namespace).filter_map(|thread| thread.call)
    }

    /// Records a new thread, or the first one of a new process. One that /proc has already shown stays unchanged.
    pub(super) fn fork(&mut self, pid: i32, tid: i32, parent: i32, parent_thread: i32) {
        if self.threads.contains_key(&tid) {
            return;
        }
        let namespace = self.threads.get(&parent_thread).map_or(0, |thread| thread.namespace);
        self.threads.insert(tid, Thread { pid, namespace, call: None, child: None });
        if let Some(process) = self.processes.get_mut(&pid) {
            process.threads += 1;
            return;
        }
        let parent = self.processes.get(&parent);
        let name = parent.map_or([0; 16], |process| process.name);
        let program = parent.and_then(|process| process.program.clone());
        let space = self.new_space(BTreeMap::new());
        self.join_space(space);
        // The child may have changed its user before it is inspected.
        self.processes.insert(pid, Process { name, user: None, program, threads: 1, space });
        if let Some(parent) = self.threads.get_mut(&parent_thread) {
            parent.child = Some(pid);
        }
    }

    /// Sets the address space of the process that a thread has just created: a shared one or a copy. For a copy,
    /// returns the new process and its attachments.
    pub(super) fn clone_space(&mut self, parent_thread: i32, is_shared: bool) -> Option<(i32, Vec<Place>)> {
        let parent = self.threads.get_mut(&parent_thread)?;
        let child = parent.child.take()?;
        let (from, to) = (self.processes.get(&parent.pid)?.space, self.processes.get(&child)?.space);
        if is_shared {
            self.leave_space(to);
            self.join_space(from);
            self.processes.get_mut(&child)?.space = from;
            return None;
        }
        let attached = self.spaces.get(&from)?.attached.clone();
        let copied = attached.values().copied().collect();
        self.spaces.get_mut(&to)?.attached = attached;
        Some((child, copied))
    }

    /// Records that a process executes another program: one thread remains, in a new address space. Returns the
    /// attachments of the old address space, unless another process shares it.
    pub(super) fn execute(&mut self, pid: i32, tid: i32) -> Vec<Place> {
        let Some(process) = self.processes.get_mut(&pid) else { return Vec::new() };
        let left = process.space;
        if process.threads != 1 || tid != pid || !self.threads.contains_key(&pid) {
            // Whichever thread executes becomes the first one.
            process.threads = 1;
            let thread = self.threads.get(&tid).or_else(|| self.threads.values().find(|thread| thread.pid == pid));
            let namespace = thread.map_or(0, |thread| thread.namespace);
            self.threads.retain(|_, thread| thread.pid != pid);
            self.threads.insert(pid, Thread { pid, namespace, call: None, child: None });
        }
        let space = self.new_space(BTreeMap::new());
        self.join_space(space);
        if let Some(process) = self.processes.get_mut(&pid) {
            process.space = space;
        }
        self.leave_space(left)
    }

    /// Records the end of a thread. If its process ends with it, returns the process and its attachments, unless
    /// another process shares the address space.
    pub(super) fn end(&mut self, tid: i32) -> Option<(Process, Vec<Place>)> {
        let thread = self.threads.remove(&tid)?;
        let process = self.processes.get_mut(&thread.pid)?;
        process.threads = process.threads.saturating_sub(1);
        if process.threads > 0 {
            return None;
        }
        let process = self.processes.remove(&thread.pid)?;
        let attached = self.leave_space(process.space);
        Some((process, attached))
    }

    /// Records an attachment. Returns the previous one at this address, which SHM_REMAP has replaced.
    pub(super) fn attach(&mut self, pid: i32, address: u64, place: Place) -> Option<Place> {
        self.attached(pid)?.insert(address, place)
    }

    /// Removes an attachment, and returns its segment.
    pub(super) fn detach(&mut self, pid: i32, address: u64) -> Option<Place> {
        self.attached(pid)?.remove(&address)
    }

    /// Replaces a process's known attachments of a segment by the actual ones.
    pub(super) fn correct(&mut self, pid: i32, place: Place, addresses: impl Iterator<Item = u64>) {
        if let Some(attached) = self.attached(pid) {
            attached.retain(|_, other| *other != place);
            attached.extend(addresses.map(|address| (address, place)));
        }
    }

    /// Returns the number of known threads, processes and address spaces.
    #[cfg(test)]
    pub(super) fn len(&self) -> (usize, usize, usize) {
        (self.threads.len(), self.processes.len(), self.spaces.len())
    }

    /// Returns the processes that have a segment attached.
    pub(super) fn holders(&self, place: Place) -> Vec<i32> {
        let holds = |process: &Process| {
            self.spaces.get(&process.space).is_some_and(|space| space.attached.values().any(|other| *other == place))
        };
        self.processes.iter().filter(|(_, process)| holds(process)).map(|(pid, _)| *pid).collect()
    }

    fn attached(&mut self, pid: i32) -> Option<&mut BTreeMap<u64, Place>> {
        let space = self.processes.get(&pid)?.space;
        Some(&mut self.spaces.get_mut(&space)?.attached)
    }

    fn new_space(&mut self, attached: BTreeMap<u64, Place>) -> u32 {
        self.last_space = self.last_space.wrapping_add(1);
        self.spaces.insert(self.last_space, Space { processes: 0, attached });
        self.last_space
    }

    fn join_space(&mut self, space: u32) {
        if let Some(space) = self.spaces.get_mut(&space) {
            space.processes += 1;
        }
    }

    fn leave_space(&mut self, space: u32) -> Vec<Place> {
        let Some(left) = self.spaces.get_mut(&space) else { return Vec::new() };
        left.processes = left.processes.saturating_sub(1);
        if left.processes > 0 {
            return Vec::new();
        }
        self.spaces.remove(&space).map_or_else(Vec::new, |space| space.attached.into_values().collect())
    }
}
