//! Inspecting a process while one of its threads waits in a call.

use std::collections::HashMap;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::fs::{AtFlags, Mode, OFlags, open, readlinkat, statat};

use super::Wanted;
use super::caller::{Caller, Process, Thread};
use super::environment;
use super::proc::command;
use crate::linux::mapping_at;
use crate::linux::seccomp::CreatingCall;
use crate::system::proc_file::read;
use crate::system::process::process_of;
use crate::system::process_stat::Stat;
use crate::system::stack::{Mappings, Memory, Modules, walk};

/// The time after which the remaining frames of a stack are left out. It is shorter than the time after which a call
/// continues without the result of its inspection.
const MAX_WALK: Duration = Duration::from_millis(800);
/// The time of all slow walks after which no stack is walked: all callers wait for each of them.
const MAX_SLOW: Duration = Duration::from_secs(4);
/// The time from which a walk is slow. Usually it takes microseconds.
const SLOW: Duration = Duration::from_millis(100);
/// The maximum number of bytes read of a maps file.
const MAX_MAPS_BYTES: u64 = 4 << 20;
/// The maximum number of ancestors that are recorded.
const MAX_ANCESTORS: usize = 64;
/// The maximum number of cached processes. Beyond it the cache is cleared.
const MAX_PROCESSES: usize = 4096;
/// The maximum number of threads whose files are kept open.
const MAX_RECENT: usize = 16;

/// Inspects processes, and caches what does not change.
pub(super) struct Inspector {
    wanted: Wanted,
    modules: Modules,
    root_started: u64,
    /// The time that slow walks took.
    slow: Duration,
    known: HashMap<i32, (Stat, Arc<Process>)>,
    recent: HashMap<i32, Recent>,
}

/// A thread that has made a call before. Its files refer to this very thread and address space. They stop working when
/// these are gone, even if the thread id is reused.
struct Recent {
    /// `/proc/TID`
    directory: OwnedFd,
    /// `/proc/TID/syscall`
    syscall: File,
    /// `/proc/TID/maps`
    maps: File,
    mappings: Mappings,
    process: Arc<Process>,
    ancestors: Vec<Arc<Process>>,
    started: u64,
}

impl Inspector {
    pub(super) fn new(wanted: Wanted, modules: Modules) -> Inspector {
        let root_started = Stat::read(wanted.root).map_or(0, |stat| stat.started);
        Inspector { wanted, modules, root_started, slow: Duration::ZERO, known: HashMap::new(), recent: HashMap::new() }
    }

    /// Inspects the process of a thread that waits in this call; `None` if it is not visible.
    pub(super) fn inspect(&mut self, tid: i32, call: &CreatingCall) -> Option<Caller> {
        if tid <= 0 {
            return None;
        }
        let now = Instant::now();
        let deadline = if self.slow < MAX_SLOW { now + MAX_WALK } else { now };
        let caller = self.inspect_until(tid, call, deadline);
        self.slow += Some(now.elapsed()).filter(|taken| *taken >= SLOW).unwrap_or_default();
        caller
    }

    fn inspect_until(&mut self, tid: i32, call: &CreatingCall, deadline: Instant) -> Option<Caller> {
        if let Some(caller) = self.inspect_again(tid, call, deadline) {
            return Some(caller);
        }
        self.recent.remove(&tid);
        if self.recent.len() >= MAX_RECENT {
            self.recent.clear();
        }
        let recent = self.inspect_first(tid)?;
        let caller = self.caller(tid, call, &recent, deadline)?;
        self.recent.insert(tid, recent);
        Some(caller)
    }

    /// Inspects a thread that has made a call before. `None` if it has executed another program, or if its code
    /// mappings have changed. PROCMAP_QUERY (Linux 6.11) shows whether the mappings on the stack are unchanged.
    fn inspect_again(&mut self, tid: i32, call: &CreatingCall, deadline: Instant) -> Option<Caller> {
        let recent = self.recent.remove(&tid)?;
        recent.mappings.forget_found();
        let caller = self.caller(tid, call, &recent, deadline)?;
        let is_same = recent.mappings.all_found(|known| {
            let (now, _) = mapping_at(&recent.maps, known.start, &mut []).ok()?;
            let is_same_file = now.inode == known.inode && now.device == (known.device.0.into(), known.device.1.into());
            Some(is_same_file && now.range == (known.start..known.end) && now.is_executable)
        });
        if !is_same {
            return None;
        }
        self.recent.insert(tid, recent);
        Some(caller)
    }

    fn inspect_first(&mut self, tid: i32) -> Option<Recent> {
        if self.known.len() > MAX_PROCESSES {
            self.known.clear();
        }
        let path = format!("/proc/{tid}");
        let directory = open(&path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).ok()?;
        let syscall = File::open(format!("{path}/syscall")).ok()?;
        let maps = File::open(format!("{path}/maps")).ok()?;
        let mappings = Mappings::parse(&read(tid, "maps", MAX_MAPS_BYTES).ok()?);
        let thread = Stat::read(tid).ok()?;
        let is_known = self.known.get(&tid).is_some_and(|(stat, _)| stat.started == thread.started);
        let pid = if is_known { tid } else { process_of(tid)? };
        let (process, parent) = if pid == tid {
            (self.process(tid, &thread), thread.parent)
        } else {
            let stat = Stat::read(pid).ok()?;
            (self.process(pid, &stat), stat.parent)
        };
        let ancestors = self.ancestors(pid, parent);
        Some(Recent { directory, syscall, maps, mappings, process, ancestors, started: thread.started })
    }

    /// Reads the data that belongs to the call itself.
    fn caller(&mut self, tid: i32, call: &CreatingCall, recent: &Recent, deadline: Instant) -> Option<Caller> {
        let mut registers = vec![0; 512];
        let length = recent.syscall.read_at(&mut registers, 0).ok().filter(|length| *length > 0)?;
        registers.truncate(length);
        let stack = match call.is_32bit {
            false => walk(&registers, &recent.mappings, &mut Memory::of(tid), &mut self.modules, tid, deadline),
            true => Vec::new(),
        };
        let variables = &self.wanted.variables;
        let memory = &mut Memory::of(tid);
        Some(Caller {
            process: Arc::clone(&recent.process),
            directory: readlinkat(&recent.directory, "cwd", Vec::new()).ok().map(|path| path.into_bytes()),
            ancestors: recent.ancestors.clone(),
            environment: environment::read(tid, variables, &recent.mappings, memory, &mut self.modules, deadline),
            stack,
            thread: Thread { tid, started: recent.started, call: registers },
            namespace: statat(&recent.directory, "ns/ipc", AtFlags::empty()).ok().map(|namespace| namespace.st_ino),
        })
    }

    /// Returns the parent of a process, its grandparent and so on.
    fn ancestors(&mut self, mut child: i32, mut parent: i32) -> Vec<Arc<Process>> {
        let mut ancestors = Vec::new();
        while child != self.wanted.root && parent > 1 && ancestors.len() < MAX_ANCESTORS {
            let Ok(stat_of_parent) = Stat::read(parent) else { break };
            // A parent that started before the command has only adopted a descendant of the command.
            if stat_of_parent.started < self.root_started {
                break;
            }
            let process = self.process(parent, &stat_of_parent);
            // If the parent has ended, the child has a new parent and the pid may have been reused.
            if Stat::read(child).map_or(true, |stat| stat.parent != parent) {
                break;
            }
            ancestors.push(process);
            (child, parent) = (parent, stat_of_parent.parent);
        }
        ancestors
    }

    /// Returns the program that a process executes. Its command line is read again only after an exec.
    fn process(&mut self, pid: i32, stat: &Stat) -> Arc<Process> {
        if let Some((known, process)) = self.known.get(&pid)
            && known.started == stat.started
            && known.arguments == stat.arguments
            && known.comm == stat.comm
        {
            return Arc::clone(process);
        }
        let process = Arc::new(Process { pid, command: command(pid, &stat.comm) });
        self.known.insert(pid, (stat.clone(), Arc::clone(&process)));
        process
    }
}
