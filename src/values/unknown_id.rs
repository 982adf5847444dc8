//! A user or group whose id is not known.

/// An unknown uid or gid: the kernel gives this number to nobody, and calls that set an owner refuse it.
pub(crate) const UNKNOWN_ID: u32 = u32::MAX;

/// Returns a uid or gid, unless it is unknown.
pub(crate) fn known_id(id: u32) -> Option<u32> {
    Some(id).filter(|id| *id != UNKNOWN_ID)
}
