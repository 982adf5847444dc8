//! Huge pages, which not every machine has.

use super::{Namespace, ended};

/// Creates a segment of 2 MiB in huge pages, with mode 0666. No pages are reserved for it.
///
/// # Errors
/// Fails with the reason if no such segment can be created.
pub(crate) fn huge_segment(ns: &Namespace, key: i32) -> Result<(), String> {
    // IPC_CREAT, SHM_HUGETLB and SHM_NORESERVE.
    let created =
        ended(ns.program("perl").args(["-e", "shmget($ARGV[0], 2 << 20, 015666) // die $!", &key.to_string()]));
    if created.code == Some(0) {
        Ok(())
    } else {
        Err(format!("cannot make a segment of huge pages: {}", created.err.trim()))
    }
}

/// Returns whether there are huge pages of 2 MiB: `true` if enough for every test, `false` if none at all, `None` if
/// neither is certain.
pub(crate) fn huge_pages() -> Option<bool> {
    let number = |name: &str| -> Option<i64> {
        let path = format!("/sys/kernel/mm/hugepages/hugepages-2048kB/{name}_hugepages");
        std::fs::read_to_string(path).ok()?.trim().parse().ok()
    };
    let free = number("free")? - number("resv")?;
    match (free, number("nr_overcommit")?) {
        (..=0, 0) => Some(false),
        (4.., _) => Some(true),
        _ => None,
    }
}
