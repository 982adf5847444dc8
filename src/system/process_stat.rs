//! `/proc/PID/stat` (proc_pid_stat(5)). Since Linux 6.18 at the latest, reading it blocks if the process is stuck in
//! execve(2): see [`super::patience`].

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// Flag of kernel threads (include/linux/sched.h).
const PF_KTHREAD: u64 = 0x0020_0000;

/// The maximum number of bytes read. The kernel writes 52 numbers and a name.
const MAX_BYTES: u64 = 4096;

/// The fields of the file that we use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stat {
    /// The name of the program, unescaped: the process can choose any bytes.
    pub comm: Vec<u8>,
    state: u8,
    /// Its parent's pid.
    pub parent: i32,
    flags: u64,
    /// Start time in ticks since the boot.
    pub started: u64,
    /// The address range of the command line in its memory, which changes with each exec; 0 if it is not shown.
    pub arguments: (u64, u64),
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
        // With room for all of it, one read returns it and a second one finds the end.
        let mut line = Vec::with_capacity(1024);
        File::open(path)?.take(MAX_BYTES).read_to_end(&mut line)?;
        Stat::parse(&line).ok_or_else(|| io::ErrorKind::InvalidData.into())
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

    /// Returns whether a signal or a debugger has stopped it.
    pub(super) fn is_stopped(&self) -> bool {
        matches!(self.state, b'T' | b't')
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
        // The rest begins with field 3. `nth` skips to the fields 9, 22 and 48.
        let mut fields = rest.split_ascii_whitespace();
        let (state, parent) = (fields.next()?, fields.next()?);
        let (flags, started) = (fields.nth(4)?, fields.nth(12)?);
        let (from, to) = (fields.nth(25), fields.next());
        let address = |field: Option<&str>| field.and_then(|field| field.parse().ok()).unwrap_or(0);
        Some(Stat {
            comm: line.get(open + 1..close)?.into(),
            state: *state.as_bytes().first()?,
            parent: parent.parse().ok()?,
            flags: flags.parse().ok()?,
            started: started.parse().ok()?,
            arguments: (address(from), address(to)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_can_be_any_bytes() {
        for name in [&b"sh"[..], b"a) R 1 (b", b"", b"\xff\n"] {
            let fields = "S 6 1 1 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 18446744073709551000 1 2";
            let line = [b"7 (", name, b") ", fields.as_bytes(), b"\n"].concat();
            let stat = Stat {
                comm: name.into(),
                state: b'S',
                parent: 6,
                flags: 4_194_560,
                started: 18_446_744_073_709_551_000,
                arguments: (0, 0),
            };
            assert_eq!(Stat::parse(&line), Some(stat.clone()));
            // The fields 25 to 47, and the two addresses.
            let line = [b"7 (", name, b") ", fields.as_bytes(), " 3".repeat(23).as_bytes(), b" 48 49 50\n"].concat();
            assert_eq!(Stat::parse(&line), Some(Stat { arguments: (48, 49), ..stat }));
        }
        for line in [&b""[..], b"1 (", b"1 (x) S 1"] {
            assert_eq!(Stat::parse(line), None);
        }
    }
}
