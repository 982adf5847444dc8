//! The supervisor's side of the filter: receives the waiting calls and lets them continue.

use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};

use super::interface::{INTERFACES, IPC_CALLS, flags_index};
use crate::values::{Key, ObjectKind};

// include/uapi/linux/seccomp.h
nix::ioctl_readwrite!(notif_recv, b'!', 0, libc::seccomp_notif);
nix::ioctl_readwrite!(notif_send, b'!', 1, libc::seccomp_notif_resp);
nix::ioctl_write_ptr!(notif_id_valid, b'!', 2, u64);

/// The number of attempts to answer a call before giving up.
const TRIES: usize = 100;

/// A call that may create a System V IPC object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CreatingCall {
    /// The kind of object that it creates.
    pub kind: ObjectKind,
    /// The key; [`Key::PRIVATE`] for an object without a key.
    pub key: Key,
    /// Bytes of a segment, or number of semaphores of a set; 0 for a queue.
    pub size: u64,
    /// IPC_CREAT, IPC_EXCL and the mode.
    pub flags: u32,
    /// Whether the caller is a 32-bit program.
    pub is_32bit: bool,
}

impl CreatingCall {
    fn decode(data: &libc::seccomp_data) -> Option<CreatingCall> {
        let interface = INTERFACES.iter().find(|interface| interface.arch == data.arch)?;
        let number = data.nr.cast_unsigned() & interface.number_mask;
        let named = |calls: &[(u32, ObjectKind)], number| {
            calls.iter().find(|(known, _)| *known == number).map(|(_, kind)| *kind)
        };
        let (kind, arguments) = match named(&interface.calls, number) {
            Some(kind) => (kind, &data.args[..3]),
            None if interface.ipc == Some(number) => {
                (named(&IPC_CALLS, data.args[0] as u32 & 0xffff)?, &data.args[1..4])
            }
            None => return None,
        };
        let size = match kind {
            ObjectKind::Segment if !interface.is_32bit => arguments[1],
            ObjectKind::Segment | ObjectKind::Semaphores => u64::from(arguments[1] as u32),
            ObjectKind::Queue => 0,
        };
        let flags = arguments[flags_index(kind)] as u32;
        Some(CreatingCall { kind, key: Key::from_raw(arguments[0] as i32), size, flags, is_32bit: interface.is_32bit })
    }
}

/// A waiting call.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Notification {
    /// Identifies the call to the kernel.
    pub id: u64,
    /// The calling thread's id in our pid namespace; 0 if it has none there.
    pub tid: i32,
    /// The call; `None` if it is not one that the filter stops.
    pub call: Option<CreatingCall>,
}

/// Receives the calls of all processes with the filter.
///
/// When the last copy of this descriptor closes, waiting calls and all later ones fail with `ENOSYS`.
#[derive(Debug)]
pub(crate) struct Listener(OwnedFd);

/// Why the calls of a command cannot be traced.
#[derive(Debug)]
pub(crate) struct NotTraced {
    pub error: io::Error,
    /// Whether the filter is installed and nobody answers. The filtered calls then fail with `ENOSYS`.
    pub is_filtered: bool,
}

impl NotTraced {
    fn without_filter(errno: i32) -> NotTraced {
        NotTraced { error: io::Error::from_raw_os_error(errno), is_filtered: false }
    }
}

impl From<Errno> for NotTraced {
    /// Without a filter, every call works.
    fn from(errno: Errno) -> NotTraced {
        NotTraced::without_filter(errno as i32)
    }
}

impl Listener {
    /// Receives the listener that [`super::Filter::install`] sent from the other end of this socket.
    ///
    /// # Errors
    /// The error of seccomp(2): `EACCES` without `CAP_SYS_ADMIN` in the user namespace, `EBUSY` if a filter with a
    /// listener is already installed, `EINVAL` or `ENOSYS` on kernels before 5.0. With a filter: that of recvmsg(2), and
    /// `UnexpectedEof` if no listener was sent.
    pub(crate) fn receive_from(socket: BorrowedFd<'_>) -> Result<Listener, NotTraced> {
        let lost = |error: io::Error| NotTraced { error, is_filtered: true };
        let mut errno = [0; 4];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let received = rustix::io::retry_on_intr(|| {
            recvmsg(socket, &mut [IoSliceMut::new(&mut errno)], &mut control, RecvFlags::CMSG_CLOEXEC)
        })
        .map_err(|errno| lost(errno.into()))?;
        if received.bytes < errno.len() {
            return Err(lost(io::ErrorKind::UnexpectedEof.into()));
        }
        let mut fds = control.drain().filter_map(|message| match message {
            RecvAncillaryMessage::ScmRights(fds) => Some(fds),
            _ => None,
        });
        match (i32::from_ne_bytes(errno), fds.next().and_then(|mut fds| fds.next())) {
            (0, Some(fd)) => Ok(Listener(fd)),
            (0, None) => Err(lost(io::ErrorKind::UnexpectedEof.into())),
            (errno, _) => Err(NotTraced::without_filter(errno)),
        }
    }

    /// Receives the next call: ioctl(2) `SECCOMP_IOCTL_NOTIF_RECV`. It waits for one unless poll(2) has reported one.
    /// It can wait even then, if that call was interrupted in between.
    ///
    /// # Errors
    /// Those of ioctl(2): `ENOENT` if the thread was killed or interrupted while its call was being received.
    pub(crate) fn receive(&self) -> Result<Notification, Errno> {
        // SAFETY: seccomp_notif consists of numbers, for which all zeros is valid; the kernel requires zeros.
        let mut notification: libc::seccomp_notif = unsafe { MaybeUninit::zeroed().assume_init() };
        // SAFETY: the descriptor is an open listener, whose driver writes one seccomp_notif; `notification` is one.
        unsafe { notif_recv(self.0.as_raw_fd(), &raw mut notification) }?;
        Ok(Notification {
            id: notification.id,
            tid: notification.pid.cast_signed(),
            call: CreatingCall::decode(&notification.data),
        })
    }

    /// Returns whether the thread still waits in this call: ioctl(2) `SECCOMP_IOCTL_NOTIF_ID_VALID`. If so, its pid was
    /// not reused, and what was read of it in /proc is about this process.
    ///
    /// The question is repeated if it fails, because a call that is taken for gone is not recorded, and what it creates
    /// is then no leak.
    ///
    /// # Errors
    /// That of ioctl(2), except `ENOENT`, which means that the thread is gone.
    pub(crate) fn is_waiting(&self, id: u64) -> Result<bool, Errno> {
        // SAFETY: the descriptor is an open listener, whose driver reads one 64-bit number; `id` is one.
        let ask = || unsafe { notif_id_valid(self.0.as_raw_fd(), &raw const id) };
        match ask().or_else(|_| ask()) {
            Ok(_) => Ok(true),
            Err(Errno::ENOENT) => Ok(false),
            Err(errno) => Err(errno),
        }
    }

    /// Lets the call continue: ioctl(2) `SECCOMP_IOCTL_NOTIF_SEND` with SECCOMP_USER_NOTIF_FLAG_CONTINUE. The kernel
    /// then executes the call normally. It is no error if the thread is gone or the call has already continued.
    ///
    /// # Errors
    /// That of ioctl(2), if it persists. The call waits for ever, unless the listener closes.
    pub(crate) fn resume(&self, id: u64) -> Result<(), Errno> {
        let flags = libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE as u32;
        let mut response = libc::seccomp_notif_resp { id, val: 0, error: 0, flags };
        let mut last = Ok(());
        // A call without an answer waits for ever, so retry. EINTR occurs while the kernel waits for the lock
        // (kernel/seccomp.c, `seccomp_notify_send`). ENOENT means that the thread is gone, which a sandbox can claim,
        // too, so it is checked. After other failures this gives up after a few attempts.
        for _ in 0..TRIES {
            // SAFETY: the descriptor is an open listener, whose driver reads one seccomp_notif_resp; `response` is one.
            match unsafe { notif_send(self.0.as_raw_fd(), &raw mut response) } {
                Ok(_) | Err(Errno::EINPROGRESS) => return Ok(()),
                Err(Errno::ENOENT) if self.is_waiting(id) != Ok(true) => return Ok(()),
                Err(errno) => last = Err(errno),
            }
        }
        last
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
