//! `PROCMAP_QUERY`: looks up single mappings of a process, without reading all of them as text (Linux 6.11,
//! proc_pid_maps(5)).

use std::fs::File;
use std::ops::Range;
use std::os::fd::AsRawFd;

use nix::errno::Errno;

// include/uapi/linux/fs.h
const VMA_READABLE: u64 = 0x01;
const VMA_WRITABLE: u64 = 0x02;
const VMA_EXECUTABLE: u64 = 0x04;
const VMA_SHARED: u64 = 0x08;
const COVERING_OR_NEXT_VMA: u64 = 0x10;
const FILE_BACKED_VMA: u64 = 0x20;

/// A mapping of a file, as the kernel describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FileMapping {
    /// Addresses, end excluded.
    pub range: Range<u64>,
    /// `PROT_READ`.
    pub is_readable: bool,
    /// `PROT_WRITE`.
    pub is_writable: bool,
    /// `PROT_EXEC`.
    pub is_executable: bool,
    /// Major and minor number of the file's device.
    pub device: (u64, u64),
    /// The file's inode.
    pub inode: u64,
}

/// Finds the shared file mapping that contains an address, or else the next one after it: ioctl(2) `PROCMAP_QUERY`.
///
/// # Errors
/// `ENOENT` if there is none, `ESRCH` if the process has no address space or has ended, `ENOTTY` before Linux 6.11.
pub(crate) fn next_shared_file(maps: &File, address: u64) -> Result<FileMapping, Errno> {
    query(maps, address, VMA_SHARED | FILE_BACKED_VMA | COVERING_OR_NEXT_VMA, &mut []).map(|found| found.mapping())
}

/// Returns the mapping that contains an address, and its name, which is stored in `name`: ioctl(2) `PROCMAP_QUERY`.
///
/// # Errors
/// `ENOENT` if nothing is mapped there, `ENAMETOOLONG` if the name and its NUL do not fit into `name`; those of
/// [`next_shared_file`].
pub(crate) fn mapping_at<'a>(maps: &File, address: u64, name: &'a mut [u8]) -> Result<(FileMapping, &'a [u8]), Errno> {
    let found = query(maps, address, 0, name)?;
    // The size includes the NUL, and is 0 for a mapping without a name.
    let length = (found.vma_name_size as usize).saturating_sub(1).min(name.len());
    Ok((found.mapping(), &name[..length]))
}

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
    /// include/uapi/linux/fs.h
    procmap_query,
    b'f',
    17,
    ProcmapQuery
);

fn query(maps: &File, address: u64, flags: u64, name: &mut [u8]) -> Result<ProcmapQuery, Errno> {
    let mut query = ProcmapQuery {
        size: size_of::<ProcmapQuery>() as u64,
        query_flags: flags,
        query_addr: address,
        vma_name_size: u32::try_from(name.len()).map_err(|_| Errno::ENAMETOOLONG)?,
        vma_name_addr: if name.is_empty() { 0 } else { name.as_mut_ptr().expose_provenance() as u64 },
        ..ProcmapQuery::default()
    };
    // SAFETY: `query` states its own size. Its only pointer is to `name`, with the right length, which is borrowed
    // until the call has returned; no build ID is requested. Any other kind of file refuses the request, because the
    // request's number encodes the size of this struct.
    unsafe { procmap_query(maps.as_raw_fd(), &raw mut query) }?;
    Ok(query)
}

impl ProcmapQuery {
    fn mapping(&self) -> FileMapping {
        let has = |flag| self.vma_flags & flag != 0;
        FileMapping {
            range: self.vma_start..self.vma_end,
            is_readable: has(VMA_READABLE),
            is_writable: has(VMA_WRITABLE),
            is_executable: has(VMA_EXECUTABLE),
            device: (self.dev_major.into(), self.dev_minor.into()),
            inode: self.inode,
        }
    }
}
