//! Memory of the whole machine (proc_meminfo(5)).

use procfs::{Current, Meminfo};

/// Returns the bytes of shared memory (`Shmem`), which include all segments. `None` if /proc does not show it.
pub(crate) fn shmem() -> Option<u64> {
    Meminfo::current().ok()?.shmem
}
