//! The filter: which calls wait, and how a child installs it between fork and exec.

use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd};
use std::{mem, ptr};

use nix::errno::Errno;
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};

use super::interface::{INTERFACES, IPC_CALLS, flags_index};
use crate::values::ObjectKind;

// Offsets in struct seccomp_data (include/uapi/linux/seccomp.h).
const OFFSET_NUMBER: u32 = mem::offset_of!(libc::seccomp_data, nr) as u32;
const OFFSET_ARCH: u32 = mem::offset_of!(libc::seccomp_data, arch) as u32;
const OFFSET_ARGUMENTS: u32 = mem::offset_of!(libc::seccomp_data, args) as u32;

/// A classic BPF program that stops calls that may create a System V IPC object: those with `IPC_CREAT` or
/// `IPC_PRIVATE`. Calls that only look up an object continue.
#[derive(Debug)]
pub(crate) struct Filter {
    program: Vec<libc::sock_filter>,
}

impl Filter {
    /// Builds the filter for this machine.
    ///
    /// # Errors
    /// `ENOSYS` before Linux 5.5, where a waiting call cannot continue, and on architectures whose system call numbers
    /// are not known here.
    pub(crate) fn new() -> Result<Filter, Errno> {
        if INTERFACES.is_empty() || !is_since_5_5(rustix::system::uname().release().to_bytes()) {
            return Err(Errno::ENOSYS);
        }
        Ok(Filter::for_interfaces())
    }

    fn for_interfaces() -> Filter {
        let mut program = vec![load(OFFSET_ARCH)];
        for interface in &INTERFACES {
            let mut section = vec![load(OFFSET_NUMBER), and(interface.number_mask)];
            section.extend(interface.calls.iter().flat_map(|&(number, kind)| waits(number, kind, 0)));
            if let Some(ipc) = interface.ipc {
                let mut calls = vec![load(argument(0)), and(0xffff)];
                calls.extend(IPC_CALLS.iter().flat_map(|&(call, kind)| waits(call, kind, 1)));
                section.push(skip_unless_equal(ipc, calls.len()));
                section.extend(calls);
            }
            section.push(answer(libc::SECCOMP_RET_ALLOW));
            program.push(skip_unless_equal(interface.arch, section.len()));
            program.extend(section);
        }
        program.push(answer(libc::SECCOMP_RET_ALLOW));
        Filter { program }
    }

    /// Installs the filter in the calling process with seccomp(2), and sends its listener through this socket; on
    /// failure it sends the errno. The descriptor closes on exec.
    ///
    /// This is for a child between fork and exec: it allocates nothing and takes no lock. It does not set "no new
    /// privileges", so that set-user-ID programs work as before.
    pub(crate) fn install(&self, socket: BorrowedFd<'_>) {
        let (errno, listener) = match self.listener() {
            Ok(listener) => (0, Some(listener)),
            Err(errno) => (errno as i32, None),
        };
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        let fds = listener.as_ref().map(|listener| [listener.as_fd()]);
        if let Some(fds) = &fds {
            control.push(SendAncillaryMessage::ScmRights(fds));
        }
        // If this fails, the receiver sees the end of the socket instead.
        let _ = sendmsg(socket, &[IoSlice::new(&errno.to_ne_bytes())], &mut control, SendFlags::NOSIGNAL);
    }

    fn listener(&self) -> Result<OwnedFd, Errno> {
        // SPEC_ALLOW avoids speculation mitigations, which would slow the process down without its consent.
        let flags = libc::SECCOMP_FILTER_FLAG_NEW_LISTENER | libc::SECCOMP_FILTER_FLAG_SPEC_ALLOW;
        match self.seccomp(flags | libc::SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV) {
            // Before Linux 5.19, a signal can interrupt a waiting process; the call is then made again.
            Err(Errno::EINVAL) => self.seccomp(flags),
            listener => listener,
        }
    }

    fn seccomp(&self, flags: libc::c_ulong) -> Result<OwnedFd, Errno> {
        let program =
            libc::sock_fprog { len: self.program.len() as libc::c_ushort, filter: self.program.as_ptr().cast_mut() };
        // SAFETY: the kernel only reads `program` and the instructions that it points to. Both live until the call
        // returns. The length is that of the vector, about 60 instructions.
        let fd =
            unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, ptr::from_ref(&program)) };
        let fd = Errno::result(fd)?;
        // SAFETY: with NEW_LISTENER a successful call returns a new descriptor, which nothing else owns.
        Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
    }
}

/// Returns whether a kernel release (uname(2)) is 5.5 or later.
fn is_since_5_5(release: &[u8]) -> bool {
    let mut numbers =
        release.split(|byte| !byte.is_ascii_digit()).map(|digits| str::from_utf8(digits).ok()?.parse::<u32>().ok());
    let (major, minor) = (numbers.next().flatten(), numbers.next().flatten());
    major > Some(5) || (major == Some(5) && minor >= Some(5))
}

/// Returns instructions that stop a call with this number if it can create an object, and otherwise continue after
/// them.
fn waits(number: u32, kind: ObjectKind, first: usize) -> [libc::sock_filter; 7] {
    [
        skip_unless_equal(number, 6),
        load(argument(first + flags_index(kind))),
        jump(libc::BPF_JSET, libc::IPC_CREAT as u32, 2, 0),
        load(argument(first)),
        jump(libc::BPF_JEQ, libc::IPC_PRIVATE as u32, 0, 1),
        answer(libc::SECCOMP_RET_USER_NOTIF),
        answer(libc::SECCOMP_RET_ALLOW),
    ]
}

/// Returns the offset of the lower 32 bits of an argument: keys and flags have this size.
fn argument(index: usize) -> u32 {
    let low = if cfg!(target_endian = "little") { 0 } else { 4 };
    OFFSET_ARGUMENTS + 8 * index as u32 + low
}

fn load(offset: u32) -> libc::sock_filter {
    statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, offset)
}

fn and(mask: u32) -> libc::sock_filter {
    statement(libc::BPF_ALU | libc::BPF_AND | libc::BPF_K, mask)
}

fn answer(action: u32) -> libc::sock_filter {
    statement(libc::BPF_RET | libc::BPF_K, action)
}

fn statement(code: u32, k: u32) -> libc::sock_filter {
    libc::sock_filter { code: code as u16, jt: 0, jf: 0, k }
}

fn skip_unless_equal(value: u32, instructions: usize) -> libc::sock_filter {
    jump(libc::BPF_JEQ, value, 0, instructions as u8)
}

/// Returns an instruction that skips `jt` instructions if the comparison holds, else `jf`.
fn jump(comparison: u32, value: u32, jt: u8, jf: u8) -> libc::sock_filter {
    libc::sock_filter { code: (libc::BPF_JMP | comparison | libc::BPF_K) as u16, jt, jf, k: value }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_need_linux_5_5() {
        for (release, expected) in [
            (&b"6.18.44-fc-v669"[..], true),
            (b"5.5.0", true),
            (b"5.10", true),
            (b"10.0-rc1", true),
            (b"5.4.299-generic", false),
            (b"4.18.0-553.el8", false),
            (b"", false),
        ] {
            assert_eq!(is_since_5_5(release), expected, "{release:?}");
        }
    }

    #[test]
    fn jumps_stay_within_the_program() {
        let program = Filter::for_interfaces().program;
        for (index, instruction) in program.iter().enumerate() {
            let farthest = index + 1 + usize::from(instruction.jt.max(instruction.jf));
            assert!(farthest < program.len() || instruction.code == (libc::BPF_RET | libc::BPF_K) as u16, "{index}");
        }
    }
}
