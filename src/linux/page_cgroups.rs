//! The memory cgroup to which each page frame is charged (Documentation/admin-guide/mm/pagemap.rst).

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// The size of the kernel's entry for a frame, in bytes.
const ENTRY: usize = 8;
/// Frames closer together than this are read in one call. Reading an extra frame costs less than a call.
const MAX_GAP: u64 = 32;
/// The maximum number of frames that one call reads.
const MAX_FRAMES: usize = 4096;
/// The order of the largest compound page: 1 GiB in pages of 4 KiB.
const LARGEST_ORDER: u32 = 18;
/// Bits of /proc/kpageflags (include/uapi/linux/kernel-page-flags.h).
const COMPOUND_HEAD: u64 = 1 << 15;
const COMPOUND_TAIL: u64 = 1 << 16;

/// The kernel's data about page frames. Only root may read it.
#[derive(Debug)]
pub(crate) struct PageCgroups {
    cgroups: File,
    flags: File,
}

impl PageCgroups {
    /// Opens `/proc/kpagecgroup` and `/proc/kpageflags`.
    ///
    /// # Errors
    /// `PermissionDenied` unless run by root; `NotFound` without /proc, or if the kernel lacks CONFIG_MEMCG or
    /// CONFIG_PROC_PAGE_MONITOR.
    pub(crate) fn open() -> io::Result<PageCgroups> {
        Ok(PageCgroups { cgroups: File::open("/proc/kpagecgroup")?, flags: File::open("/proc/kpageflags")? })
    }

    /// Calls `each` for every frame with the inode of its cgroup's directory; 0 means that no cgroup is charged for the
    /// frame. Sorts the frames.
    ///
    /// # Errors
    /// Those of reading the files.
    pub(crate) fn look_up(&self, frames: &mut [u64], mut each: impl FnMut(u64)) -> io::Result<()> {
        frames.sort_unstable();
        let mut buffer = [0; MAX_FRAMES * ENTRY];
        for run in frames.chunk_by(|a, b| b - a <= MAX_GAP) {
            let mut rest = run;
            while let Some(first) = rest.first() {
                let (now, later) = rest.split_at(rest.partition_point(|frame| frame - first < MAX_FRAMES as u64));
                let length = (now[now.len() - 1] - first + 1) as usize * ENTRY;
                let entries = &mut buffer[..length];
                self.cgroups.read_exact_at(entries, first * ENTRY as u64)?;
                let entries = entries.as_chunks::<ENTRY>().0;
                for frame in now {
                    let inode = u64::from_ne_bytes(entries[(frame - first) as usize]);
                    each(if inode == 0 { self.cgroup_of_head(*frame)? } else { inode });
                }
                rest = later;
            }
        }
        Ok(())
    }

    /// Returns the cgroup of a huge page's first frame. Before Linux 6.4 only the first frame has the cgroup.
    fn cgroup_of_head(&self, frame: u64) -> io::Result<u64> {
        if entry(&self.flags, frame)? & COMPOUND_TAIL == 0 {
            return Ok(0);
        }
        // A compound page starts at a multiple of its size. So its head is the nearest multiple that is marked as a
        // head.
        for order in 1..=LARGEST_ORDER {
            let head = frame >> order << order;
            if entry(&self.flags, head)? & COMPOUND_HEAD != 0 {
                return entry(&self.cgroups, head);
            }
        }
        Ok(0)
    }
}

fn entry(file: &File, frame: u64) -> io::Result<u64> {
    let mut bytes = [0; ENTRY];
    file.read_exact_at(&mut bytes, frame * ENTRY as u64)?;
    Ok(u64::from_ne_bytes(bytes))
}
