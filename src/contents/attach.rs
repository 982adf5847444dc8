//! Attaching a segment to move its bytes, with errors that name the segment and give advice.

use std::fmt;
use std::io;

use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit};
use nix::unistd::geteuid;

use crate::error::{Error, Result};
use crate::segments::lookup;
use crate::system::address_space::largest_free_range;
use crate::sysv::{self, Access, Attachment, Errno, Placement, Reason, Segment};
use crate::values::{ShmId, human};

/// Attaches a segment. `verb` names the purpose in errors, as in "cannot read segment …".
///
/// # Errors
/// Those of shmat(2), each with advice.
pub(crate) fn attach(id: ShmId, name: &str, verb: &str, access: Access, placement: Placement) -> Result<Attachment> {
    sysv::attach(id, access, placement).map_err(|error| {
        let needs = match access {
            Access::Read => "read",
            Access::ReadWrite => "read and write",
        };
        let address = placement.address.map_or(String::new(), |address| format!(" at {address:#x}"));
        let failure = Error::call(format_args!("{verb} {name}{address}"), error);
        match error.reason {
            Reason::PermissionDenied => match own_mode(id) {
                Some(mode) => failure.hint(format_args!("you own it: `shmadm set id:{id} --mode {mode}` permits it")),
                None => failure.hint(format_args!(
                    "attaching it needs {needs} permission, which its owner can give: `shmadm stat id:{id}` shows the mode"
                )),
            },
            Reason::NoMemory => match lookup::current(id).ok().flatten().and_then(|segment| no_room_for(&segment)) {
                Some(cause) => Error::cannot(format_args!("{verb} {name}{address}"), cause).errno(error.errno),
                None => match address_space_limit() {
                    Some(hint) => failure.hint(hint),
                    None => failure,
                },
            },
            Reason::BadAddress if error.errno != Errno::EINVAL => failure,
            Reason::BadAddress if access == Access::Read => {
                failure.hint(format_args!("use a multiple of {} bytes where nothing is mapped", sysv::page_size()))
            }
            Reason::BadAddress => failure.hint("--round rounds it down to a page; without --at the kernel chooses"),
            Reason::NoSuchSegment => failure.hint("`shmadm list` shows those that exist"),
            _ => failure,
        }
    })
}

/// Returns a mode with which the caller could attach the segment; `None` if the caller neither owns nor created it.
fn own_mode(id: ShmId) -> Option<String> {
    let segment = lookup::current(id).ok().flatten()?;
    // ipcperms() in ipc/util.c applies the owner's bits to the creator too.
    segment.is_controlled_by(geteuid().as_raw()).then(|| format!("{:o}", segment.mode().bits() | 0o600))
}

/// Returns why a segment does not fit into the address space of this process, if it does not. Any user can create such
/// a segment: no memory is reserved for it.
fn no_room_for(segment: &Segment) -> Option<String> {
    let free = largest_free_range().ok()?;
    (segment.size > free).then(|| {
        format!(
            "its {} do not fit into the address space of a process like shmadm, where at most {} are free",
            human(segment.size.into()),
            human(free.into())
        )
    })
}

/// The advice for a soft limit that the caller may remove.
const LIFT: &str = "`ulimit -v unlimited` lifts it, in the shell that starts shmadm";

/// Returns a text about the limit on this process's address space (getrlimit(2), `RLIMIT_AS`), if there is one.
fn address_space_limit() -> Option<String> {
    let (bytes, most) = getrlimit(Resource::RLIMIT_AS).ok().filter(|(bytes, _)| *bytes != RLIM_INFINITY)?;
    let lift = match most {
        _ if geteuid().is_root() => LIFT.into(),
        RLIM_INFINITY => LIFT.into(),
        most if most > bytes => format!("`ulimit -v {}` is the most that this shell may have", most / 1024),
        _ => "only root can lift it: `prlimit --as=unlimited --pid PID-OF-YOUR-SHELL`".into(),
    };
    Some(format!("the address space is limited to {} (ulimit -v, RLIMIT_AS); {lift}", human(bytes.into())))
}

/// Returns the error for a failed copy. `EFAULT` means that the kernel has no page for it.
pub(crate) fn page_error(what: impl fmt::Display, error: &io::Error) -> Error {
    match error.raw_os_error() {
        Some(libc::EFAULT) => Error::failed(format!(
            "cannot {what}: the kernel has no page for it; for a segment of huge pages, too few are free \
             (vm.nr_hugepages)"
        ))
        .errno(Errno::EFAULT),
        _ => Error::io(what, error),
    }
}
