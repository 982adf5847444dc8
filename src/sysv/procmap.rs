//! The segments in other processes' address spaces, from their `/proc/PID/maps`.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::iter;
use std::ops::Range;

use memchr::memmem;
use nix::errno::Errno;
use rustix::fs::{AtFlags, CWD, StatxFlags, statx};

use super::maps::{KernelMounts, Mapping, Protection, SegmentMapping, segment_id};
use super::{Segment, ShmId};
use crate::linux::{FileMapping, mapping_at, next_shared_file};

/// Reads memory maps. Since Linux 6.11 `PROCMAP_QUERY` returns only shared file mappings. Before that, the kernel
/// prints all mappings as text.
#[derive(Debug)]
pub(crate) struct MapsReader {
    kernel: KernelMounts,
    can_query: bool,
}

impl MapsReader {
    /// Finds the kernel's mounts, and whether the kernel supports `PROCMAP_QUERY`.
    pub(crate) fn new() -> io::Result<MapsReader> {
        let kernel = KernelMounts::find()?;
        // ENOENT also proves support: this process has no such mapping.
        let probe = next_shared_file(&File::open("/proc/self/maps")?, 0);
        let can_query = matches!(probe, Ok(_) | Err(Errno::ENOENT));
        Ok(MapsReader { kernel, can_query })
    }

    /// Returns the mappings of shared files in an open `/proc/PID/maps`: a segment, or `None` for another file and for a
    /// segment that is not among those `wanted`. Before Linux 6.11, of all mappings.
    ///
    /// # Errors
    /// Those of reading the file. `ESRCH` if there is no address space: a zombie, a kernel thread, a process whose first
    /// thread has ended (then the file of another thread shows it), or the process has ended.
    pub(crate) fn shared_files<'a>(&'a self, maps: &'a File, wanted: Option<&'a BTreeSet<ShmId>>) -> SharedFiles<'a> {
        if self.can_query { Box::new(self.by_query(maps, wanted)) } else { Box::new(self.by_text(maps, wanted)) }
    }

    /// Returns the kernel's data about the file of a mapping: its inode, size and owner. A process cannot forge them.
    ///
    /// # Errors
    /// `PermissionDenied` without CAP_CHECKPOINT_RESTORE or CAP_SYS_ADMIN in the initial user namespace; `NotFound` if
    /// the mapping has changed; `InvalidData` if the file is not on one of the kernel's internal mounts.
    pub(crate) fn file(&self, pid: i32, range: &Range<u64>) -> io::Result<SegmentFile> {
        let path = format!("/proc/{pid}/map_files/{:x}-{:x}", range.start, range.end);
        // By now another file may be mapped there, whose file system does not answer. It is not asked.
        let file = statx(CWD, path, AtFlags::STATX_DONT_SYNC, StatxFlags::BASIC_STATS)?;
        let device = (file.stx_dev_major.into(), file.stx_dev_minor.into());
        if !self.kernel.has(device) {
            return Err(io::ErrorKind::InvalidData.into());
        }
        Ok(SegmentFile {
            inode: file.stx_ino,
            size: file.stx_size,
            uid: file.stx_uid,
            // The size of a segment of huge pages is rounded up to whole ones.
            unit: if self.kernel.is_huge(device) { file.stx_blksize.into() } else { 1 },
        })
    }

    fn by_query<'a>(
        &'a self,
        maps: &'a File,
        wanted: Option<&'a BTreeSet<ShmId>>,
    ) -> impl Iterator<Item = io::Result<Option<SegmentMapping>>> {
        let mut address = 0;
        iter::from_fn(move || {
            let found = match next_shared_file(maps, address) {
                Ok(found) => found,
                Err(Errno::ENOENT) => return None,
                Err(errno) => return Some(Err(errno.into())),
            };
            address = found.range.end;
            let is_wanted =
                || wanted.is_none_or(|wanted| segment_id(found.inode).is_some_and(|id| wanted.contains(&id)));
            if !self.kernel.has(found.device) || !is_wanted() {
                return Some(Ok(None));
            }
            let mut name = [0; MAX_NAME_BYTES];
            // Query the complete mapping again: it may have changed. A name that is too long is not a segment's.
            let mapping = mapping_at(maps, found.range.start, &mut name);
            Some(Ok(mapping.ok().and_then(|(mapping, name)| to_mapping(mapping, name).segment(&self.kernel))))
        })
    }

    fn by_text<'a>(
        &'a self,
        maps: &'a File,
        wanted: Option<&'a BTreeSet<ShmId>>,
    ) -> impl Iterator<Item = io::Result<Option<SegmentMapping>>> {
        let (mut lines, mut line, mut is_empty) = (BufReader::new(maps), Vec::new(), true);
        iter::from_fn(move || {
            line.clear();
            match lines.read_until(b'\n', &mut line) {
                // As PROCMAP_QUERY does.
                Ok(0) if is_empty => return Some(Err(Errno::ESRCH.into())),
                Ok(0) => return None,
                Ok(_) => is_empty = false,
                Err(error) => return Some(Err(error)),
            }
            // Few lines contain a segment. The others need not be parsed.
            let mapping = memmem::find(&line, b"/SYSV").and_then(|_| Mapping::from_line(line.trim_ascii_end()));
            let segment = mapping.and_then(|mapping| mapping.segment(&self.kernel));
            Some(Ok(segment.filter(|segment| wanted.is_none_or(|wanted| wanted.contains(&segment.id)))))
        })
    }
}

/// The mappings of shared files of a process.
pub(crate) type SharedFiles<'a> = Box<dyn Iterator<Item = io::Result<Option<SegmentMapping>>> + 'a>;

/// The file of a segment, as the kernel describes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SegmentFile {
    inode: u64,
    /// Bytes.
    pub size: u64,
    uid: u32,
    /// The size is a multiple of this.
    unit: u64,
}

impl SegmentFile {
    /// Returns whether this can be the file of this segment, which is in our user namespace.
    pub(crate) fn is_of(&self, segment: &Segment) -> bool {
        self.inode == u64::from(segment.id.as_raw().cast_unsigned())
            && Some(self.size) == segment.size.checked_next_multiple_of(self.unit.max(1))
            && self.uid == segment.cuid
    }
}

/// The size of the buffer for the name of a mapping, in bytes. "/SYSV0000002a (deleted)" and its NUL take 24.
const MAX_NAME_BYTES: usize = 32;

fn to_mapping<'a>(found: FileMapping, name: &'a [u8]) -> Mapping<'a> {
    let FileMapping { range, is_readable, is_writable, is_executable, device, inode } = found;
    let protection = Protection { read: is_readable, write: is_writable, execute: is_executable };
    Mapping { range, protection, device, inode, name }
}
