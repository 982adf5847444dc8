//! Attaching a segment to move its bytes, with errors that name the segment and the remedy.

use std::fmt;
use std::io;

use crate::error::{Error, Result};
use crate::sysv::{self, Access, Attachment, Errno, Placement, Reason};
use crate::values::ShmId;

/// Attaches a segment for the purpose that `verb` names, as in "cannot read segment …".
///
/// # Errors
/// Those of shmat(2), each with what the user can do about it.
pub(crate) fn attach(id: ShmId, name: &str, verb: &str, access: Access, placement: Placement) -> Result<Attachment> {
    sysv::attach(id, access, placement).map_err(|error| {
        let needs = match access {
            Access::Read => "read",
            Access::ReadWrite => "read and write",
        };
        let address = placement.address.map_or(String::new(), |address| format!(" at {address:#x}"));
        let told = Error::call(format_args!("{verb} {name}{address}"), error);
        match error.reason {
            Reason::PermissionDenied => told.hint(format_args!(
                "attaching it needs {needs} permission, which its owner can give: `shmadm stat id:{id}` shows the mode"
            )),
            Reason::BadAddress if error.errno != Errno::EINVAL => told,
            Reason::BadAddress if access == Access::Read => {
                told.hint(format_args!("name a multiple of {} where nothing is mapped", sysv::page_size()))
            }
            Reason::BadAddress => told.hint("--round rounds it down to a page; without --at the kernel chooses"),
            Reason::NoSuchSegment => told.hint("`shmadm list` shows those that exist"),
            _ => told,
        }
    })
}

/// Returns the error of a failed copy. `EFAULT` means that the kernel has no page.
pub(crate) fn page_error(what: impl fmt::Display, error: &io::Error) -> Error {
    match error.raw_os_error() {
        Some(libc::EFAULT) => Error {
            errno: Some(Errno::EFAULT),
            ..Error::failed(format!(
                "cannot {what}: the kernel has no page for it; if it is a segment of huge pages, too few are free \
                 (vm.nr_hugepages)"
            ))
        },
        _ => Error::io(what, error),
    }
}
