//! shmat(2) and shmdt(2): an attachment that detaches when it is dropped.

mod word;

use std::ffi::c_void;
use std::mem::ManuallyDrop;
use std::ptr;

use nix::errno::Errno;
use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit};

use super::control::{exists, stat};
use super::error::{Error, Reason};
use super::{ShmId, trace};

/// The access of an attachment. shmat(2) has no write-only attach.
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
    /// The address. The kernel chooses one if this is `None`.
    pub address: Option<usize>,
    /// `SHM_RND`: round the address down to a multiple of SHMLBA.
    pub round: bool,
    /// `SHM_REMAP`: replace an existing mapping. See [`attach`].
    pub remap: bool,
}

/// A segment in the address space of this process. Dropping it detaches the segment.
///
/// There is never a reference into it: other processes can write to it at any time, bytes beyond its size can be written
/// without a fault, and a page may be unavailable. [`Attachment::contents`] copies by system calls.
#[derive(Debug)]
pub(crate) struct Attachment {
    address: *mut c_void,
    size: u64,
}

/// Attaches a segment with shmat(2).
///
/// With [`Placement::remap`], the segment is attached twice at the address. The first call has no `SHM_REMAP`, so the
/// kernel checks that nothing is mapped there. The second call has it and replaces the first attachment. So this never
/// replaces the code, the stacks or the heap of this process.
///
/// # Errors
/// `EINVAL` and `EIDRM` are [`Reason::NoSuchSegment`], `EACCES` is [`Reason::PermissionDenied`], `ENOMEM` is
/// [`Reason::NoMemory`] (no room in the address space, or RLIMIT_AS is reached). If an address was requested,
/// [`Reason::BadAddress`] is `EINVAL` if the segment exists, `EPERM`, and `ENOMEM` if RLIMIT_AS cannot be its cause.
pub(crate) fn attach(id: ShmId, access: Access, placement: Placement) -> Result<Attachment, Error> {
    let round = if placement.round { libc::SHM_RND } else { 0 };
    // SAFETY: without SHM_REMAP the kernel takes only addresses where nothing is mapped.
    let mut address = unsafe { shmat(id, placement.address.unwrap_or(0), access, round) }
        .map_err(|errno| explain(errno, id, placement))?;
    if placement.remap {
        // SAFETY: this replaces only the attachment that the previous call made, which nothing refers to yet. If the
        // call fails, that attachment stays.
        let remapped = unsafe { shmat(id, address.addr(), access, round | libc::SHM_REMAP) };
        address = remapped.map_err(|errno| {
            drop(Attachment { address, size: 0 });
            explain(errno, id, placement)
        })?;
    }
    let mut attachment = Attachment { address, size: 0 };
    // An attached segment continues to exist with the same size. A process that can attach it can read its state.
    attachment.size = stat(id)?.size;
    Ok(attachment)
}

/// Calls shmat(2).
///
/// # Safety
/// With `SHM_REMAP` in `flags`, nothing in this process may use what is mapped where the segment is attached.
unsafe fn shmat(id: ShmId, wanted: usize, access: Access, flags: libc::c_int) -> Result<*mut c_void, Errno> {
    let flags = flags
        | match access {
            Access::Read => libc::SHM_RDONLY,
            Access::ReadWrite => 0,
        };
    // SAFETY: the kernel accepts only free addresses, or with SHM_REMAP those that the caller vouches for.
    let address = unsafe { libc::shmat(id.as_raw(), ptr::without_provenance(wanted), flags) };
    // shmat(2) returns (void *)-1 if it fails.
    let result = if address.addr() == usize::MAX { Err(Errno::last()) } else { Ok(Address(address.addr())) };
    trace::returned(&result, |f| write!(f, "shmat({id}, {}, {})", Address(wanted), trace::attach_flags(flags)));
    result.map(|_| address)
}

fn explain(errno: Errno, id: ShmId, placement: Placement) -> Error {
    let is_placed = placement.address.is_some();
    // At a fixed address ENOMEM has two causes: the end of the address space, or RLIMIT_AS.
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
    /// Returns the address.
    pub(crate) fn address(&self) -> usize {
        self.address.addr()
    }

    /// Returns the address of an offset. It is only for system calls, which check it.
    pub(super) fn at(&self, offset: u64) -> *mut c_void {
        ptr::without_provenance_mut(self.address() + offset as usize)
    }

    /// Detaches the segment: shmdt(2). Dropping does so, too, but hides a failure.
    ///
    /// # Errors
    /// That of shmdt(2): then the segment stays attached until the process ends.
    pub(crate) fn detach(self) -> Result<(), Error> {
        let address = ManuallyDrop::new(self).address;
        // SAFETY: shmat returned this address, and the attachment that would detach it is never dropped.
        unsafe { shmdt(address) }.map_err(|errno| Error::new(errno, |_| Reason::Other))
    }

    /// Returns the segment's size in bytes. Only these bytes are used, although the last page is longer.
    pub(crate) fn size(&self) -> u64 {
        self.size
    }
}

impl Drop for Attachment {
    fn drop(&mut self) {
        // The end of the process detaches the segment, whatever failed here.
        // SAFETY: shmat returned this address, and nothing else detaches it.
        let _ = unsafe { shmdt(self.address) };
    }
}

/// Calls shmdt(2).
///
/// # Safety
/// shmat(2) returned the address, it was not detached since, and nothing in this process uses what is mapped there.
unsafe fn shmdt(address: *mut c_void) -> Result<(), Errno> {
    // SAFETY: the caller vouches for the address.
    let result = Errno::result(unsafe { libc::shmdt(address) });
    trace::returned(&result, |f| write!(f, "shmdt({})", Address(address.addr())));
    result.map(drop)
}

/// An address in strace's notation.
struct Address(usize);

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.0 == 0 { f.write_str("NULL") } else { write!(f, "{:#x}", self.0) }
    }
}
