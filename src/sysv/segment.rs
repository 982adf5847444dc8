//! A segment's state.

use super::ShmId;
use crate::linux::{known_gid, known_uid};
use crate::values::{Key, Mode, UNKNOWN_ID};

/// Flag: marked for destruction (include/linux/shm.h).
const SHM_DEST: u16 = 0o1000;
/// Flag: pages are not swapped out (include/linux/shm.h).
const SHM_LOCKED: u16 = 0o2000;

/// One segment, as reported by the kernel: a row of `/proc/sysvipc/shm` (proc_sysvipc_shm(5)), or a result of
/// shmctl(2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    /// Its key; [`Key::PRIVATE`] once it is marked for destruction.
    pub key: Key,
    /// Its identifier.
    pub id: ShmId,
    /// Permissions and the kernel's two flags.
    pub raw_mode: u16,
    /// The requested size in bytes.
    pub size: u64,
    /// The process that created it; 0 if that process is not visible in this pid namespace.
    pub cpid: i32,
    /// The process that last attached or detached it; 0 if there is none, or if it is not visible in this pid
    /// namespace.
    pub lpid: i32,
    /// The number of its mappings.
    pub nattch: u64,
    /// Owner. Like the following three it is [`UNKNOWN_ID`] if it has no id in this user namespace.
    pub uid: u32,
    /// Owner's group.
    pub gid: u32,
    /// Creator.
    pub cuid: u32,
    /// Creator's group.
    pub cgid: u32,
    /// Last attach, in seconds since the epoch; 0 means never.
    pub atime: i64,
    /// Last detach, in seconds since the epoch; 0 means never.
    pub dtime: i64,
    /// Creation or the last `IPC_SET`, in seconds since the epoch.
    pub ctime: i64,
    /// Resident bytes; `None` unless read from the table.
    pub rss: Option<u64>,
    /// Swapped bytes; `None` unless read from the table.
    pub swap: Option<u64>,
    /// The inode of its IPC namespace. Set by us, not by the kernel, if several namespaces are read or the inode is
    /// displayed.
    pub namespace: Option<u64>,
}

/// The properties that never change. They distinguish a segment from a later one with the same identifier, unless all of
/// them are equal. The key is not included, because marking clears it; nor is ctime, because IPC_SET updates it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Identity {
    pub id: ShmId,
    pub size: u64,
    pub cpid: i32,
    pub cuid: u32,
    pub cgid: u32,
}

impl Segment {
    /// Returns the permission bits.
    pub fn mode(&self) -> Mode {
        Mode::from_raw(self.raw_mode)
    }

    /// Returns whether its owner, its creator and their groups are known.
    pub(crate) fn has_known_owner(&self) -> bool {
        ![self.uid, self.gid, self.cuid, self.cgid].contains(&UNKNOWN_ID)
    }

    /// Returns the segment with ids that this process has read from the kernel. Ids without a meaning in this user
    /// namespace become [`UNKNOWN_ID`].
    pub(super) fn with_ids_of_here(self) -> Segment {
        let Segment { uid, gid, cuid, cgid, .. } = self;
        Segment { uid: known_uid(uid), gid: known_gid(gid), cuid: known_uid(cuid), cgid: known_gid(cgid), ..self }
    }

    /// Returns whether it was removed and waits for its last detach.
    pub fn is_marked(&self) -> bool {
        self.raw_mode & SHM_DEST != 0
    }

    /// Returns the segment as `IPC_RMID` leaves it while it is attached: without its key, and marked for destruction.
    pub(crate) fn marked(&self) -> Segment {
        Segment { key: Key::PRIVATE, raw_mode: self.raw_mode | SHM_DEST, ..self.clone() }
    }

    /// Returns the segment as `SHM_LOCK` or `SHM_UNLOCK` leaves it.
    pub(crate) fn locked(&self, is_locked: bool) -> Segment {
        let flag = if is_locked { SHM_LOCKED } else { 0 };
        Segment { raw_mode: self.raw_mode & !SHM_LOCKED | flag, ..self.clone() }
    }

    /// Returns whether a user owns or created it. Only these, and root, may use `IPC_SET` and `IPC_RMID` (shmctl(2)).
    pub(crate) fn is_controlled_by(&self, uid: u32) -> bool {
        uid == self.uid || uid == self.cuid
    }

    /// Returns whether its pages are kept in memory (`SHM_LOCK`).
    pub fn is_locked(&self) -> bool {
        self.raw_mode & SHM_LOCKED != 0
    }

    /// Returns the resident bytes, unless they exceed the segment's size in whole pages: recent kernels count huge
    /// pages up to 512 times too high.
    pub fn plausible_rss(&self) -> Option<u64> {
        let limit = self.size.checked_next_multiple_of(super::page_size()).unwrap_or(u64::MAX);
        self.rss.filter(|rss| *rss <= limit)
    }

    /// Returns the latest of attach, detach and change, in seconds since the epoch.
    pub fn last_used(&self) -> i64 {
        self.atime.max(self.dtime).max(self.ctime)
    }

    /// Returns the properties that distinguish it from a later segment with the same identifier.
    pub fn identity(&self) -> Identity {
        let Segment { id, size, cpid, cuid, cgid, .. } = *self;
        Identity { id, size, cpid, cuid, cgid }
    }

    /// Returns whether `later` is still this segment, with unchanged key and settings. Two changes within a second have the
    /// same ctime.
    pub fn is_same_as(&self, later: &Segment) -> bool {
        let settings = |of: &Segment| (of.key, of.ctime, of.uid, of.gid, of.mode());
        self.identity() == later.identity() && settings(self) == settings(later)
    }

    /// Returns whether nobody attached or detached between the two snapshots, as far as they show.
    pub fn has_same_attachments_as(&self, later: &Segment) -> bool {
        (self.nattch, self.lpid, self.atime, self.dtime) == (later.nattch, later.lpid, later.atime, later.dtime)
    }

    /// Returns the segment as the kernel created it: never attached, and not marked for destruction. Owner, mode and key
    /// are the current ones.
    pub fn as_created(&self) -> Segment {
        Segment { raw_mode: self.raw_mode & !SHM_DEST, lpid: 0, nattch: 0, atime: 0, dtime: 0, ..self.clone() }
    }

    /// Converts the result of `IPC_STAT` or `SHM_STAT_ANY`.
    pub(super) fn from_status(id: ShmId, ds: &libc::shmid_ds) -> Segment {
        let perm = &ds.shm_perm;
        Segment {
            key: Key::from_raw(perm.__key),
            id,
            raw_mode: perm.mode,
            size: ds.shm_segsz as u64,
            cpid: ds.shm_cpid,
            lpid: ds.shm_lpid,
            nattch: ds.shm_nattch,
            uid: perm.uid,
            gid: perm.gid,
            cuid: perm.cuid,
            cgid: perm.cgid,
            atime: ds.shm_atime,
            dtime: ds.shm_dtime,
            ctime: ds.shm_ctime,
            rss: None,
            swap: None,
            namespace: None,
        }
        .with_ids_of_here()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sysv::Segments;

    fn segment(size: u64, rss: u64) -> Segment {
        let table = format!("key\n42 3 600 {size} 1 0 0 0 0 0 0 0 0 1 {rss} 0\n");
        let mut rows = Segments::new(table.as_bytes()).unwrap();
        rows.next().unwrap().unwrap()
    }

    #[test]
    fn an_rss_above_the_size_is_ignored() {
        let of = |size, rss| segment(size, rss).plausible_rss();
        let page = crate::sysv::page_size();
        assert_eq!(of(1, page), Some(page));
        assert_eq!(of(1, page + 1), None);
        assert_eq!(of(10 * page, 0), Some(0));
        assert_eq!(of(u64::MAX, page), Some(page));
        // A huge page of 2 MiB that is counted 512 times.
        assert_eq!(of(2 << 20, 512 * (2 << 20)), None);
    }

    #[test]
    fn a_reused_identifier_is_recognized() {
        let segment = segment(1, 0);
        for (other, what) in [
            (Segment { id: ShmId::new(4).unwrap(), ..segment.clone() }, "id"),
            (Segment { size: 2, ..segment.clone() }, "size"),
            (Segment { cpid: 2, ..segment.clone() }, "cpid"),
            (Segment { cuid: 2, ..segment.clone() }, "cuid"),
            (Segment { cgid: 2, ..segment.clone() }, "cgid"),
        ] {
            assert!(segment.identity() != other.identity() && !segment.is_same_as(&other), "{what}");
        }
        let set = Segment { ctime: 2, uid: 2, ..segment.clone() };
        let marked = Segment { key: Key::PRIVATE, raw_mode: 0o1600, ..segment.clone() };
        let given = Segment { uid: 2, ..segment.clone() };
        let opened = Segment { raw_mode: 0o666, ..segment.clone() };
        for later in [set, marked, given, opened] {
            assert!(segment.identity() == later.identity() && !segment.is_same_as(&later), "{later:?}");
        }
        assert!(segment.is_same_as(&Segment { nattch: 1, lpid: 2, atime: 2, rss: Some(4096), ..segment.clone() }));
    }
}
