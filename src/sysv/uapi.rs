//! Values of the kernel's interface that libc does not have.

// include/uapi/linux/shm.h
pub(super) const SHM_STAT: libc::c_int = 13;
pub(super) const SHM_INFO: libc::c_int = 14;
pub(super) const SHM_STAT_ANY: libc::c_int = 15;
pub(super) const SHM_HUGE_SHIFT: libc::c_int = 26;

// include/uapi/linux/msg.h
pub(super) const MSG_STAT_ANY: libc::c_int = 13;
