//! What can be known of another process.

mod stat;

use std::cell::{OnceCell, RefCell};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;
use std::rc::Rc;

use nix::errno::Errno;
use nix::sys::signal::kill;
use nix::time::{ClockId, clock_gettime};
use nix::unistd::Pid;

use self::stat::Stat;
use crate::system::cgroup::Cgroups;
use crate::system::patience::ask;
use crate::values::visible;

/// The longest part of a command line that is read, in bytes. Its length is up to the process: PR_SET_MM can make it as
/// long as an address space.
const LONGEST_COMMAND: u64 = 4096;

/// A process that is alive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Running {
    pid: i32,
    /// When it started, in ticks, as /proc/PID/stat has it: with its pid this names it for ever.
    ticks: u64,
    /// When it started, in nanoseconds since the epoch; `None` if /proc hides it (hidepid).
    pub started: Option<i64>,
}

impl Running {
    /// Returns whether this is one of the process's users: real, effective, saved or of the file system.
    pub(crate) fn is_run_by(&self, uid: u32) -> bool {
        let uids = status_line(&self.pid.to_string(), "Uid:").unwrap_or_default();
        uids.split_ascii_whitespace().any(|word| word.parse() == Ok(uid))
    }
}

/// The processes that were asked for so far, each looked at once.
#[derive(Debug, Default)]
pub(crate) struct Processes {
    proc_is_ours: OnceCell<bool>,
    running: RefCell<BTreeMap<i32, Option<Running>>>,
    commands: RefCell<BTreeMap<i32, Option<Rc<str>>>>,
    cgroups: RefCell<BTreeMap<i32, Option<Rc<Cgroups>>>>,
}

impl Processes {
    /// Starts without any.
    pub(crate) fn new() -> Processes {
        Processes::default()
    }

    /// Returns the process that has this pid now; `Some(None)` if there is none, and `None` if /proc shows the pids of
    /// another pid namespace than ours, because its numbers mean other processes.
    pub(crate) fn running(&self, pid: i32) -> Option<Option<Running>> {
        if !*self.proc_is_ours.get_or_init(proc_is_ours) {
            return None;
        }
        Some(*self.running.borrow_mut().entry(pid).or_insert_with(|| look_at(pid)))
    }

    /// Returns the command line of the process that [`Processes::running`] returns, made visible.
    pub(crate) fn command(&self, pid: i32) -> Option<Rc<str>> {
        let running = self.running(pid)??;
        let read = || {
            // The pid can have been used again since.
            let stat = Stat::read(pid).ok().filter(|stat| stat.started == running.ticks)?;
            Some(command_line(pid, &stat.comm).into())
        };
        self.commands.borrow_mut().entry(pid).or_insert_with(read).clone()
    }

    /// Returns the control groups of the process that [`Processes::running`] returns.
    pub(crate) fn cgroups(&self, pid: i32) -> Option<Rc<Cgroups>> {
        let running = self.running(pid)??;
        let read = || {
            let cgroups = Cgroups::of(pid)?;
            // Only now: the pid can have been used again meanwhile.
            Stat::read(pid).ok().filter(|stat| stat.started == running.ticks)?;
            Some(Rc::new(cgroups))
        };
        self.cgroups.borrow_mut().entry(pid).or_insert_with(read).clone()
    }
}

/// Whether /proc shows the pids of our own pid namespace. Where it is another's, its numbers mean other processes.
pub(crate) fn proc_is_ours() -> bool {
    fs::read_link("/proc/self").is_ok_and(|link| link.to_str() == Some(&Pid::this().as_raw().to_string()))
}

/// Whether there is such a process that /proc does not show: it is mounted with hidepid (proc(5)), or not at all.
pub(crate) fn is_hidden(pid: i32) -> bool {
    !Path::new(&format!("/proc/{pid}")).exists() && kill(Pid::from_raw(pid), None) != Err(Errno::ESRCH)
}

/// The command line of the process that has this number in /proc, made visible; `None` where it is not to be seen.
pub(crate) fn command_of(pid: i32) -> Option<String> {
    let stat = Stat::read(pid).ok()?;
    Some(command_line(pid, &stat.comm))
}

/// Returns the name of a process (comm), made visible: at most 15 bytes, which the process can choose. `None` if there is
/// no such process.
pub(crate) fn name_of(pid: i32) -> Option<String> {
    let name = fs::read(format!("/proc/{pid}/comm")).ok()?;
    Some(visible(name.strip_suffix(b"\n").unwrap_or(&name)).into_owned())
}

/// The effective user of a process, which is not always the owner of its files in /proc; `None` where it is not to be seen.
pub(crate) fn user_of(pid: i32) -> Option<u32> {
    let uids = status_line(&pid.to_string(), "Uid:")?;
    uids.split_whitespace().nth(1)?.parse().ok()
}

/// What stands behind a name in `/proc/PID/status` (proc_pid_status(5)); `None` where it is not to be seen.
///
/// procfs reads all sixty lines, which is a hundredth of our program, and none where a command's name is not UTF-8.
pub(crate) fn status_line(pid: &str, name: &str) -> Option<String> {
    let status = fs::read(format!("/proc/{pid}/status")).ok()?;
    let line = status.split(|byte| *byte == b'\n').find_map(|line| line.strip_prefix(name.as_bytes()))?;
    Some(str::from_utf8(line).ok()?.trim().to_owned())
}

/// Whether it is a thread of the kernel's own, which has no address space.
pub(crate) fn is_kernel_thread(pid: i32) -> bool {
    Stat::read(pid).is_ok_and(|stat| stat.is_kernel_thread())
}

/// Returns when a process started, in nanoseconds since the epoch, from the ticks in its `stat`.
///
/// Both these ticks and CLOCK_BOOTTIME have the offset of our time namespace in them, so that it does not count. An
/// offset can make the start negative, which the kernel then writes as a huge number (fs/proc/array.c, `do_task_stat`).
fn start_time(ticks: u64) -> Option<i64> {
    let since_boot = ticks.wrapping_mul(1_000_000_000 / procfs::ticks_per_second()).cast_signed();
    let nanoseconds = |clock| clock_gettime(clock).ok().map(|time| time.tv_sec() * 1_000_000_000 + time.tv_nsec());
    let boot = nanoseconds(ClockId::CLOCK_REALTIME)? - nanoseconds(ClockId::CLOCK_BOOTTIME)?;
    Some(boot.saturating_add(since_boot))
}

/// Returns the process that has this pid; `None` if there is none, or only a zombie.
fn look_at(pid: i32) -> Option<Running> {
    // kill(2) tells the truth where /proc hides other users' processes (hidepid).
    if kill(Pid::from_raw(pid), None) == Err(Errno::ESRCH) {
        return None;
    }
    let Ok(stat) = Stat::read(pid) else { return Some(Running { pid, ticks: 0, started: None }) };
    // A process whose first thread has ended is shown as a zombie while its other threads go on.
    if stat.has_ended() && all_threads_have_ended(pid) {
        return None;
    }
    Some(Running { pid, ticks: stat.started, started: start_time(stat.started) })
}

/// Returns a process's arguments, as they are shown to a person.
fn command_line(pid: i32, name: &[u8]) -> String {
    // What could not be read is as if the process had erased it.
    let arguments = ask(pid, |pid| {
        let mut arguments = Vec::new();
        let file = File::open(format!("/proc/{pid}/cmdline"));
        file.and_then(|file| file.take(LONGEST_COMMAND).read_to_end(&mut arguments)).map(|_| arguments)
    });
    let arguments = arguments.and_then(io::Result::ok).unwrap_or_default();
    let words: Vec<&[u8]> = arguments.split(|b| *b == 0).filter(|word| !word.is_empty()).collect();
    if words.is_empty() {
        // A kernel thread, or a process that has erased its arguments: its name, as ps(1) shows it.
        format!("[{}]", visible(name))
    } else {
        visible(&words.join(&b' ')).into_owned()
    }
}

/// Returns whether a thread of this process waits in the kernel for something.
pub(super) fn is_waiting(tid: i32) -> bool {
    Stat::read_file(Path::new(&format!("/proc/self/task/{tid}/stat"))).is_ok_and(|stat| stat.is_waiting())
}

fn all_threads_have_ended(pid: i32) -> bool {
    let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else { return false };
    tasks.flatten().all(|task| Stat::read_file(&task.path().join("stat")).is_ok_and(|stat| stat.has_ended()))
}
