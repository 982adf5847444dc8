//! The records that the kernel writes into a ring (perf_event_open(2), "MMAP layout"), limited to those that shmadm
//! requests.

use super::ids::{Call, Ids, Point};

/// perf_event_open(2): marks a `PERF_RECORD_COMM` that results from execve(2).
const MISC_COMM_EXEC: u16 = 1 << 13;

// include/uapi/linux/perf_event.h: `enum perf_event_type`.
const LOST: u32 = 2;
const COMM: u32 = 3;
const EXIT: u32 = 4;
const FORK: u32 = 7;
const SAMPLE: u32 = 9;
const NAMESPACES: u32 = 16;

/// The index of the IPC namespace in a `PERF_RECORD_NAMESPACES` (`IPC_NS_INDEX`).
const IPC: usize = 2;

/// An event of a thread. Pids and thread ids are those of our own pid namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Record {
    /// The time, in nanoseconds of CLOCK_MONOTONIC.
    pub time: u64,
    /// The process.
    pub pid: i32,
    /// Its thread.
    pub tid: i32,
    /// The action of the thread.
    pub action: Action,
}

/// An action of a thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    /// It starts a call with these arguments. Arguments that the call does not have are meaningless.
    Enter(Call, [u64; 3]),
    /// The call returned this value: a result, or a negative errno.
    Return(Call, i64),
    /// It was created by this thread of this process.
    Forked { parent: i32, parent_thread: i32 },
    /// It created a thread or process with these flags of clone(2). This record follows the `Forked` of the new thread
    /// directly.
    Cloned(u64),
    /// It exited.
    Ended,
    /// It has this name now.
    Named([u8; 16]),
    /// It executes another program, and has this name now.
    Executed([u8; 16]),
    /// Its IPC namespace has this inode.
    Namespace(u64),
    /// The ring was full: this number of records is missing before this one.
    Lost(u64),
}

impl Record {
    /// Parses a record without its header; `None` for other types of records, and for those of threads that are not
    /// visible: in a pid namespace below the first one, all threads outside have the same number.
    pub(super) fn parse(kind: u32, misc: u16, body: &[u8], ids: &Ids) -> Option<Record> {
        let record = Record::of_any_thread(kind, misc, body, ids)?;
        (record.tid > 0 || matches!(record.action, Action::Lost(_))).then_some(record)
    }

    fn of_any_thread(kind: u32, misc: u16, body: &[u8], ids: &Ids) -> Option<Record> {
        let mut fields = Fields(body);
        if kind == SAMPLE {
            // sample_type is TID | TIME | RAW.
            let (pid, tid, time) = (fields.i32()?, fields.i32()?, fields.u64()?);
            let length = fields.u32()?;
            let action = sample(Fields(fields.take(length as usize)?), ids)?;
            return Some(Record { time, pid, tid, action });
        }
        // sample_id_all: TID and TIME are at the end.
        let (body, mut trailer) = body.split_at_checked(body.len().checked_sub(16)?).map(|(a, b)| (a, Fields(b)))?;
        let (own_pid, own_tid, time) = (trailer.i32()?, trailer.i32()?, trailer.u64()?);
        let mut fields = Fields(body);
        let (pid, tid, action) = match kind {
            LOST => {
                let _id = fields.u64()?;
                (own_pid, own_tid, Action::Lost(fields.u64()?))
            }
            FORK | EXIT => {
                let (pid, parent, tid, parent_thread) = (fields.i32()?, fields.i32()?, fields.i32()?, fields.i32()?);
                let action = if kind == FORK { Action::Forked { parent, parent_thread } } else { Action::Ended };
                (pid, tid, action)
            }
            COMM => {
                let (pid, tid) = (fields.i32()?, fields.i32()?);
                let mut name = [0; 16];
                let length = fields.0.len().min(15);
                name[..length].copy_from_slice(&fields.0[..length]);
                let is_exec = misc & MISC_COMM_EXEC != 0;
                (pid, tid, if is_exec { Action::Executed(name) } else { Action::Named(name) })
            }
            NAMESPACES => {
                let (pid, tid) = (fields.i32()?, fields.i32()?);
                let count = fields.u64()?;
                // Each namespace has a device and an inode, of 8 bytes each.
                fields.take(IPC * 16 + 8).filter(|_| count > IPC as u64)?;
                (pid, tid, Action::Namespace(fields.u64()?))
            }
            _ => return None,
        };
        Some(Record { time, pid, tid, action })
    }
}

/// Parses a tracepoint's fields. Their offsets are in `events/*/*/format` of tracefs. For system calls the kernel
/// writes a `struct syscall_trace_enter` or `syscall_trace_exit` (kernel/trace/trace.h).
fn sample(mut raw: Fields<'_>, ids: &Ids) -> Option<Action> {
    let point = ids.point(u64::from(raw.u16()?))?;
    // The other common fields: flags, preemption count, pid.
    raw.take(6)?;
    Some(match point {
        Point::Enter(call) => {
            raw.take(8)?;
            // A call with fewer arguments has a shorter record.
            let mut argument = || raw.u64().unwrap_or(0);
            Action::Enter(call, [argument(), argument(), argument()])
        }
        Point::Return(call) => {
            raw.take(8)?;
            Action::Return(call, raw.u64()?.cast_signed())
        }
        Point::NewTask => {
            // pid, comm, padding.
            raw.take(24)?;
            Action::Cloned(raw.u64()?)
        }
        Point::Execute => return None,
    })
}

/// Bytes that are read from the front, in native byte order.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn bytes<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    fn u16(&mut self) -> Option<u16> {
        self.bytes().map(u16::from_ne_bytes)
    }

    fn u32(&mut self) -> Option<u32> {
        self.bytes().map(u32::from_ne_bytes)
    }

    fn i32(&mut self) -> Option<i32> {
        self.bytes().map(i32::from_ne_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.bytes().map(u64::from_ne_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(words: &[u32]) -> Vec<u8> {
        words.iter().flat_map(|word| word.to_ne_bytes()).collect()
    }

    /// TID and TIME, which end a record that is not a sample.
    const TRAILER: [u32; 4] = [7, 8, 99, 0];

    #[test]
    fn records_of_tasks() {
        let parse = |kind, misc, words: &[u32]| {
            Record::parse(kind, misc, &bytes(&[words, &TRAILER].concat()), &Ids::numbered_from(100))
        };
        let record = |pid, tid, action| Some(Record { time: 99, pid, tid, action });
        let fork = Action::Forked { parent: 2, parent_thread: 4 };
        assert_eq!(parse(FORK, 0, &[1, 2, 3, 4, 98, 0]), record(1, 3, fork));
        assert_eq!(parse(EXIT, 0, &[1, 2, 3, 4, 98, 0]), record(1, 3, Action::Ended));
        assert_eq!(parse(LOST, 0, &[5, 0, 6, 0]), record(7, 8, Action::Lost(6)));
        let name = *b"cat\0\0\0\0\0\0\0\0\0\0\0\0\0";
        let cat = [1, 3, u32::from_ne_bytes(*b"cat\0"), 0];
        assert_eq!(parse(COMM, 0, &cat), record(1, 3, Action::Named(name)));
        assert_eq!(parse(COMM, MISC_COMM_EXEC, &cat), record(1, 3, Action::Executed(name)));
        let namespaces: Vec<u32> = [1, 3, 7, 0].into_iter().chain((0..7).flat_map(|n| [0, 0, 40 + n, 0])).collect();
        assert_eq!(parse(NAMESPACES, 0, &namespaces), record(1, 3, Action::Namespace(42)));
        // A thread that is not visible has no number, but its losses are ours.
        assert_eq!(parse(FORK, 0, &[0, 2, 0, 4, 98, 0]), None);
        // Records of another type, and truncated records.
        assert_eq!(parse(1, 0, &[1, 2, 3, 4]), None);
        assert_eq!(parse(FORK, 0, &[1, 2, 3]), None);
        assert_eq!(parse(NAMESPACES, 0, &namespaces[..8]), None);
        assert_eq!(Record::parse(FORK, 0, &[1, 2], &Ids::numbered_from(100)), None);
    }

    #[test]
    fn samples() {
        let parse = |raw: &[u32]| {
            let length = u32::try_from(raw.len() * 4).unwrap();
            let words = [&[7, 8, 99, 0, length][..], raw].concat();
            Record::parse(SAMPLE, 0, &bytes(&words), &Ids::numbered_from(100))
        };
        let record = |action| Some(Record { time: 99, pid: 7, tid: 8, action });
        // The upper half of the word with common_type contains flags.
        let enter = [100, 8, 29, 0, 1, 0, 2, 0, 3, 0];
        assert_eq!(parse(&enter), record(Action::Enter(Call::Get, [1, 2, 3])));
        let exit = [101, 8, 29, 0, (-22_i32).cast_unsigned(), u32::MAX];
        assert_eq!(parse(&exit), record(Action::Return(Call::Get, -22)));
        assert_eq!(parse(&[104, 8, 67, 0, 5, 0]), record(Action::Enter(Call::Detach, [5, 0, 0])));
        assert_eq!(parse(&[108, 8, 9, 0, 0, 0, 0, 0, 0x100, 0, 0, 0]), record(Action::Cloned(0x100)));
        assert_eq!(parse(&[99, 8, 29, 0, 1, 0]), None, "another tracepoint");
        assert_eq!(parse(&exit[..3]), None);
    }
}
