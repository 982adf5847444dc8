//! The file with the skipped tests of this run of cargo. Each test program of the run computes the same path.

use std::fs;
use std::os::unix::process::parent_id;
use std::path::{Path, PathBuf};

/// Returns the path. It contains the start time of cargo, because a run that fails leaves its file behind, and in a
/// container the next run can have the same pid.
pub(crate) fn skips_of_this_run() -> PathBuf {
    let cargo = parent_id();
    let stat = fs::read_to_string(format!("/proc/{cargo}/stat")).unwrap_or_default();
    // proc_pid_stat(5): the name in parentheses is field 2, and the start time is field 22.
    let started = stat.rsplit_once(')').and_then(|(_, fields)| fields.split_ascii_whitespace().nth(19)).unwrap_or("0");
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("skipped-{cargo}-{started}"))
}
