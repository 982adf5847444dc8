//! The command line of a process, word by word.

use crate::system::proc_file::read;

/// The maximum number of bytes read of a command line.
const MAX_COMMAND_BYTES: u64 = 4 << 10;

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
