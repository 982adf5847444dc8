//! shmat(2) and shmdt(2): an attachment that detaches when it is dropped.

use std::ffi::c_void;
use std::ptr;

use nix::errno::Errno;
use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit};

use super::control::{exists, stat};
use super::error::{Error, Reason};
use super::{ShmId, trace};

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
    /// `SHM_REMAP`: replace what is mapped there. See [`attach`].
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
/// With [`Placement::remap`], the segment is attached twice at the address: first without `SHM_REMAP`, so that the kernel
/// checks that nothing is mapped there, and then with it, in place of the first attachment. Code, stacks and the heap of
/// this process are thus never replaced.
///
/// # Errors
/// `EINVAL` and `EIDRM` are [`Reason::NoSuchSegment`], `EACCES` is [`Reason::PermissionDenied`], `ENOMEM` is
/// [`Reason::NoMemory`] (no room in the address space, or RLIMIT_AS is reached). Where an address was asked for,
/// [`Reason::BadAddress`] is `EINVAL` if the segment exists, `EPERM`, and `ENOMEM` if RLIMIT_AS cannot be its cause.
pub(crate) fn attach(id: ShmId, access: Access, placement: Placement) -> Result<Attachment, Error> {
    let round = if placement.round { libc::SHM_RND } else { 0 };
    // SAFETY: without SHM_REMAP the kernel takes only addresses where nothing is mapped.
    let mut address = unsafe { shmat(id, placement.address.unwrap_or(0), access, round) }
        .map_err(|errno| explain(errno, id, placement))?;
    if placement.remap {
        // SAFETY: all that this replaces is the attachment of the same segment that the call before has just made there:
        // nobody knows of it yet. Where it fails, that attachment stays.
        let remapped = unsafe { shmat(id, address.addr(), access, round | libc::SHM_REMAP) };
        address = remapped.map_err(|errno| {
            drop(Attachment { address, id, size: 0 });
            explain(errno, id, placement)
        })?;
    }
    let mut attachment = Attachment { address, id, size: 0 };
    // Once attached, it cannot go away or change its size, and what may be attached may be read.
    attachment.size = stat(id)?.size;
    Ok(attachment)
}

/// # Safety
/// With `SHM_REMAP` in `flags`, nothing in this process may use what is mapped where the segment goes.
unsafe fn shmat(id: ShmId, wanted: usize, access: Access, flags: libc::c_int) -> Result<*mut c_void, Errno> {
    let flags = flags
        | match access {
            Access::Read => libc::SHM_RDONLY,
            Access::ReadWrite => 0,
        };
    // SAFETY: the kernel takes only addresses that are free, or by SHM_REMAP those that the caller answers for.
    let address = unsafe { libc::shmat(id.as_raw(), ptr::without_provenance(wanted), flags) };
    // shmat(2) returns (void *)-1 where it fails.
    let result = if address.addr() == usize::MAX { Err(Errno::last()) } else { Ok(Address(address.addr())) };
    trace::returned(&result, |f| write!(f, "shmat({id}, {}, {})", Address(wanted), trace::AttachFlags(flags)));
    result.map(|_| address)
}

fn explain(errno: Errno, id: ShmId, placement: Placement) -> Error {
    let is_placed = placement.address.is_some();
    // At a fixed address ENOMEM is one of two things: it is beyond the address space, or RLIMIT_AS is reached.
    let is_unlimited = || getrlimit(Resource::RLIMIT_AS).is_ok_and(|(limit, _)| limit == RLIM_INFINITY);
    Error::new(errno, |errno| match errno {
        Errno::EINVAL if is_placed && exists(id) => Reason::BadAddress,
        Errno::EPERM if is_placed => Reason::BadAddress,
        Errno::ENOMEM if is_placed && is_unlimited() => Reason::BadAddress,
        Errno::ENOMEM => Reason::NoMemory,
        Errno::EINVAL | Errno::EIDRM => Reason::NoSuchSegment,
        _ => Reason::Other,
    })
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
