//! Two requests of perf_event_open(2) that perf-event2 does not offer.

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

/// ioctl(2) `PERF_EVENT_IOC_SET_OUTPUT`: has the kernel write an event's records into this ring, which is of the same CPU.
///
/// # Errors
///
/// `EINVAL`: they are of different CPUs or use different clocks.
pub(crate) fn share_ring(event: &Counter, ring: &Sampler) -> Result<(), Errno> {
    // SAFETY: the request takes a number and touches no memory of ours; both descriptors are open while borrowed.
    unsafe { set_output(event.as_raw_fd(), ring.as_raw_fd()) }.map(drop)
}

/// ioctl(2) `PERF_EVENT_IOC_SET_FILTER`: has a tracepoint record only what the filter lets through
/// (Documentation/trace/events.rst).
///
/// # Errors
///
/// `EINVAL`: the filter has a mistake.
pub(crate) fn filter(event: &Counter, filter: &CStr) -> Result<(), Errno> {
    // SAFETY: the kernel reads the string up to its NUL, which a CStr has, and keeps a copy (`strndup_user`).
    unsafe { set_filter(event.as_raw_fd(), filter.as_ptr()) }.map(drop)
}

/// Returns the descriptor of a ring, which poll(2) finds readable once there are records.
pub(crate) fn descriptor(ring: &Sampler) -> BorrowedFd<'_> {
    // SAFETY: the ring owns this descriptor, and keeps it open for as long as it is borrowed.
    unsafe { BorrowedFd::borrow_raw(ring.as_raw_fd()) }
}
