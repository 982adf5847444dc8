//! Which segments a process has attached.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader};

use crate::sysv::{KernelMounts, Mapping, ShmId};

/// The segments of this IPC namespace that a process has attached; none where there is no such process.
///
/// Read from its memory map. The same identifier in another IPC namespace is another segment, so a process of another
/// one has none. Errors: `PermissionDenied` for another user's process.
pub fn of_process(pid: i32) -> io::Result<HashSet<ShmId>> {
    match attached(pid) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(HashSet::new()),
        // What maps(5) says of a process that ends meanwhile.
        Err(error) if error.raw_os_error() == Some(libc::ESRCH) => Ok(HashSet::new()),
        result => result,
    }
}

fn attached(pid: i32) -> io::Result<HashSet<ShmId>> {
    if fs::read_link(format!("/proc/{pid}/ns/ipc"))? != fs::read_link("/proc/thread-self/ns/ipc")? {
        return Ok(HashSet::new());
    }
    let kernel = KernelMounts::learn()?;
    let mut maps = BufReader::new(File::open(format!("/proc/{pid}/maps"))?);
    let (mut line, mut segments) = (Vec::new(), HashSet::new());
    while maps.read_until(b'\n', &mut line)? > 0 {
        segments.extend(Mapping::from_line(line.trim_ascii_end()).and_then(|mapping| mapping.segment(&kernel)));
        line.clear();
    }
    Ok(segments)
}
