//! Memory of the whole machine (proc_meminfo(5)).

use procfs::{Current, Meminfo};

/// Returns the bytes of shared memory, of which segments are a part: `Shmem`. `None` if /proc does not tell.
pub(crate) fn shmem() -> Option<u64> {
    Meminfo::current().ok()?.shmem
}
