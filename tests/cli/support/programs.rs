//! What programs of tests/programs say.

use super::Ended;

/// What a command may have resident, in KiB, whatever the size of the segment. Most of it is the program itself, and
/// more than in a release.
pub(crate) const LITTLE_KIB: u64 = 24 << 10;

/// What `measure` (tests/programs/measure.c) said of a program that ended well: how much of it was resident at most, in
/// KiB.
#[track_caller]
pub(crate) fn peak_kib(measured: &Ended) -> u64 {
    assert_eq!(measured.code, Some(0), "{measured:?}");
    // The command itself may have written lines before.
    let last = measured.err.lines().next_back().and_then(|line| line.parse().ok());
    last.unwrap_or_else(|| panic!("{measured:.2000?}"))
}
