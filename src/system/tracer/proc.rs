//! Reading the files of a process in /proc, with limits.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read};

/// The maximum number of bytes read of a command line.
const MAX_COMMAND_BYTES: u64 = 4 << 10;
/// The maximum number of bytes read of any other file in /proc, by default.
pub(super) const MAX_FILE_BYTES: u64 = 64 << 10;

/// The fields of `/proc/PID/stat` that we use (proc_pid_stat(5)).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stat {
    pub name: Vec<u8>,
    pub parent: i32,
    /// Whether it is a zombie.
    pub is_ended: bool,
    /// Whether a signal or a debugger has stopped it.
    pub is_stopped: bool,
    pub started: u64,
    /// The address range of the command line in its memory, which changes with each exec.
    pub arguments: (u64, u64),
}

pub(super) fn command(pid: i32, name: &[u8]) -> Vec<Vec<u8>> {
    let mut line = read(pid, "cmdline", MAX_COMMAND_BYTES).unwrap_or_default();
    while line.last() == Some(&0) {
        line.pop();
    }
    if line.is_empty() {
        return vec![[b"[", name, b"]"].concat()];
    }
    line.split(|byte| *byte == 0).map(<[u8]>::to_vec).collect()
}

/// Returns the process that a thread belongs to.
pub(super) fn process_of(tid: i32) -> Option<i32> {
    let status = read(tid, "status", MAX_FILE_BYTES).ok()?;
    let line = status.split(|byte| *byte == b'\n').find_map(|line| line.strip_prefix(b"Tgid:"))?;
    str::from_utf8(line).ok()?.trim().parse().ok()
}

pub(super) fn stat(pid: i32) -> Option<Stat> {
    let line = read(pid, "stat", MAX_FILE_BYTES).ok()?;
    // The name can contain any character, including parentheses: it ends at the last one.
    let open = line.iter().position(|byte| *byte == b'(')?;
    let close = line.iter().rposition(|byte| *byte == b')')?;
    let name = line.get(open + 1..close)?.to_vec();
    let rest = str::from_utf8(line.get(close + 1..)?).ok()?;
    // The first of these fields is field 3.
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

/// Reads at most `limit` bytes of a file in /proc.
pub(super) fn read(pid: i32, name: &str, limit: u64) -> io::Result<Vec<u8>> {
    // With room for all of a small file, one read returns it and a second one finds the end.
    let mut contents = Vec::with_capacity(8 << 10);
    let path = format!("/proc/{pid}/{name}");
    File::open(OsStr::new(&path))?.take(limit).read_to_end(&mut contents)?;
    Ok(contents)
}
