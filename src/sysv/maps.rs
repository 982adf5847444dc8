//! Finding the mappings of a process that are segments. Lines of `/proc/PID/maps` (proc_pid_maps(5)) are read as bytes,
//! because a file name may not be UTF-8.

use std::fmt;
use std::ops::Range;
use std::os::fd::AsFd;

use rustix::fs::{MemfdFlags, fstat, major, memfd_create, minor};
use rustix::io::Errno;

use super::{Segment, ShmId};
use crate::linux::line_of_a_shared_page;
use crate::values::Key;

/// A file system's device: major and minor number.
pub(super) type Device = (u64, u64);

/// The permitted access to a mapping: the `PROT_` flags of mmap(2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Protection {
    pub read: bool,
    pub write: bool,
    pub execute: bool,
}

impl fmt::Display for Protection {
    /// Writes `rw` or `r`, or `none` if mprotect(2) removed all.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let letters = [(self.read, "r"), (self.write, "w"), (self.execute, "x")];
        let shown: String = letters.iter().filter(|(may, _)| *may).map(|(_, letter)| *letter).collect();
        f.pad(if shown.is_empty() { "none" } else { &shown })
    }
}

/// A segment in a process's address space: an attachment, or a part of one that mprotect(2) split. The kernel counts these
/// as `nattch`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SegmentMapping {
    /// The segment's identifier, in the IPC namespace that it was attached in.
    pub id: ShmId,
    /// The key with which the segment was created. IPC_RMID does not remove it from the name.
    pub key: Key,
    /// Addresses, end excluded.
    pub range: Range<u64>,
    /// The process's access to it.
    pub protection: Protection,
}

impl SegmentMapping {
    /// Returns whether this can be a mapping of a segment of the same namespace.
    pub fn is_of(&self, segment: &Segment) -> bool {
        self.id == segment.id && (self.key == segment.key || segment.is_marked())
    }
}

/// One mapping.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mapping<'a> {
    /// Addresses, end excluded.
    pub range: Range<u64>,
    pub(super) protection: Protection,
    pub(super) device: Device,
    pub(super) inode: u64,
    pub(super) name: &'a [u8],
}

impl<'a> Mapping<'a> {
    /// Parses `7f00-7f10 r-xs 00000000 00:01 5      /SYSV0000002a (deleted)`.
    pub fn from_line(line: &'a [u8]) -> Option<Mapping<'a>> {
        let mut fields = line.splitn(6, |b| *b == b' ');
        let mut field = || fields.next();
        let (start, end) = str::from_utf8(field()?).ok()?.split_once('-')?;
        let range = hexadecimal(start)?..hexadecimal(end)?;
        if range.is_empty() {
            return None;
        }
        let [r, w, x, ..] = field()? else { return None };
        let protection = Protection { read: *r == b'r', write: *w == b'w', execute: *x == b'x' };
        let _offset = field()?;
        let (major, minor) = str::from_utf8(field()?).ok()?.split_once(':')?;
        let device = (hexadecimal(major)?, hexadecimal(minor)?);
        let inode = str::from_utf8(field()?).ok()?.parse().ok()?;
        let name = field().unwrap_or_default().trim_ascii_start();
        Some(Mapping { range, protection, device, inode, name })
    }

    /// Returns the segment that is mapped, if it is one. The inode is its identifier.
    ///
    /// Its name is `/SYSV` and the key with which it was created. Any user can give a file such a name. The device is what
    /// counts: on the kernel's own mounts only the kernel creates such names (ipc/shm.c, `newseg`).
    pub fn segment(&self, kernel: &KernelMounts) -> Option<SegmentMapping> {
        let name = self.name.strip_suffix(b" (deleted)").unwrap_or(self.name);
        let digits = name.strip_prefix(b"/SYSV").filter(|digits| digits.len() == 8)?;
        if !(digits.iter().all(u8::is_ascii_hexdigit) && kernel.has(self.device)) {
            return None;
        }
        let key = u32::from_str_radix(str::from_utf8(digits).ok()?, 16).ok()?;
        Some(SegmentMapping {
            id: segment_id(self.inode)?,
            key: Key::from_raw(key.cast_signed()),
            range: self.range.clone(),
            protection: self.protection,
        })
    }

    pub(super) fn is_on_tmpfs(&self, kernel: &KernelMounts) -> bool {
        self.device == kernel.tmpfs
    }
}

/// Returns the identifier of the segment whose file has this inode.
pub(super) fn segment_id(inode: u64) -> Option<ShmId> {
    ShmId::new(i32::try_from(inode).ok()?)
}

fn hexadecimal(digits: &str) -> Option<u64> {
    u64::from_str_radix(digits, 16).ok()
}

/// The kernel's internal mounts, which contain the files of all segments. A memfd is on them too, and shows the device.
#[derive(Debug)]
pub struct KernelMounts {
    tmpfs: Device,
    /// One mount for each size of huge pages.
    hugetlbfs: Vec<Device>,
}

impl KernelMounts {
    /// Finds the devices: memfd_create(2) and fstat(2).
    ///
    /// # Errors
    /// Those of memfd_create(2), if the device of an anonymous shared page is unknown as well.
    pub fn find() -> Result<KernelMounts, Errno> {
        // A sandbox can deny memfd_create(2). It can hardly deny mmap(2).
        let memfd = memfd_create(c"shmadm", MemfdFlags::CLOEXEC).and_then(device);
        let tmpfs = memfd.or_else(|errno| shared_page_device().ok_or(errno))?;
        let sizes = [MemfdFlags::empty(), MemfdFlags::HUGE_2MB, MemfdFlags::HUGE_1GB];
        let huge = sizes.into_iter().filter_map(|size| {
            // A kernel without huge pages, or without this size, returns an error.
            memfd_create(c"shmadm", MemfdFlags::CLOEXEC | MemfdFlags::HUGETLB | size).ok()
        });
        let hugetlbfs = huge.filter_map(|memfd| device(memfd).ok()).collect();
        Ok(KernelMounts { tmpfs, hugetlbfs })
    }

    pub(super) fn has(&self, device: Device) -> bool {
        self.tmpfs == device || self.is_huge(device)
    }

    pub(super) fn is_huge(&self, device: Device) -> bool {
        self.hugetlbfs.contains(&device)
    }
}

/// Returns the device of an anonymous shared page's file.
fn shared_page_device() -> Option<Device> {
    Mapping::from_line(&line_of_a_shared_page().ok()?).map(|mapping| mapping.device)
}

fn device(memfd: impl AsFd) -> Result<Device, Errno> {
    let device = fstat(memfd)?.st_dev;
    Ok((major(device).into(), minor(device).into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const KERNEL: KernelMounts = KernelMounts { tmpfs: (0, 1), hugetlbfs: Vec::new() };

    fn segment(line: &[u8]) -> Option<i32> {
        Some(Mapping::from_line(line)?.segment(&KERNEL)?.id.as_raw())
    }

    #[test]
    fn only_kernel_names_on_kernel_mounts_are_segments() {
        let line = b"7f6e0af2c000-7f6e0af2d000 rw-s 00000000 00:01 5                          /SYSV0000002a (deleted)";
        assert_eq!(segment(line), Some(5));
        assert_eq!(Mapping::from_line(line).unwrap().range, 0x7f6e_0af2_c000..0x7f6e_0af2_d000);
        for forged in [
            &b"1-2 rw-s 00000000 00:20 5 /SYSV0000002a (deleted)"[..],
            b"1-2 rw-s 00000000 00:01 5 /SYSV2a (deleted)",
            b"1-2 rw-s 00000000 00:01 5 /SYSV0000002a0 (deleted)",
            b"1-2 rw-s 00000000 00:01 5 /SYSV0000002\xff (deleted)",
            b"1-2 rw-s 00000000 00:01 5 /x/SYSV0000002a (deleted)",
            b"1-2 rw-s 00000000 00:01 5000000000 /SYSV0000002a (deleted)",
            b"1-2 rw-s 00000000 00:01 5",
            b"1-2 rw-s 00000000 0001 5 /SYSV0000002a",
            b"x-y r--s 0 00:01 5 /SYSV0000002a",
            b"7f75821ac000-7f75820ae000 rw-s 00000000 00:01 5 /SYSV0000002a (deleted)",
            b"",
        ] {
            assert_eq!(segment(forged), None, "{}", String::from_utf8_lossy(forged));
        }
    }
}
