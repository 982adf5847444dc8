//! The mounts of IPC namespaces that processes see (proc_pid_mountinfo(5)).

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use memchr::memmem;
use nix::time::{ClockId, clock_gettime};
use rustix::fs::makedev;

use super::identity::Identity;
use super::keeper::{Keeper, Keepers, inode};
use crate::system::budget::Budget;
use crate::values::unescaped_path;

/// The maximum number of bytes of a line of a list of mounts. A longer path than this cannot be opened.
const MAX_LINE: u64 = 32 << 10;
/// The kernel prepares as many lines as are read at once, and a line can take it milliseconds.
const READ_AT_ONCE: usize = 2048;
/// The processor time that counts as much as a byte. The kernel needs less, except for mounts on top of each other: for
/// each line it follows all mounts below.
const NANOSECONDS_PER_BYTE: u64 = 20;
/// Finds mounts of IPC namespaces, and reads each mount namespace only once.
#[derive(Debug)]
pub(super) struct Mounts {
    seen: Mutex<BTreeSet<u64>>,
    /// In bytes.
    budget: Budget,
}

impl Default for Mounts {
    fn default() -> Mounts {
        Mounts { seen: Mutex::default(), budget: Budget::new(64 << 10, 2 << 20, 8 << 20) }
    }
}

impl Mounts {
    /// Finds the mounts that a process sees, unless another process in the same mount namespace was read before. Returns
    /// whether all were read.
    ///
    /// # Errors
    /// Those of reading /proc.
    pub(super) fn of_process(&self, pid: i32, found: &Keepers) -> io::Result<bool> {
        let mount_namespace = fs::metadata(format!("/proc/{pid}/ns/mnt"))?.ino();
        let seen = || self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if !seen().insert(mount_namespace) {
            return Ok(true);
        }
        self.read(pid, found).inspect_err(|_| {
            // Another process in the mount namespace may still show them.
            seen().remove(&mount_namespace);
        })
    }

    fn read(&self, pid: i32, found: &Keepers) -> io::Result<bool> {
        let file = File::open(format!("/proc/{pid}/mountinfo"))?;
        let mut reader = BufReader::with_capacity(READ_AT_ONCE, file);
        let (mut share, mut line) = (self.budget.share(pid), Vec::new());
        let mut before = processor_time();
        loop {
            line.clear();
            let length = reader.by_ref().take(MAX_LINE).read_until(b'\n', &mut line)? as u64;
            let now = processor_time();
            let cost = length.max(now.saturating_sub(before) / NANOSECONDS_PER_BYTE);
            before = now;
            if length == 0 {
                return Ok(true);
            }
            if let Some((identity, path)) = mount(&line) {
                found.add(identity, Keeper::Mount { pid, path });
            }
            if line.last() != Some(&b'\n') || !share.take(cost) {
                return Ok(false);
            }
        }
    }
}

/// Returns the processor time of this thread in nanoseconds.
fn processor_time() -> u64 {
    let time = clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map_or(Duration::ZERO, Duration::from);
    time.as_nanos() as u64
}

/// Parses `607 23 0:4 ipc:[4026532205] /run/kept rw shared:9 - nsfs nsfs rw` (proc_pid_mountinfo(5)).
fn mount(line: &[u8]) -> Option<(Identity, PathBuf)> {
    memmem::find(line, b" - nsfs ")?;
    let mut words = line.split(|byte| *byte == b' ').skip(2);
    let (device, root, path) = (words.next()?, words.next()?, words.next()?);
    let (major, minor) = str::from_utf8(device).ok()?.split_once(':')?;
    let device = makedev(major.parse().ok()?, minor.parse().ok()?);
    Some((Identity::new(inode(root)?, device), unescaped_path(path)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_mounts_of_ipc_namespaces_are_taken() {
        let identity = Identity::new(4_026_532_205, makedev(0, 4));
        for (line, found) in [
            ("607 23 0:4 ipc:[4026532205] /run/kept rw shared:9 - nsfs nsfs rw", Some("/run/kept")),
            (r"607 23 0:4 ipc:[4026532205] /a\040b rw - nsfs nsfs rw", Some("/a b")),
            ("607 23 0:4 net:[4026532205] /run/kept rw shared:9 - nsfs nsfs rw", None),
            ("607 23 0:4 ipc:[4026532205] /run/kept rw shared:9 - tmpfs nsfs rw", None),
            ("607 23 0:4 ipc:[] /run/kept rw - nsfs nsfs rw", None),
            ("", None),
        ] {
            assert_eq!(mount(line.as_bytes()), found.map(|path| (identity, path.into())), "{line}");
        }
    }
}
