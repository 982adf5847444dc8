//! The processes whose mounts or open files were read only in part.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

/// The processes that were read only in part.
static CUT: Mutex<BTreeSet<i32>> = Mutex::new(BTreeSet::new());

/// Returns the processes whose mounts or open files were read only in part, in ascending order of pid.
pub(crate) fn read_in_part() -> Vec<i32> {
    CUT.lock().unwrap_or_else(PoisonError::into_inner).iter().copied().collect()
}

/// Records that output is incomplete, because these processes were read only in part.
pub(super) fn note_cut(pids: &[i32]) {
    CUT.lock().unwrap_or_else(PoisonError::into_inner).extend(pids);
}
