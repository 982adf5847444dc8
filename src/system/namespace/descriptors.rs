//! The open files of IPC namespaces.

use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::ffi::CStr;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Mutex, PoisonError};

use nix::unistd::Pid;
use rustix::fs::{CWD, Mode, OFlags, RawDir, fstat, openat, readlinkat};

use super::identity::Identity;
use super::keeper::{Keeper, Keepers, inode};
use crate::linux::compare_files;
use crate::system::budget::Budget;
use crate::system::foreign_file::{CachedStatus, find_by_link};

/// The size of the buffer for names in bytes. The kernel allocates memory for each name that it returns: about 1 KiB.
const READ_AT_ONCE: usize = 2048;

/// The number of open files from which on it is checked whether a table was read before.
const LARGE: i64 = 1024;

/// Finds open descriptors of IPC namespaces, and reads each large table of open files only once: many processes can share
/// one (clone(2) with `CLONE_FILES`).
#[derive(Debug)]
pub(super) struct Descriptors {
    /// A process of each large table that was read, in the kernel's order of the tables.
    seen: Mutex<Vec<i32>>,
    /// In descriptors.
    budget: Budget,
}

impl Default for Descriptors {
    fn default() -> Descriptors {
        Descriptors { seen: Mutex::default(), budget: Budget::new(64, 1 << 14, 1 << 16) }
    }
}

impl Descriptors {
    /// Finds a process's descriptors. Returns whether all were read.
    ///
    /// # Errors
    /// Those of reading the directory.
    pub(super) fn of_process(&self, pid: i32, found: &Keepers) -> io::Result<bool> {
        let path = format!("/proc/{pid}/fd");
        let directory = openat(CWD, path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        // The size is the number of open files, since Linux 6.2.
        if fstat(&directory).is_ok_and(|directory| directory.st_size >= LARGE) && self.was_read(pid) {
            return Ok(true);
        }
        let (mut share, mut known) = (self.budget.share(pid), BTreeSet::new());
        let mut names = [MaybeUninit::uninit(); READ_AT_ONCE];
        let mut entries = RawDir::new(&directory, &mut names);
        while let Some(entry) = entries.next() {
            let entry = entry?;
            // Not `.` and `..`.
            let Some(number) = entry.file_name().to_str().ok().and_then(|name| name.parse().ok()) else { continue };
            if !share.take(1) {
                return Ok(false);
            }
            // One descriptor of each namespace is enough.
            if let Some(inode) = linked(directory.as_fd(), entry.file_name())
                && !known.contains(&inode)
                && let Some((identity, keeper)) = descriptor(pid, number, inode)
            {
                known.insert(inode);
                found.add(identity, keeper);
            }
        }
        Ok(true)
    }

    /// Returns whether the table of a process was read before, and otherwise remembers it.
    fn was_read(&self, pid: i32) -> bool {
        let lock = || self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        // Compared without the lock, because kcmp(2) waits for a process that is stuck in execve(2).
        let seen = lock().clone();
        let compare = |other: &i32| compare_files(Pid::from_raw(*other), Pid::from_raw(pid)).unwrap_or(Ordering::Less);
        let Err(place) = seen.binary_search_by(compare) else { return true };
        let mut seen = lock();
        let place = place.min(seen.len());
        seen.insert(place, pid);
        false
    }
}

/// Returns the inode of the IPC namespace that a descriptor seems to refer to.
fn linked(directory: BorrowedFd<'_>, name: &CStr) -> Option<u64> {
    inode(readlinkat(directory, name, Vec::new()).ok()?.as_bytes())
}

fn descriptor(pid: i32, number: u32, inode: u64) -> Option<(Identity, Keeper)> {
    // The descriptor may be another file by now.
    let status = CachedStatus::of(find_by_link(&format!("/proc/{pid}/fd/{number}")).ok()?).ok()?;
    (status.inode == inode).then(|| (Identity::from(status), Keeper::Descriptor { pid, number }))
}
