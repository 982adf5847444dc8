//! Who makes a call: what /proc shows of a process while one of its threads waits.

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;

use super::Wanted;
use super::environment;
use crate::linux::seccomp::CreatingCall;
use crate::system::stack::{Mappings, Memory, Modules, Place, walk};

/// The most of a command line that is read.
const MOST_OF_COMMAND: u64 = 4 << 10;
/// The most of a maps file that is read.
const MOST_OF_MAPS: u64 = 4 << 20;
/// The most of another file of /proc that is read.
const MOST_OF_FILE: u64 = 64 << 10;
/// The most ancestors that are told.
const MOST_ANCESTORS: usize = 64;
/// After so many processes, what is known of them is forgotten.
const MOST_PROCESSES: usize = 4096;

/// The process that makes a call.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    /// The process, and what it was executing.
    pub process: Arc<Process>,
    /// Its working directory, as bytes of a path.
    pub directory: Option<Vec<u8>>,
    /// Its parent, the parent's parent and so on, up to the command that is traced.
    pub ancestors: Vec<Arc<Process>>,
    /// The environment variables that were asked for and are set.
    pub environment: BTreeMap<String, Vec<u8>>,
    /// The stack of the call, innermost frame first.
    pub stack: Vec<Place>,
    /// The thread, so that it can be told whether the call has returned.
    thread: Thread,
    /// The inode of its IPC namespace; `None` where it cannot be seen.
    pub namespace: Option<u64>,
}

/// A thread that waited in a call.
#[derive(Debug, Clone)]
struct Thread {
    tid: i32,
    /// In ticks after the boot: tells it from a later one with the same number.
    started: u64,
    /// `/proc/TID/syscall` while it waited.
    call: Vec<u8>,
}

/// A process and the program that it executed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Process {
    /// Its pid in our pid namespace.
    pub pid: i32,
    /// The words of its command line, or its name in brackets where it has none.
    pub command: Vec<Vec<u8>>,
}

/// Looks at processes, and remembers what does not change.
pub(super) struct Looker {
    wanted: Wanted,
    modules: Modules,
    root_started: u64,
    known: HashMap<i32, (Stat, Arc<Process>)>,
}

/// What is wanted of `/proc/PID/stat` (proc_pid_stat(5)).
#[derive(Debug, Clone, PartialEq, Eq)]
struct Stat {
    name: Vec<u8>,
    parent: i32,
    /// Whether it is a zombie.
    is_ended: bool,
    /// Whether a signal or a debugger has stopped it.
    is_stopped: bool,
    started: u64,
    /// Where the command line is in its memory, which is another place after each exec.
    arguments: (u64, u64),
}

impl Looker {
    pub(super) fn new(wanted: Wanted, modules: Modules) -> Looker {
        let root_started = stat(wanted.root).map_or(0, |stat| stat.started);
        Looker { wanted, modules, root_started, known: HashMap::new() }
    }

    /// Looks at the process of a thread that waits in this call; `None` where it is not to be seen.
    pub(super) fn look(&mut self, tid: i32, call: &CreatingCall) -> Option<Caller> {
        if tid <= 0 {
            return None;
        }
        if self.known.len() > MOST_PROCESSES {
            self.known.clear();
        }
        let thread = stat(tid)?;
        let is_known = self.known.get(&tid).is_some_and(|(stat, _)| stat.started == thread.started);
        let pid = if is_known { tid } else { process_of(tid)? };
        let (process, mut parent) = if pid == tid {
            (self.process(tid, &thread), thread.parent)
        } else {
            let stat = stat(pid)?;
            (self.process(pid, &stat), stat.parent)
        };
        let mut ancestors = Vec::new();
        let mut child = pid;
        while child != self.wanted.root && parent > 1 && ancestors.len() < MOST_ANCESTORS {
            // What started before the command has adopted a descendant of it.
            let Some(stat_of_parent) = stat(parent).filter(|stat| stat.started >= self.root_started) else { break };
            let process = self.process(parent, &stat_of_parent);
            // A parent that ended meanwhile is no longer the parent, and its pid can be another's.
            if stat(child).is_none_or(|stat| stat.parent != parent) {
                break;
            }
            ancestors.push(process);
            (child, parent) = (parent, stat_of_parent.parent);
        }
        let mut memory = Memory::of(tid);
        let mappings = Mappings::parse(&read(tid, "maps", MOST_OF_MAPS).unwrap_or_default());
        let registers = read(tid, "syscall", MOST_OF_FILE).unwrap_or_default();
        let stack = match call.is_32bit {
            false => walk(&registers, &mappings, &mut memory, &mut self.modules, tid),
            true => Vec::new(),
        };
        let variables = &self.wanted.variables;
        let environment = environment::read(tid, variables, &mappings, &mut Memory::of(tid), &mut self.modules);
        Some(Caller {
            process,
            directory: fs::read_link(format!("/proc/{tid}/cwd"))
                .ok()
                .map(|path| path.into_os_string().as_bytes().to_vec()),
            ancestors,
            environment,
            stack,
            thread: Thread { tid, started: thread.started, call: registers },
            namespace: fs::metadata(format!("/proc/{tid}/ns/ipc")).ok().map(|namespace| namespace.ino()),
        })
    }

    /// What a process executes. Its command line is read once, unless it executes another program.
    fn process(&mut self, pid: i32, stat: &Stat) -> Arc<Process> {
        if let Some((known, process)) = self.known.get(&pid)
            && known.started == stat.started
            && known.arguments == stat.arguments
            && known.name == stat.name
        {
            return Arc::clone(process);
        }
        let process = Arc::new(Process { pid, command: command(pid, &stat.name) });
        self.known.insert(pid, (stat.clone(), Arc::clone(&process)));
        process
    }
}

/// How far a call is, for all that can be known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Progress {
    /// Its thread is gone, or waits in another call.
    Returned,
    /// Its thread is stopped, by a signal or a debugger, perhaps before the call.
    Stopped,
    /// Its thread runs or is about to, perhaps still in the call.
    Running,
}

/// How far the call of this caller is.
pub(crate) fn progress(caller: &Caller) -> Progress {
    let Thread { tid, started, call } = &caller.thread;
    match stat(*tid) {
        Some(stat) if stat.started == *started && !stat.is_ended => {
            // Blocked anywhere else. The line has the stack pointer and the program counter.
            let now = read(*tid, "syscall", MOST_OF_FILE).unwrap_or_default();
            match now.starts_with(b"running") || now.is_empty() || now == *call {
                false => Progress::Returned,
                true if stat.is_stopped => Progress::Stopped,
                true => Progress::Running,
            }
        }
        _ => Progress::Returned,
    }
}

fn command(pid: i32, name: &[u8]) -> Vec<Vec<u8>> {
    let mut line = read(pid, "cmdline", MOST_OF_COMMAND).unwrap_or_default();
    while line.last() == Some(&0) {
        line.pop();
    }
    if line.is_empty() {
        return vec![[b"[", name, b"]"].concat()];
    }
    line.split(|byte| *byte == 0).map(<[u8]>::to_vec).collect()
}

/// The process that a thread belongs to.
fn process_of(tid: i32) -> Option<i32> {
    let status = read(tid, "status", MOST_OF_FILE).ok()?;
    let line = status.split(|byte| *byte == b'\n').find_map(|line| line.strip_prefix(b"Tgid:"))?;
    str::from_utf8(line).ok()?.trim().parse().ok()
}

fn stat(pid: i32) -> Option<Stat> {
    let line = read(pid, "stat", MOST_OF_FILE).ok()?;
    // The name can have any character, parentheses too: it ends with the last one.
    let open = line.iter().position(|byte| *byte == b'(')?;
    let close = line.iter().rposition(|byte| *byte == b')')?;
    let name = line.get(open + 1..close)?.to_vec();
    let rest = str::from_utf8(line.get(close + 1..)?).ok()?;
    // The first of these is field 3.
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    fn parse<T: std::str::FromStr>(fields: &[&str], number: usize) -> Option<T> {
        fields.get(number - 3)?.parse().ok()
    }
    let field = |number| parse::<u64>(&fields, number);
    Some(Stat {
        name,
        parent: parse(&fields, 4)?,
        is_ended: matches!(fields.first(), Some(&"Z" | &"X")),
        is_stopped: matches!(fields.first(), Some(&"T" | &"t")),
        started: field(22)?,
        arguments: (field(48).unwrap_or(0), field(49).unwrap_or(0)),
    })
}

/// A file of /proc, not more of it than this.
pub(super) fn read(pid: i32, name: &str, most: u64) -> io::Result<Vec<u8>> {
    // With room for the whole of a small file, one read takes it and a second one finds its end.
    let mut contents = Vec::with_capacity(8 << 10);
    let path = format!("/proc/{pid}/{name}");
    File::open(OsStr::new(&path))?.take(most).read_to_end(&mut contents)?;
    Ok(contents)
}
