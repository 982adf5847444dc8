//! Two requests of perf_event_open(2) that the perf-event2 crate does not offer.

use std::ffi::CStr;
use std::os::fd::{AsRawFd, BorrowedFd};

use nix::errno::Errno;
use perf_event::{Counter, Sampler};

nix::ioctl_write_int_bad!(
    /// include/uapi/linux/perf_event.h: `PERF_EVENT_IOC_SET_OUTPUT`
    set_output,
    nix::request_code_none!(b'$', 5)
);

nix::ioctl_write_ptr_bad!(
    /// include/uapi/linux/perf_event.h: `PERF_EVENT_IOC_SET_FILTER`
    set_filter,
    nix::request_code_write!(b'$', 6, size_of::<*mut libc::c_char>()),
    libc::c_char
);

/// Redirects an event's records into a ring of the same CPU: ioctl(2) `PERF_EVENT_IOC_SET_OUTPUT`.
///
/// # Errors
/// `EINVAL` if they are of different CPUs or use different clocks.
pub(crate) fn share_ring(event: &Counter, ring: &Sampler) -> Result<(), Errno> {
    // SAFETY: the request takes a number and does not access our memory; both descriptors are open while borrowed.
    unsafe { set_output(event.as_raw_fd(), ring.as_raw_fd()) }.map(drop)
}

/// Limits a tracepoint to the records that match a filter: ioctl(2) `PERF_EVENT_IOC_SET_FILTER`
/// (Documentation/trace/events.rst).
///
/// # Errors
/// `EINVAL` if the filter is malformed.
pub(crate) fn filter(event: &Counter, filter: &CStr) -> Result<(), Errno> {
    // SAFETY: the kernel reads the string up to its NUL, which a CStr has, and keeps a copy (`strndup_user`).
    unsafe { set_filter(event.as_raw_fd(), filter.as_ptr()) }.map(drop)
}

/// Returns the descriptor of a ring. For poll(2) it is readable once there are records.
pub(crate) fn descriptor(ring: &Sampler) -> BorrowedFd<'_> {
    // SAFETY: the ring owns this descriptor, and keeps it open while it is borrowed.
    unsafe { BorrowedFd::borrow_raw(ring.as_raw_fd()) }
}
