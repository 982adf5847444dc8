//! Attaching: a guard that detaches, and says nothing of the memory but where it is.

use std::ffi::c_void;
use std::ptr;

use nix::errno::Errno;
use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit};

use super::{Error, Reason, ShmId, exists, stat, trace};

/// What an attachment may do. There is no write-only attach.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// `SHM_RDONLY`.
    Read,
    /// Both.
    ReadWrite,
}

/// Where to attach.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Placement {
    /// The address; the kernel chooses where it is `None`.
    pub address: Option<usize>,
    /// `SHM_RND`: round the address down to a multiple of SHMLBA.
    pub round: bool,
    /// `SHM_REMAP`: replace what is mapped there, whatever it is. See [`attach`].
    pub remap: bool,
}

/// A segment in our address space, until this is dropped.
///
/// Other processes write to it at any time, bytes beyond its size can be written without a fault, and a page may be
/// missing: no reference into it is ever made. [`Attachment::contents`] copies by system calls.
#[derive(Debug)]
pub(crate) struct Attachment {
    address: *mut c_void,
    id: ShmId,
    size: u64,
}

/// shmat(2): attaches a segment.
///
/// With [`Placement::remap`] this is not safe in Rust's sense, and no caller can make it so. What this process has in the
/// range, its code, a stack, the heap or another attachment, is replaced by the segment, to which others write: every
/// object there is gone, and what happens then is not defined; mostly it crashes. It is for an address that the user named
/// (shmadm-attach-write(1) says so), in a process with no more rights than the user's (the program refuses others).
///
/// Errors: `EINVAL` and `EIDRM` are [`Reason::NoSuchSegment`], `EACCES` is [`Reason::PermissionDenied`], `ENOMEM`
/// [`Reason::NoMemory`] (no room in the address space, or RLIMIT_AS is reached). Where an address was asked for,
/// [`Reason::BadAddress`] is `EINVAL` if the segment exists, `EPERM`, and `ENOMEM` if RLIMIT_AS cannot be its cause.
pub(crate) fn attach(id: ShmId, access: Access, placement: Placement) -> Result<Attachment, Error> {
    let mut flags = match access {
        Access::Read => libc::SHM_RDONLY,
        Access::ReadWrite => 0,
    };
    flags |= if placement.round { libc::SHM_RND } else { 0 };
    flags |= if placement.remap { libc::SHM_REMAP } else { 0 };
    let wanted = placement.address.map_or(ptr::null(), ptr::without_provenance);
    // SAFETY: without SHM_REMAP the kernel only takes addresses that are free, which no object of ours can be at. With
    // SHM_REMAP that is not so, and nothing is promised: the function's documentation says what can be lost.
    let address = unsafe { libc::shmat(id.as_raw(), wanted, flags) };
    // shmat(2) returns (void *)-1 where it fails.
    let result = if address.addr() == usize::MAX { Err(Errno::last()) } else { Ok(Address(address.addr())) };
    trace::returned(&result, |f| write!(f, "shmat({id}, {}, {})", Address(wanted.addr()), trace::AttachFlags(flags)));
    result.map_err(|errno| {
        let is_placed = placement.address.is_some();
        // At a fixed place ENOMEM is one of two things: it is beyond the address space, or that may not grow so much.
        let is_unlimited = || getrlimit(Resource::RLIMIT_AS).is_ok_and(|(limit, _)| limit == RLIM_INFINITY);
        Error::new(errno, |errno| match errno {
            Errno::EINVAL if is_placed && exists(id) => Reason::BadAddress,
            Errno::EPERM if is_placed => Reason::BadAddress,
            Errno::ENOMEM if is_placed && is_unlimited() => Reason::BadAddress,
            Errno::ENOMEM => Reason::NoMemory,
            Errno::EINVAL | Errno::EIDRM => Reason::NoSuchSegment,
            _ => Reason::Other,
        })
    })?;
    let mut attachment = Attachment { address, id, size: 0 };
    // Once attached it cannot go away or change its size, and what may be attached may be read.
    attachment.size = stat(id)?.size;
    Ok(attachment)
}

impl Attachment {
    /// Where it is.
    pub(crate) fn address(&self) -> usize {
        self.address.addr()
    }

    /// The segment's size in bytes: what may be read and written, though the last page goes on.
    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// The segment that is attached.
    pub(crate) fn id(&self) -> ShmId {
        self.id
    }
}

impl Drop for Attachment {
    fn drop(&mut self) {
        // SAFETY: the address is one that shmat returned, and nothing else detaches it; no reference into it exists.
        let ret = unsafe { libc::shmdt(self.address) };
        let result = Errno::result(ret);
        trace::returned(&result, |f| write!(f, "shmdt({})", Address(self.address())));
    }
}

/// An address in strace's notation.
struct Address(usize);

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.0 == 0 { f.write_str("NULL") } else { write!(f, "{:#x}", self.0) }
    }
}
