//! What programs of tests/programs say.

use super::Ended;

/// What `measure` (tests/programs/measure.c) said of a program that ended well: how much of it was resident at most, in
/// KiB.
#[track_caller]
pub(crate) fn peak_kib(measured: &Ended) -> u64 {
    assert_eq!(measured.code, Some(0), "{measured:?}");
    measured.err.parse().unwrap_or_else(|_| panic!("{measured:?}"))
}
