//! Semaphore sets and message queues: listing and removing them.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::ptr;

use nix::errno::Errno;

use super::trace;
use super::uapi::MSG_STAT_ANY;
use crate::linux::{known_gid, known_uid};
use crate::values::Key;

const SEMAPHORES: &str = "/proc/sysvipc/sem";
const QUEUES: &str = "/proc/sysvipc/msg";

/// A semaphore set (semget(2)).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SemaphoreSet {
    /// Its key.
    pub key: Key,
    /// Its identifier.
    pub id: i32,
    /// Permissions.
    pub mode: u16,
    /// The number of semaphores.
    pub nsems: u64,
    /// Owner.
    pub uid: u32,
    /// Creator.
    pub cuid: u32,
    /// Creator's group.
    pub cgid: u32,
}

/// A message queue (msgget(2)).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MessageQueue {
    /// Its key.
    pub key: Key,
    /// Its identifier.
    pub id: i32,
    /// Permissions.
    pub mode: u16,
    /// The total size of its messages, in bytes.
    pub bytes: u64,
    /// The number of messages.
    pub messages: u64,
    /// The last sender and the last receiver; 0 means nobody, or a process outside this pid namespace.
    pub users: [i32; 2],
    /// Owner.
    pub uid: u32,
    /// Creator.
    pub cuid: u32,
    /// Creator's group.
    pub cgid: u32,
}

/// Returns all semaphore sets of the namespace: from `/proc/sysvipc/sem` (proc_sysvipc_sem(5)), or by semctl(2) if the
/// file cannot be read.
///
/// # Errors
/// Those of the file, if semctl(2) does not know `SEM_STAT_ANY` (before Linux 4.17) or is denied. `ENOSYS` of a kernel
/// without System V IPC is not an error: there are no sets then.
pub(crate) fn semaphore_sets() -> io::Result<Vec<SemaphoreSet>> {
    let table = rows(SEMAPHORES, |row| {
        Some(SemaphoreSet {
            key: row.key()?,
            id: row.number(1)?,
            mode: row.mode()?,
            nsems: row.number(3)?,
            uid: row.number(4)?,
            cuid: row.number(6)?,
            cgid: row.number(7)?,
        })
    });
    table.or_else(|error| by_index(used_by_sets(), semaphore_set_at).ok_or(error))
}

/// Returns all message queues of the namespace: from `/proc/sysvipc/msg` (proc_sysvipc_msg(5)), or by msgctl(2).
///
/// # Errors
/// Those of [`semaphore_sets`].
pub(crate) fn message_queues() -> io::Result<Vec<MessageQueue>> {
    let table = rows(QUEUES, |row| {
        Some(MessageQueue {
            key: row.key()?,
            id: row.number(1)?,
            mode: row.mode()?,
            bytes: row.number(3)?,
            messages: row.number(4)?,
            users: [row.number(5)?, row.number(6)?],
            uid: row.number(7)?,
            cuid: row.number(9)?,
            cgid: row.number(10)?,
        })
    });
    table.or_else(|error| by_index(used_by_queues(), queue_at).ok_or(error))
}

/// Returns the set at an index, which is the low bits of its identifier: semctl(2) `SEM_STAT_ANY`. Needs no permission.
///
/// # Errors
/// `EINVAL` if there is none, and before Linux 4.17.
pub(crate) fn semaphore_set_at(index: i32) -> Result<SemaphoreSet, Errno> {
    let mut status = SetStatus::default();
    // SAFETY: SEM_STAT_ANY writes one semid64_ds through the pointer; `status` is one.
    let id = unsafe { libc::semctl(index, 0, libc::SEM_STAT_ANY, ptr::from_mut(&mut status)) };
    let SetStatus { perm, nsems, .. } = status;
    Errno::result(id).map(|id| SemaphoreSet {
        key: Key::from_raw(perm.key),
        id,
        mode: perm.mode as u16,
        nsems,
        uid: known_uid(perm.uid),
        cuid: known_uid(perm.cuid),
        cgid: known_gid(perm.cgid),
    })
}

/// Returns the queue at an index, which is the low bits of its identifier: msgctl(2) `MSG_STAT_ANY`. Needs no
/// permission.
///
/// # Errors
/// `EINVAL` if there is none, and before Linux 4.17.
pub(crate) fn queue_at(index: i32) -> Result<MessageQueue, Errno> {
    let mut status = QueueStatus::default();
    // SAFETY: MSG_STAT_ANY writes one msqid64_ds through the pointer; `status` is one.
    let id = unsafe { libc::msgctl(index, MSG_STAT_ANY, (&raw mut status).cast()) };
    let QueueStatus { perm, bytes, messages, users, .. } = status;
    Errno::result(id).map(|id| MessageQueue {
        key: Key::from_raw(perm.key),
        id,
        mode: perm.mode as u16,
        bytes,
        messages,
        users,
        uid: known_uid(perm.uid),
        cuid: known_uid(perm.cuid),
        cgid: known_gid(perm.cgid),
    })
}

/// Removes a set: semctl(2) `IPC_RMID`. Processes that wait for it get `EIDRM`.
///
/// # Errors
/// `EINVAL` and `EIDRM` if there is no such set, `EPERM` for anyone except its owner, its creator and root.
pub(crate) fn remove_semaphore_set(id: i32) -> Result<(), Errno> {
    // SAFETY: IPC_RMID does not access our memory.
    let result = Errno::result(unsafe { libc::semctl(id, 0, libc::IPC_RMID) });
    trace::returned(&result, |f| write!(f, "semctl({id}, 0, IPC_RMID)"));
    result.map(drop)
}

/// Removes a queue and its messages: msgctl(2) `IPC_RMID`. Processes that wait for it get `EIDRM`.
///
/// # Errors
/// Those of [`remove_semaphore_set`].
pub(crate) fn remove_queue(id: i32) -> Result<(), Errno> {
    // SAFETY: IPC_RMID does not access our memory.
    let result = Errno::result(unsafe { libc::msgctl(id, libc::IPC_RMID, ptr::null_mut()) });
    trace::returned(&result, |f| write!(f, "msgctl({id}, IPC_RMID, NULL)"));
    result.map(drop)
}

/// Returns the last process that operated on each of the first `limit` semaphores of a set: semctl(2) `GETPID`.
/// Processes that are not visible are left out. Returns no process if the set may not be read.
pub(crate) fn users_of_semaphores(set: &SemaphoreSet, limit: i32) -> Vec<i32> {
    let all = i32::try_from(set.nsems).unwrap_or(i32::MAX).min(limit);
    // SAFETY: GETPID does not access our memory.
    let pid = |semaphore| unsafe { libc::semctl(set.id, semaphore, libc::GETPID) };
    (0..all).map(pid).filter(|pid| *pid > 0).collect()
}

/// Returns the highest index in use, and the number of sets.
fn used_by_sets() -> Option<(i32, usize)> {
    // struct seminfo (include/uapi/linux/sem.h); semusz is the number of sets.
    let mut info = [0_i32; 10];
    // SAFETY: SEM_INFO writes one seminfo through the pointer, which consists of ten numbers, like `info`.
    let highest = unsafe { libc::semctl(0, 0, libc::SEM_INFO, info.as_mut_ptr()) };
    Some((highest, usize::try_from(info[7]).ok()?)).filter(|_| highest >= 0)
}

/// Returns the highest index in use, and the number of queues.
fn used_by_queues() -> Option<(i32, usize)> {
    // struct msginfo (include/uapi/linux/msg.h): seven numbers and one of 16 bits; msgpool is the number of queues.
    let mut info = [0_i32; 8];
    // SAFETY: MSG_INFO writes one msginfo through the pointer, whatever its type; `info` has room for it.
    let highest = unsafe { libc::msgctl(0, libc::MSG_INFO, info.as_mut_ptr().cast()) };
    Some((highest, usize::try_from(info[0]).ok()?)).filter(|_| highest >= 0)
}

/// struct ipc64_perm (include/uapi/asm-generic/ipcbuf.h). The C libraries use different names for its fields.
#[derive(Debug, Clone, Copy, Default)]
#[repr(C)]
struct Permissions {
    key: i32,
    uid: u32,
    gid: u32,
    cuid: u32,
    cgid: u32,
    mode: u32,
    seq: u16,
    pad: u16,
    unused: [u64; 2],
}

/// struct semid64_ds (arch/x86/include/uapi/asm/sembuf.h, include/uapi/asm-generic/sembuf.h).
#[derive(Debug, Clone, Copy, Default)]
#[repr(C)]
struct SetStatus {
    perm: Permissions,
    otime: i64,
    #[cfg(target_arch = "x86_64")]
    unused1: u64,
    ctime: i64,
    #[cfg(target_arch = "x86_64")]
    unused2: u64,
    nsems: u64,
    unused3: [u64; 2],
}

/// struct msqid64_ds (include/uapi/asm-generic/msgbuf.h).
#[derive(Debug, Clone, Copy, Default)]
#[repr(C)]
struct QueueStatus {
    perm: Permissions,
    stime: i64,
    rtime: i64,
    ctime: i64,
    bytes: u64,
    messages: u64,
    most_bytes: u64,
    users: [i32; 2],
    unused: [u64; 2],
}

/// Returns the objects at all indices; `None` if the kernel does not support it.
fn by_index<T>(used: Option<(i32, usize)>, at: impl Fn(i32) -> Result<T, Errno>) -> Option<Vec<T>> {
    let (highest, count) = used?;
    let mut found = Vec::new();
    for index in 0..=highest {
        match at(index) {
            Ok(object) => found.push(object),
            Err(Errno::EINVAL | Errno::EIDRM) => {}
            Err(_) => return None,
        }
    }
    // A kernel that does not know the command returns EINVAL for every index.
    (count == 0 || !found.is_empty()).then_some(found)
}

/// A row of a table, split into fields.
struct Row<'a>(Vec<&'a str>);

impl Row<'_> {
    fn number<T: std::str::FromStr>(&self, index: usize) -> Option<T> {
        self.0.get(index)?.parse().ok()
    }

    fn key(&self) -> Option<Key> {
        self.number(0).map(Key::from_raw)
    }

    fn mode(&self) -> Option<u16> {
        u16::from_str_radix(self.0.get(2)?, 8).ok()
    }
}

/// Returns the rows of a kernel table. A file without even the header line is another file, mounted over the table.
fn rows<T>(path: &str, parse: impl Fn(&Row<'_>) -> Option<T>) -> io::Result<Vec<T>> {
    let invalid = |what: &str| io::Error::new(io::ErrorKind::InvalidData, format!("{path} {what}"));
    let mut lines = BufReader::new(File::open(path)?).lines();
    if !lines.next().transpose()?.is_some_and(|titles| titles.trim_start().starts_with("key")) {
        return Err(invalid("is not the kernel's table"));
    }
    lines
        .map(|line| {
            let line = line?;
            parse(&Row(line.split_ascii_whitespace().collect())).ok_or_else(|| invalid("has a row in another form"))
        })
        .collect()
}
