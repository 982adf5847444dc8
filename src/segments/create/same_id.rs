//! Creating a segment with a given identifier, as CRIU does to restore processes.

use std::convert::Infallible;
use std::fs;
use std::io;

use super::{Created, NotCreated, Undoer, create};
use crate::error::Error;
use crate::segments::lookup::Named;
use crate::sysv::{self, NewSegment, Reason};
use crate::values::{Key, Mode, ShmId};

/// The identifier of the next segment of this IPC namespace, or -1 (proc_sys_kernel(5)).
const NEXT_ID: &str = "/proc/sys/kernel/shm_next_id";

/// An identifier that nobody wants: the highest sequence number, at the first index (ipc/util.h).
const UNWANTED_ID: i32 = 0x7fff_8000;

/// Creates a segment with this identifier. Needs `CAP_CHECKPOINT_RESTORE` in the user namespace of the IPC namespace.
///
/// # Errors
/// Those of [`create()`]; another segment has the identifier, or the same index; the sysctl cannot be written.
pub(crate) fn create_with_id<'a>(new: &NewSegment, id: ShmId, undoer: &'a Undoer) -> Result<Created<'a>, NotCreated> {
    let action = format!("create a segment with identifier {id}");
    ask_for(id.as_raw()).map_err(|error| {
        let hint = "choosing the identifier needs root or CAP_CHECKPOINT_RESTORE, and a writable /proc/sys";
        NotCreated::Failed(Error::io(format_args!("{action}: write {NEXT_ID}"), &error).hint(hint))
    })?;
    let created = create(new, undoer).map_err(|error| match (error, take_back(undoer)) {
        (NotCreated::Failed(error), Err(left)) => NotCreated::Failed(error.hint(left)),
        (error, _) => error,
    })?;
    if created.segment().id == id {
        return Ok(created);
    }
    let got = Named::from(created.segment()).to_string();
    let cause = format!("another segment has it or its index, so the kernel created {got} instead");
    // The step cannot succeed, so the segment is removed again.
    let Err(error) = created.finish(|_| Err::<Infallible, _>(Error::cannot(action, cause)));
    Err(NotCreated::Failed(error))
}

/// Uses up a requested identifier that was not used. Otherwise the next segment of any process would get it. Writing -1
/// would not withdraw the request, because the kernel accepts no negative number. So this creates a segment. If that is
/// impossible, because a limit is reached, the next segment gets an identifier that nobody asked for.
///
/// # Errors
/// The segment could not be removed: what to tell the user.
fn take_back(undoer: &Undoer) -> Result<(), String> {
    let new = NewSegment::new(Key::PRIVATE, 1, Mode::from_raw(0o600));
    let creation = undoer.begin(&new);
    match sysv::create(&new) {
        Ok(id) => {
            creation.created(id);
            match sysv::remove(id) {
                Err(error) if error.reason != Reason::NoSuchSegment => {
                    return Err(format!("a segment of 1 byte, id:{id}, could not be removed"));
                }
                _ => {}
            }
        }
        // If this fails too, nothing else can be tried.
        Err(_) => _ = ask_for(UNWANTED_ID),
    }
    Ok(())
}

fn ask_for(id: i32) -> io::Result<()> {
    fs::write(NEXT_ID, id.to_string())
}
