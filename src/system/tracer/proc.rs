//! Reading the files of a process in /proc, with limits.

use std::fs::File;
use std::io::{self, Read};

/// The maximum number of bytes read of a command line.
const MAX_COMMAND_BYTES: u64 = 4 << 10;
/// The maximum number of bytes read of any other file in /proc, by default.
pub(super) const MAX_FILE_BYTES: u64 = 64 << 10;

/// Returns the words of a process's command line. If it has none, its name in brackets.
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

/// Reads at most `limit` bytes of a file in /proc.
pub(super) fn read(pid: i32, name: &str, limit: u64) -> io::Result<Vec<u8>> {
    // With room for all of a small file, one read returns it and a second one finds the end.
    let mut contents = Vec::with_capacity(8 << 10);
    File::open(format!("/proc/{pid}/{name}"))?.take(limit).read_to_end(&mut contents)?;
    Ok(contents)
}
