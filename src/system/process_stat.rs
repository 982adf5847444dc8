//! `/proc/PID/stat` (proc_pid_stat(5)). The kernel writes it without waiting for the process.

use std::fs;
use std::io;
use std::path::Path;

/// Flag of kernel threads (include/linux/sched.h).
const PF_KTHREAD: u64 = 0x0020_0000;

/// The fields of the file that we use.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Stat {
    /// The name of the program, unescaped: the process can choose any bytes.
    pub comm: Vec<u8>,
    state: u8,
    flags: u64,
    /// Start time in ticks since the boot.
    pub started: u64,
}

impl Stat {
    /// Reads `/proc/PID/stat`.
    ///
    /// # Errors
    /// `NotFound` if there is no such process, or if /proc hides it.
    pub(super) fn read(pid: i32) -> io::Result<Stat> {
        Stat::read_file(Path::new(&format!("/proc/{pid}/stat")))
    }

    /// Reads the `stat` file of a process or a thread.
    pub(super) fn read_file(path: &Path) -> io::Result<Stat> {
        Stat::parse(&fs::read(path)?).ok_or_else(|| io::ErrorKind::InvalidData.into())
    }

    /// Reads the `stat` file of a thread of this process.
    ///
    /// # Errors
    /// `NotFound` if there is no such thread.
    pub(super) fn of_thread(tid: i32) -> io::Result<Stat> {
        Stat::read_file(Path::new(&format!("/proc/self/task/{tid}/stat")))
    }

    /// Returns whether the process or thread is a zombie.
    pub(super) fn has_ended(&self) -> bool {
        matches!(self.state, b'Z' | b'X')
    }

    /// Returns whether it sleeps, interruptibly or not.
    pub(super) fn is_waiting(&self) -> bool {
        matches!(self.state, b'S' | b'D')
    }

    /// Returns whether it is a kernel thread, which has no address space.
    pub(super) fn is_kernel_thread(&self) -> bool {
        self.flags & PF_KTHREAD != 0
    }

    /// Parses `PID (COMM) STATE PPID …`. The name can contain parentheses and spaces.
    fn parse(line: &[u8]) -> Option<Stat> {
        let open = line.iter().position(|byte| *byte == b'(')?;
        let close = line.iter().rposition(|byte| *byte == b')')?;
        let rest = str::from_utf8(line.get(close + 1..)?).ok()?;
        // The state is field 3, and the first in `rest`.
        let field = |number: usize| rest.split_ascii_whitespace().nth(number - 3);
        Some(Stat {
            comm: line.get(open + 1..close)?.into(),
            state: *field(3)?.as_bytes().first()?,
            flags: field(9)?.parse().ok()?,
            started: field(22)?.parse().ok()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_can_be_any_bytes() {
        for name in [&b"sh"[..], b"a) R 1 (b", b"", b"\xff\n"] {
            let fields = "S 1 1 1 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 18446744073709551000 1 2\n";
            let line = [b"7 (", name, b") ", fields.as_bytes()].concat();
            let stat = Stat { comm: name.into(), state: b'S', flags: 4_194_560, started: 18_446_744_073_709_551_000 };
            assert_eq!(Stat::parse(&line), Some(stat));
        }
        for line in [&b""[..], b"1 (", b"1 (x) S 1"] {
            assert_eq!(Stat::parse(line), None);
        }
    }
}
