//! The segments in other processes' address spaces, from their `/proc/PID/maps`.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::os::fd::AsRawFd;

use memchr::memmem;
use nix::errno::Errno;
use nix::unistd::Pid;

use super::maps::{KernelMounts, Mapping, Protection, SegmentMapping};

/// Reads memory maps. Since Linux 6.11 the kernel is asked for shared mappings of files alone (`PROCMAP_QUERY`), before
/// that it writes out all of them as text.
#[derive(Debug)]
pub(crate) struct MapsReader {
    kernel: KernelMounts,
    can_query: bool,
}

impl MapsReader {
    /// Learns the kernel's mounts, and which way it offers.
    pub(crate) fn new() -> io::Result<MapsReader> {
        let kernel = KernelMounts::learn()?;
        // ENOENT is an answer, too: we have no such mapping.
        let asked = query(&File::open("/proc/self/maps")?, 0, ANY_SEGMENT, &mut []);
        let can_query = matches!(asked, Ok(_) | Err(Errno::ENOENT));
        Ok(MapsReader { kernel, can_query })
    }

    /// The segments in an open `/proc/PID/maps`; `None` where there is no address space: a zombie, a kernel thread, a
    /// process whose first thread has ended (another thread's file shows it then).
    ///
    /// Errors: `ESRCH` of a process that ends meanwhile is `None`, too.
    pub(crate) fn segments(&self, maps: &File) -> io::Result<Option<Vec<SegmentMapping>>> {
        if self.can_query { self.by_query(maps) } else { self.by_text(maps) }
    }

    fn by_query(&self, maps: &File) -> io::Result<Option<Vec<SegmentMapping>>> {
        let mut segments = Vec::new();
        let mut address = 0;
        loop {
            let found = match query(maps, address, ANY_SEGMENT, &mut []) {
                Ok(found) => found,
                Err(Errno::ENOENT) => return Ok(Some(segments)),
                Err(Errno::ESRCH) => return Ok(None),
                Err(errno) => return Err(errno.into()),
            };
            if self.kernel.has(found.device()) {
                let mut name = [0; LONGEST_NAME];
                // What stands there now, whole: the mapping can have changed. A name that is too long is no segment's.
                if let Ok(named) = query(maps, found.vma_start, 0, &mut name) {
                    segments.extend(named.mapping(&name).segment(&self.kernel));
                }
            }
            address = found.vma_end;
        }
    }

    fn by_text(&self, maps: &File) -> io::Result<Option<Vec<SegmentMapping>>> {
        let mut lines = BufReader::new(maps);
        let (mut line, mut segments, mut any) = (Vec::new(), Vec::new(), false);
        loop {
            line.clear();
            match lines.read_until(b'\n', &mut line) {
                Ok(0) => return Ok(any.then_some(segments)),
                Ok(_) => any = true,
                Err(error) if error.raw_os_error() == Some(libc::ESRCH) => return Ok(None),
                Err(error) => return Err(error),
            }
            // Nearly no line is one, and the others can be odd in many ways.
            if memmem::find(&line, b"/SYSV").is_some() {
                segments.extend(
                    Mapping::from_line(line.trim_ascii_end()).and_then(|mapping| mapping.segment(&self.kernel)),
                );
            }
        }
    }
}

/// Whether two processes have one address space, as a child of vfork(2) and its parent: kcmp(2) `KCMP_VM`. `false` too where the
/// kernel does not tell.
pub(crate) fn share_memory(one: Pid, other: Pid) -> bool {
    // include/uapi/linux/kcmp.h
    const KCMP_VM: libc::c_long = 1;
    let (one, other) = (libc::c_long::from(one.as_raw()), libc::c_long::from(other.as_raw()));
    // SAFETY: KCMP_VM takes numbers alone and touches no memory of ours.
    let ret = unsafe { libc::syscall(libc::SYS_kcmp, one, other, KCMP_VM, 0 as libc::c_long, 0 as libc::c_long) };
    ret == 0
}

/// "/SYSV0000002a (deleted)" and its NUL are 24.
const LONGEST_NAME: usize = 32;

// include/uapi/linux/fs.h
const VMA_READABLE: u64 = 0x01;
const VMA_WRITABLE: u64 = 0x02;
const VMA_EXECUTABLE: u64 = 0x04;
const VMA_SHARED: u64 = 0x08;
const COVERING_OR_NEXT_VMA: u64 = 0x10;
const FILE_BACKED_VMA: u64 = 0x20;
/// The next mapping that can be a segment.
const ANY_SEGMENT: u64 = VMA_SHARED | FILE_BACKED_VMA | COVERING_OR_NEXT_VMA;

/// `struct procmap_query` of include/uapi/linux/fs.h.
#[repr(C)]
#[derive(Debug, Default)]
pub(super) struct ProcmapQuery {
    size: u64,
    query_flags: u64,
    query_addr: u64,
    vma_start: u64,
    vma_end: u64,
    vma_flags: u64,
    vma_page_size: u64,
    vma_offset: u64,
    inode: u64,
    dev_major: u32,
    dev_minor: u32,
    vma_name_size: u32,
    build_id_size: u32,
    vma_name_addr: u64,
    build_id_addr: u64,
}

nix::ioctl_readwrite!(
    /// proc_pid_maps(5)
    procmap_query,
    b'f',
    17,
    ProcmapQuery
);

/// ioctl(2) `PROCMAP_QUERY`: the mapping at an address, or with [`COVERING_OR_NEXT_VMA`] the next one that the flags hold
/// for; its name goes to `name`, if that has room for any.
///
/// Errors: `ENOENT` where there is none, `ESRCH` where there is no address space, `ENAMETOOLONG`, `ENOTTY` before Linux 6.11.
fn query(maps: &File, address: u64, flags: u64, name: &mut [u8]) -> Result<ProcmapQuery, Errno> {
    let mut query = ProcmapQuery {
        size: size_of::<ProcmapQuery>() as u64,
        query_flags: flags,
        query_addr: address,
        vma_name_size: u32::try_from(name.len()).map_err(|_| Errno::ENAMETOOLONG)?,
        vma_name_addr: if name.is_empty() { 0 } else { name.as_mut_ptr().expose_provenance() as u64 },
        ..ProcmapQuery::default()
    };
    // SAFETY: `query` says its own size, and what it points to is `name` with its length, which is borrowed until the call
    // has returned; there is no build id to be written.
    unsafe { procmap_query(maps.as_raw_fd(), &raw mut query) }?;
    Ok(query)
}

impl ProcmapQuery {
    fn device(&self) -> (u64, u64) {
        (self.dev_major.into(), self.dev_minor.into())
    }

    fn mapping<'a>(&self, name: &'a [u8]) -> Mapping<'a> {
        let has = |flag| self.vma_flags & flag != 0;
        // Its size counts the NUL, and is 0 where there is no name.
        let length = (self.vma_name_size as usize).saturating_sub(1).min(name.len());
        Mapping {
            range: self.vma_start..self.vma_end,
            protection: Protection { read: has(VMA_READABLE), write: has(VMA_WRITABLE), execute: has(VMA_EXECUTABLE) },
            device: self.device(),
            inode: self.inode,
            name: &name[..length],
        }
    }
}
