//! Results of programs in tests/programs.

use super::Ended;

/// The permitted resident memory of a command in KiB, for segments of any size. Most of it is the program itself, which
/// is larger than in a release.
pub(crate) const LITTLE_KIB: u64 = 24 << 10;

/// Returns the peak resident memory, in KiB, from `measure` (tests/programs/measure.c), whose program must succeed.
#[track_caller]
pub(crate) fn peak_kib(measured: &Ended) -> u64 {
    assert_eq!(measured.code, Some(0), "{measured:?}");
    // The command itself may have written lines before.
    let last = measured.err.lines().next_back().and_then(|line| line.parse().ok());
    last.unwrap_or_else(|| panic!("{measured:.2000?}"))
}
