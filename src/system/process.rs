//! What can be known of a process: of a segment's creator, who may be long gone, most of all.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::rc::Rc;

use nix::errno::Errno;
use nix::sys::signal::kill;
use nix::time::{ClockId, clock_gettime};
use nix::unistd::Pid;
use procfs::process::{Process, StatFlags};
use serde::Serialize;

use crate::sysv::Segment;
use crate::values::visible;

/// Whether the process that made a segment is still there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Creator {
    /// It is, or it cannot be told from one that is.
    Alive,
    /// No such process, a zombie whose threads have all ended, or a younger process that has its pid.
    Exited,
    /// Its pid is 0 (it is in a pid namespace that cannot be seen from here), or /proc shows other pids than ours.
    Unknown,
}

impl Creator {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Alive => "alive",
            Self::Exited => "exited",
            Self::Unknown => "unknown",
        }
    }
}

/// A process that has some pid now.
#[derive(Debug, Clone)]
struct Holder {
    /// When it started, in seconds since the epoch; `None` where /proc hides it (hidepid).
    started: Option<i64>,
    command: Option<Rc<str>>,
}

/// The processes met so far, each looked at once.
#[derive(Debug)]
pub struct Processes {
    /// `None` where /proc shows another pid namespace than ours: its numbers mean other processes.
    boot_time: Option<i64>,
    holders: RefCell<BTreeMap<i32, Option<Holder>>>,
}

impl Processes {
    /// Learns whose pids /proc shows, and when the machine started.
    pub fn new() -> Processes {
        Processes { boot_time: boot_time().filter(|_| proc_is_ours()), holders: RefCell::default() }
    }

    /// Whether a segment's creator is there.
    pub fn creator(&self, segment: &Segment) -> Creator {
        let Some(boot_time) = self.boot_time.filter(|_| segment.cpid > 0) else {
            return Creator::Unknown;
        };
        match self.holder(segment.cpid, boot_time) {
            None => Creator::Exited,
            Some(Holder { started: None, .. }) => Creator::Alive,
            Some(Holder { started: Some(started), .. }) => {
                // Both times are whole seconds, so one of difference says nothing. The start is counted from the boot,
                // whose time moves when the clock is set: a segment that seems older than the boot shows that it was,
                // and then the two cannot be compared.
                if started <= segment.ctime + 1 {
                    Creator::Alive
                } else if segment.ctime + 1 < boot_time {
                    Creator::Unknown
                } else {
                    Creator::Exited
                }
            }
        }
    }

    /// The command line of a segment's creator, made visible; `None` unless it is alive and shows one.
    pub fn command(&self, segment: &Segment) -> Option<Rc<str>> {
        match self.creator(segment) {
            Creator::Alive => self.holder(segment.cpid, self.boot_time?)?.command,
            Creator::Exited | Creator::Unknown => None,
        }
    }

    /// Each is looked at once: a list asks for it some times a row.
    fn holder(&self, pid: i32, boot_time: i64) -> Option<Holder> {
        self.holders.borrow_mut().entry(pid).or_insert_with(|| look_at(pid, boot_time)).clone()
    }
}

impl Default for Processes {
    fn default() -> Self {
        Processes::new()
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
    let stat = Process::new(pid).and_then(|process| process.stat()).ok()?;
    Some(command_line(pid, &stat.comm))
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
    let flags = Process::new(pid).and_then(|process| process.stat()).and_then(|stat| stat.flags());
    flags.is_ok_and(|flags| flags.contains(StatFlags::PF_KTHREAD))
}

/// When the machine started, in seconds since the epoch: `btime` of /proc/stat, which takes the kernel longer to write
/// than a short list takes altogether.
fn boot_time() -> Option<i64> {
    let now = clock_gettime(ClockId::CLOCK_REALTIME).ok()?;
    let since_boot = clock_gettime(ClockId::CLOCK_BOOTTIME).ok()?;
    Some((now - since_boot).tv_sec())
}

/// The process that has this pid; `None` where there is none, or only a zombie.
fn look_at(pid: i32, boot_time: i64) -> Option<Holder> {
    // kill(2) tells the truth where /proc hides other users' processes (hidepid).
    if kill(Pid::from_raw(pid), None) == Err(Errno::ESRCH) {
        return None;
    }
    let hidden = Holder { started: None, command: None };
    let Ok(process) = Process::new(pid) else { return Some(hidden) };
    let Ok(stat) = process.stat() else { return Some(hidden) };
    // A process whose first thread has ended is shown as a zombie while its other threads go on.
    if is_ended(stat.state) && process.tasks().is_ok_and(all_ended) {
        return None;
    }
    let since_boot = i64::try_from(stat.starttime / procfs::ticks_per_second()).unwrap_or(i64::MAX);
    let started = Some(boot_time.saturating_add(since_boot));
    Some(Holder { started, command: Some(command_line(pid, &stat.comm).into()) })
}

/// A process's arguments, as they are shown to a person.
fn command_line(pid: i32, name: &str) -> String {
    // procfs wants them to be UTF-8, which they need not be.
    let arguments = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let words: Vec<&[u8]> = arguments.split(|b| *b == 0).filter(|word| !word.is_empty()).collect();
    if words.is_empty() {
        // A kernel thread, or a process that has erased its arguments: its name, as ps(1) shows it.
        format!("[{}]", visible(name.as_bytes()))
    } else {
        visible(&words.join(&b' ')).into_owned()
    }
}

fn is_ended(state: char) -> bool {
    matches!(state, 'Z' | 'X')
}

fn all_ended(mut tasks: procfs::process::TasksIter) -> bool {
    tasks.all(|task| task.and_then(|task| task.stat()).is_ok_and(|stat| is_ended(stat.state)))
}
