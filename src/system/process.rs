//! What /proc shows about other processes.

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::fmt::Display;
use std::fs;
use std::io;
use std::path::Path;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};

use nix::errno::Errno;
use nix::sys::signal::kill;
use nix::time::{ClockId, clock_gettime};
use nix::unistd::{Gid, Pid, getegid, geteuid, getgroups};

use super::patience::{ask_all, note_missed};
use super::proc_file::{self, MAX_BYTES};
use super::process_stat::Stat;
use crate::values::visible;

/// The maximum number of bytes of a command line that is read. The process controls its length: PR_SET_MM can make it
/// as long as the address space.
const MAX_COMMAND_BYTES: u64 = 4096;

/// What is said if [`others_are_hidden`].
pub(crate) const HIDDEN: &str = "/proc hides the processes of other users (hidepid)";

/// A live process.
#[derive(Debug)]
pub(crate) struct Running {
    pid: i32,
    /// Start time in ticks, from /proc/PID/stat. Together with the pid it identifies the process permanently.
    pub(super) ticks: u64,
    /// Start time in nanoseconds since the epoch; `None` if /proc hides the process (hidepid).
    pub started: Option<i64>,
    uids: OnceCell<Vec<u32>>,
}

impl Running {
    pub(super) fn new(pid: i32, ticks: u64, started: Option<i64>) -> Rc<Running> {
        Rc::new(Running { pid, ticks, started, uids: OnceCell::new() })
    }

    /// Returns whether the process runs as this user: as its real, effective, saved or filesystem uid.
    pub(crate) fn is_run_by(&self, uid: u32) -> bool {
        let read = || {
            let uids = status_line(self.pid, "Uid:").unwrap_or_default();
            uids.split_ascii_whitespace().filter_map(|word| word.parse().ok()).collect()
        };
        self.uids.get_or_init(read).contains(&uid)
    }
}

/// Returns the pids of all processes that /proc shows.
///
/// # Errors
/// Those of reading the directory.
pub(crate) fn all_pids() -> io::Result<Vec<i32>> {
    let mut pids = Vec::new();
    for entry in fs::read_dir("/proc")? {
        pids.extend(entry?.file_name().to_str().and_then(|name| name.parse::<i32>().ok()));
    }
    Ok(pids)
}

/// Returns whether this process is in another pid namespace than the initial one.
pub(crate) fn is_in_nested_pid_namespace() -> bool {
    status_line("self", "NSpid:").is_some_and(|pids| pids.split_ascii_whitespace().count() > 1)
}

/// Returns whether /proc shows our own pid namespace. In another one, the same pid means another process.
pub(crate) fn proc_is_ours() -> bool {
    fs::read_link("/proc/self").is_ok_and(|link| link.to_str() == Some(&Pid::this().as_raw().to_string()))
}

/// Returns whether the process exists but /proc does not show it: hidepid (proc(5)), or /proc is not mounted.
pub(crate) fn is_hidden(pid: i32) -> bool {
    !Path::new(&format!("/proc/{pid}")).exists() && kill(Pid::from_raw(pid), None) != Err(Errno::ESRCH)
}

/// Returns whether /proc hides processes of other users (hidepid). The first process of a pid namespace always exists.
/// If it is our own, only the mount option tells.
pub(crate) fn others_are_hidden() -> bool {
    is_hidden(1) || !geteuid().is_root() && hidden_by_mount().unwrap_or(false)
}

/// Returns whether the mount option hidepid of /proc hides the processes of others from an ordinary user (proc(5)).
fn hidden_by_mount() -> io::Result<bool> {
    let mounts = fs::read("/proc/self/mountinfo")?;
    // proc_pid_mountinfo(5). The last mount on /proc covers the earlier ones.
    let is_proc = |line: &&[u8]| line.split(|byte| *byte == b' ').nth(4) == Some(b"/proc");
    let Some(line) = mounts.split(|byte| *byte == b'\n').rfind(is_proc) else { return Ok(false) };
    let options = line.rsplit(|byte| *byte == b' ').next().unwrap_or_default().split(|byte| *byte == b',');
    let options: Vec<_> = options.filter_map(|option| str::from_utf8(option).ok()?.split_once('=')).collect();
    let value = |name: &str| options.iter().find(|(option, _)| *option == name).map(|(_, value)| *value);
    let is_exempt = || {
        let gid = value("gid").and_then(|gid| gid.parse().ok()).map(Gid::from_raw);
        gid.is_some_and(|gid| getegid() == gid || getgroups().is_ok_and(|groups| groups.contains(&gid)))
    };
    // Words since Linux 5.8, numbers before.
    Ok(match value("hidepid") {
        Some("invisible" | "2") => !is_exempt(),
        Some("ptraceable" | "4") => true,
        _ => false,
    })
}

/// Returns the command line of the process with this pid in /proc, escaped for display; `None` if it is not visible.
pub(crate) fn command_of(pid: i32) -> Option<String> {
    commands_of(&[pid]).pop().flatten()
}

/// Returns the command lines of several processes, like [`command_of`].
pub(crate) fn commands_of(pids: &[i32]) -> Vec<Option<String>> {
    read_commands(pids).into_iter().map(|read| read.map(|(_, command)| command)).collect()
}

/// Returns what each process was before its command line was read, and the command line, escaped for display.
pub(super) fn read_commands(pids: &[i32]) -> Vec<Option<(Stat, String)>> {
    let stats = Arc::<Mutex<BTreeMap<i32, Stat>>>::default();
    let noted = Arc::clone(&stats);
    let read = move |pid| {
        let stat = Stat::read(pid)?;
        // Noted before the next file is read: a process that is stuck in mmap(2) shows only this one.
        noted.lock().unwrap_or_else(PoisonError::into_inner).insert(pid, stat);
        arguments(pid)
    };
    let answers = ask_all(pids, read);
    let mut stats = stats.lock().unwrap_or_else(PoisonError::into_inner);
    let command = |(pid, read): (&i32, Option<io::Result<Vec<u8>>>)| {
        if read.is_none() {
            note_missed(&[*pid]);
        }
        let stat = stats.remove(pid)?;
        let command = shown(read, &stat.comm);
        Some((stat, command))
    };
    pids.iter().zip(answers).map(command).collect()
}

/// Returns the name of a process (comm), escaped for display. It has at most 15 bytes, which the process can choose.
/// `None` if there is no such process.
pub(crate) fn name_of(pid: i32) -> Option<String> {
    let name = fs::read(format!("/proc/{pid}/comm")).ok()?;
    Some(visible(name.strip_suffix(b"\n").unwrap_or(&name)).into_owned())
}

/// Returns the effective uid and gid of a process, which are not always the owner of its files in /proc; `None` if it is
/// not visible.
pub(crate) fn user_of(pid: i32) -> Option<(u32, u32)> {
    let status = proc_file::read(pid, "status", MAX_BYTES).ok()?;
    let effective = |name| field(&status, name)?.split_ascii_whitespace().nth(1)?.parse().ok();
    Some((effective("Uid:")?, effective("Gid:")?))
}

/// Returns the real uid of a process, which a set-user-ID program keeps; `None` if the process is not visible.
pub(crate) fn real_uid(pid: i32) -> Option<u32> {
    status_line(pid, "Uid:")?.split_ascii_whitespace().next()?.parse().ok()
}

/// Returns the parent of a process; `None` if there is no such process, or it is not visible.
pub(crate) fn parent_of(pid: i32) -> Option<i32> {
    status_line(pid, "PPid:")?.parse().ok()
}

/// Returns the process that a thread belongs to; `None` if it is not visible.
pub(crate) fn process_of(tid: i32) -> Option<i32> {
    status_line(tid, "Tgid:")?.parse().ok()
}

/// Returns the value of a field in `/proc/PID/status` (proc_pid_status(5)); `None` if it is not visible. The kernel writes
/// this file without waiting for the process.
///
/// The procfs crate is not used: it parses all 60 lines, and fails if a command's name is not UTF-8.
pub(crate) fn status_line(pid: impl Display, name: &str) -> Option<String> {
    field(&proc_file::read(pid, "status", MAX_BYTES).ok()?, name).map(str::to_owned)
}

fn field<'a>(status: &'a [u8], name: &str) -> Option<&'a str> {
    let line = status.split(|byte| *byte == b'\n').find_map(|line| line.strip_prefix(name.as_bytes()))?;
    str::from_utf8(line).ok().map(str::trim)
}

/// Returns whether the process is a kernel thread, which has no address space.
///
/// This blocks if the process is stuck in execve(2): see [`crate::system::patience`].
pub(crate) fn is_kernel_thread(pid: i32) -> bool {
    Stat::read(pid).is_ok_and(|stat| stat.is_kernel_thread())
}

/// Converts a process's start time from ticks (its `stat`) to nanoseconds since the epoch.
///
/// Both the ticks and CLOCK_BOOTTIME include the offset of our time namespace, so the offset cancels out. It can make
/// the start negative, which the kernel prints as a huge unsigned number (fs/proc/array.c, `do_task_stat`).
fn start_time(ticks: u64) -> Option<i64> {
    let since_boot = ticks.wrapping_mul(1_000_000_000 / procfs::ticks_per_second()).cast_signed();
    let nanoseconds = |clock| clock_gettime(clock).ok().map(|time| time.tv_sec() * 1_000_000_000 + time.tv_nsec());
    let boot = nanoseconds(ClockId::CLOCK_REALTIME)? - nanoseconds(ClockId::CLOCK_BOOTTIME)?;
    Some(boot.saturating_add(since_boot))
}

/// Returns when a process started, in ticks and in nanoseconds since the epoch; `None` if there is only a zombie. `stat` is
/// `None` if /proc hides the process. This blocks if the process is stuck in execve(2).
pub(super) fn start_of(pid: i32, stat: Option<&Stat>) -> Option<(u64, Option<i64>)> {
    let Some(stat) = stat else { return Some((0, None)) };
    // /proc shows a process as a zombie once its first thread has ended, even while other threads run.
    let has_ended = stat.has_ended() && all_threads_have_ended(pid);
    (!has_ended).then(|| (stat.started, start_time(stat.started)))
}

/// Reads a process's arguments. This blocks if the process is stuck.
pub(super) fn arguments(pid: i32) -> io::Result<Vec<u8>> {
    proc_file::read(pid, "cmdline", MAX_COMMAND_BYTES)
}

/// Returns a command line, escaped for display. If there are no arguments, it is the name in brackets.
pub(super) fn shown(arguments: Option<io::Result<Vec<u8>>>, name: &[u8]) -> String {
    // An unreadable command line is treated as an erased one.
    let arguments = arguments.and_then(io::Result::ok).unwrap_or_default();
    let words: Vec<&[u8]> = arguments.split(|b| *b == 0).filter(|word| !word.is_empty()).collect();
    if words.is_empty() {
        // A kernel thread, or a process that has erased its arguments. ps(1) also shows the name in brackets.
        format!("[{}]", visible(name))
    } else {
        visible(&words.join(&b' ')).into_owned()
    }
}

fn all_threads_have_ended(pid: i32) -> bool {
    let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else { return false };
    // If the directory cannot be read to its end, a living thread may be missing.
    tasks.map(|task| Stat::read_file(&task?.path().join("stat"))).all(|stat| stat.is_ok_and(|stat| stat.has_ended()))
}
