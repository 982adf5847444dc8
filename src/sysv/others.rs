//! Semaphore sets and message queues: which there are, and their removal.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::ptr;

use nix::errno::Errno;

use super::trace;
use crate::values::Key;

/// Linux's value (include/uapi/linux/msg.h), which libc does not have.
const MSG_STAT_ANY: libc::c_int = 13;
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
    /// How many semaphores it has.
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
    /// Bytes of all its messages.
    pub bytes: u64,
    /// How many messages it has.
    pub messages: u64,
    /// Who sent last, and who received last; 0 is nobody, or a process that cannot be seen from this pid namespace.
    pub users: [i32; 2],
    /// Owner.
    pub uid: u32,
    /// Creator.
    pub cuid: u32,
    /// Creator's group.
    pub cgid: u32,
}

/// All semaphore sets of the namespace: `/proc/sysvipc/sem` (proc_sysvipc_sem(5)), or semctl(2) where it cannot be read.
///
/// # Errors
/// Those of the file, where semctl(2) does not know `SEM_STAT_ANY` (before Linux 4.17) or may not be called. `ENOSYS` of a
/// kernel without System V IPC is none: there are no sets then.
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

/// All message queues of the namespace: `/proc/sysvipc/msg` (proc_sysvipc_msg(5)), or msgctl(2).
///
/// # Errors
/// As of [`semaphore_sets`].
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

/// semctl(2) `SEM_STAT_ANY`: the set at an index, which the low bits of an identifier are. Needs no permission.
///
/// # Errors
/// `EINVAL` where there is none, and before Linux 4.17.
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
        uid: perm.uid,
        cuid: perm.cuid,
        cgid: perm.cgid,
    })
}

/// msgctl(2) `MSG_STAT_ANY`: the queue at an index, which the low bits of an identifier are. Needs no permission.
///
/// # Errors
/// `EINVAL` where there is none, and before Linux 4.17.
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
        uid: perm.uid,
        cuid: perm.cuid,
        cgid: perm.cgid,
    })
}

/// semctl(2) `IPC_RMID`: removes a set. Processes that wait for it get `EIDRM`.
///
/// # Errors
/// `EINVAL` and `EIDRM` where there is no such set, `EPERM` for others than its owner, its creator and root.
pub(crate) fn remove_semaphore_set(id: i32) -> Result<(), Errno> {
    // SAFETY: IPC_RMID reads and writes no memory of ours.
    let result = Errno::result(unsafe { libc::semctl(id, 0, libc::IPC_RMID) });
    trace::returned(&result, |f| write!(f, "semctl({id}, 0, IPC_RMID)"));
    result.map(drop)
}

/// msgctl(2) `IPC_RMID`: removes a queue and its messages. Processes that wait for it get `EIDRM`.
///
/// # Errors
/// As of [`remove_semaphore_set`].
pub(crate) fn remove_queue(id: i32) -> Result<(), Errno> {
    // SAFETY: IPC_RMID reads and writes no memory of ours.
    let result = Errno::result(unsafe { libc::msgctl(id, libc::IPC_RMID, ptr::null_mut()) });
    trace::returned(&result, |f| write!(f, "msgctl({id}, IPC_RMID, NULL)"));
    result.map(drop)
}

/// semctl(2) `GETPID`: the processes that operated last on each semaphore of a set, without those that cannot be seen.
/// Empty where the set may not be read. Looks at `most` semaphores.
pub(crate) fn users_of_semaphores(set: &SemaphoreSet, most: i32) -> Vec<i32> {
    let all = i32::try_from(set.nsems).unwrap_or(i32::MAX).min(most);
    // SAFETY: GETPID reads and writes no memory of ours.
    let pid = |semaphore| unsafe { libc::semctl(set.id, semaphore, libc::GETPID) };
    (0..all).map(pid).filter(|pid| *pid > 0).collect()
}

/// The highest index in use, and how many sets there are.
fn used_by_sets() -> Option<(i32, usize)> {
    // struct seminfo (include/uapi/linux/sem.h); semusz is the number of sets.
    let mut info = [0_i32; 10];
    // SAFETY: SEM_INFO writes one seminfo through the pointer, which is ten numbers as `info` is.
    let highest = unsafe { libc::semctl(0, 0, libc::SEM_INFO, info.as_mut_ptr()) };
    Some((highest, usize::try_from(info[7]).ok()?)).filter(|_| highest >= 0)
}

/// The highest index in use, and how many queues there are.
fn used_by_queues() -> Option<(i32, usize)> {
    // struct msginfo (include/uapi/linux/msg.h), which ends with a number of 16 bits; msgpool is the number of queues.
    let mut info = [0_i32; 8];
    // SAFETY: MSG_INFO writes one msginfo through the pointer, whatever its type; `info` has room for it.
    let highest = unsafe { libc::msgctl(0, libc::MSG_INFO, info.as_mut_ptr().cast()) };
    Some((highest, usize::try_from(info[0]).ok()?)).filter(|_| highest >= 0)
}

/// struct ipc64_perm (include/uapi/asm-generic/ipcbuf.h). The C libraries name its fields differently.
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

/// The objects at all indices; `None` where the kernel does not tell.
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
    // A kernel that does not know the command says EINVAL to all.
    (count == 0 || !found.is_empty()).then_some(found)
}

/// A row of a table, in fields.
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

/// The rows of a table of the kernel. A table that has not even its line of titles is masked by another file.
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
