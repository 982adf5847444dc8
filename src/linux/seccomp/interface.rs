//! The system calls that create System V IPC objects, by their numbers on this machine.

use crate::values::ObjectKind;

/// A system call interface of the machine: the native one, or that of 32-bit programs.
pub(super) struct Interface {
    /// AUDIT_ARCH_* (include/uapi/linux/audit.h).
    pub arch: u32,
    /// Whether its programs are 32-bit.
    pub is_32bit: bool,
    /// The significant bits of the number. x32 programs share the interface of x86-64 and set bit 30.
    pub number_mask: u32,
    /// The numbers of the calls that create objects.
    pub calls: [(u32, ObjectKind); 3],
    /// The number of ipc(2), the multiplexer, if there is one.
    pub ipc: Option<u32>,
}

/// The sub-calls of ipc(2) that create objects (include/uapi/linux/ipc.h). Their arguments follow the sub-call's
/// number, whose upper half is a version.
pub(super) const IPC_CALLS: [(u32, ObjectKind); 3] =
    [(23, ObjectKind::Segment), (2, ObjectKind::Semaphores), (13, ObjectKind::Queue)];

/// The numbers are from arch/*/entry/syscalls and include/uapi/asm-generic/unistd.h.
#[cfg(target_arch = "x86_64")]
pub(super) const INTERFACES: [Interface; 2] = [
    Interface {
        arch: 0xc000_003e,
        is_32bit: false,
        number_mask: !0x4000_0000,
        calls: [(29, ObjectKind::Segment), (64, ObjectKind::Semaphores), (68, ObjectKind::Queue)],
        ipc: None,
    },
    Interface {
        arch: 0x4000_0003,
        is_32bit: true,
        number_mask: !0,
        calls: [(395, ObjectKind::Segment), (393, ObjectKind::Semaphores), (399, ObjectKind::Queue)],
        ipc: Some(117),
    },
];

/// The numbers are from include/uapi/asm-generic/unistd.h and arch/arm/tools/syscall.tbl.
#[cfg(target_arch = "aarch64")]
pub(super) const INTERFACES: [Interface; 2] = [
    Interface {
        arch: 0xc000_00b7,
        is_32bit: false,
        number_mask: !0,
        calls: [(194, ObjectKind::Segment), (190, ObjectKind::Semaphores), (186, ObjectKind::Queue)],
        ipc: None,
    },
    Interface {
        arch: 0x4000_0028,
        is_32bit: true,
        number_mask: !0,
        calls: [(307, ObjectKind::Segment), (299, ObjectKind::Semaphores), (303, ObjectKind::Queue)],
        ipc: None,
    },
];

/// The system call numbers of other architectures are not known here: no call waits.
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
pub(super) const INTERFACES: [Interface; 0] = [];

/// Returns the index of `flags` among the arguments of the call that creates this kind of object. The key is argument
/// 0.
pub(super) fn flags_index(kind: ObjectKind) -> usize {
    match kind {
        ObjectKind::Segment | ObjectKind::Semaphores => 2,
        ObjectKind::Queue => 1,
    }
}
