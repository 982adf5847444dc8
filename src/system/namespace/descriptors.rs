//! The open files of IPC namespaces.

use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::fs::{self, DirEntry};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::sync::{Mutex, PoisonError};

use nix::unistd::Pid;

use super::identity::Identity;
use super::keeper::{Keeper, Keepers, inode};
use crate::linux::compare_files;
use crate::system::budget::Budget;
use crate::system::foreign_file::{CachedStatus, find_by_link};

/// The number of open files from which on it is checked whether a table was read before.
const LARGE: u64 = 1024;

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
        Descriptors { seen: Mutex::default(), budget: Budget::new(256, 1 << 16, 1 << 17) }
    }
}

impl Descriptors {
    /// Finds a process's descriptors. Returns whether all were read.
    ///
    /// # Errors
    /// Those of reading the directory.
    pub(super) fn of_process(&self, pid: i32, found: &Keepers) -> io::Result<bool> {
        let path = format!("/proc/{pid}/fd");
        // The size is the number of open files, since Linux 6.2.
        if fs::metadata(&path).is_ok_and(|directory| directory.len() >= LARGE) && self.was_read(pid) {
            return Ok(true);
        }
        let (mut share, mut known) = (self.budget.share(pid), BTreeSet::new());
        for entry in fs::read_dir(path)? {
            let entry = entry?;
            if !share.take(1) {
                return Ok(false);
            }
            // One descriptor of each namespace is enough.
            if let Some(inode) = linked(&entry)
                && !known.contains(&inode)
                && let Some((identity, keeper)) = descriptor(pid, &entry, inode)
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
fn linked(entry: &DirEntry) -> Option<u64> {
    inode(fs::read_link(entry.path()).ok()?.as_os_str().as_bytes())
}

fn descriptor(pid: i32, entry: &DirEntry, inode: u64) -> Option<(Identity, Keeper)> {
    let number = entry.file_name().to_str()?.parse().ok()?;
    // The descriptor may be another file by now.
    let status = CachedStatus::of(find_by_link(entry.path().to_str()?).ok()?).ok()?;
    (status.inode == inode).then(|| (Identity::from(status), Keeper::Descriptor { pid, number }))
}
