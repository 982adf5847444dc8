//! All segments of an IPC namespace, from whichever source the kernel offers.

use std::fs::File;
use std::io::{self, BufReader};
use std::vec;

use super::error::Error;
use super::{Segment, Segments, limits, scan};

/// All segments of an IPC namespace, in the kernel's order. This is not a snapshot: other processes may create and
/// remove segments during iteration.
///
/// Iteration may continue in any namespace: the rows are those of the namespace in which [`rows`] was called.
#[derive(Debug)]
pub(crate) enum Rows {
    /// The kernel's table, read row by row.
    Table(Segments<BufReader<File>>),
    /// The results of shmctl(2), without [`Segment::rss`] and [`Segment::swap`].
    Results(vec::IntoIter<io::Result<Segment>>),
}

/// Opens /proc/sysvipc/shm. If it is missing, unreadable or masked by another file, calls shmctl(2) for each segment.
///
/// # Errors
/// `ENOSYS` is [`super::Reason::NotSupported`].
pub(crate) fn rows() -> Result<Rows, Error> {
    match table() {
        Some(table) => Ok(Rows::Table(table)),
        None => scan::without_table().map(|results| Rows::Results(results.into_iter())),
    }
}

/// Opens the kernel's table; `None` if the file is not a table, or is empty although the kernel counts segments.
fn table() -> Option<Segments<BufReader<File>>> {
    let mut table = Segments::open().ok()?;
    let is_empty = table.is_at_end().ok()?;
    let is_masked = is_empty && limits::counted().is_ok_and(|(_, usage)| usage.segments > 0);
    (!is_masked).then_some(table)
}

impl Iterator for Rows {
    type Item = io::Result<Segment>;

    fn next(&mut self) -> Option<io::Result<Segment>> {
        match self {
            Self::Table(rows) => rows.next(),
            Self::Results(rows) => rows.next(),
        }
    }
}
