//! Reading another namespace's segments and limits.

use std::fs::File;
use std::io::{self, BufWriter, Cursor, Write};

use nix::errno::Errno;
use nix::unistd::Pid;

use super::all::{LiveNamespace, open_all};
use super::opened::Namespace;
use super::owners::Owners;
use crate::linux::written_by_child;
use crate::system::process::proc_is_ours;
use crate::sysv::{self, Limits, Segment, Segments, Usage};

/// The rows of a namespace's table.
pub(crate) type Rows = Box<dyn Iterator<Item = io::Result<Segment>> + Send>;

/// The number of namespaces that are entered together, because new threads take long if the processors are busy. Each needs
/// two open files.
const ENTERED_TOGETHER: usize = 16;

/// Returns each namespace with its segments; `None` if the namespace is gone.
///
/// This does not change the namespace of this thread. Call it while the process has one thread: the owner of the user
/// namespace around another namespace enters it in a forked process.
///
/// # Errors
/// `PermissionDenied` if it may not be entered.
pub(crate) fn rows(namespaces: &[LiveNamespace]) -> impl Iterator<Item = (&LiveNamespace, io::Result<Option<Rows>>)> {
    // The open table keeps showing the namespace in which it was opened (ipc/util.c, `sysvipc_proc_open`).
    let rows_here = || rows_here().map(|rows| Box::new(rows) as Rows);
    in_each(namespaces, rows_here, copied_rows).map(|(namespace, rows)| {
        let inode = namespace.inode();
        let mark = move |row: io::Result<Segment>| row.map(|row| Segment { namespace: Some(inode), ..row });
        (namespace, rows.map(|rows| rows.map(|rows| Box::new(rows.map(mark)) as Rows)))
    })
}

/// Returns each namespace with its limits and their usage, in the same way.
///
/// # Errors
/// `PermissionDenied` if it may not be entered.
pub(crate) fn limits(
    namespaces: &[LiveNamespace],
) -> impl Iterator<Item = (&LiveNamespace, io::Result<Option<(Limits, Usage)>>)> {
    in_each(namespaces, limits_here, copied_limits)
}

/// Runs `act` in each namespace, or `copy` where only the owner of its user namespace may enter it. Returns `None` for a
/// namespace that is gone.
fn in_each<T: Send>(
    namespaces: &[LiveNamespace],
    act: fn() -> io::Result<T>,
    copy: fn(&Namespace) -> io::Result<T>,
) -> impl Iterator<Item = (&LiveNamespace, io::Result<Option<T>>)> {
    namespaces.chunks(ENTERED_TOGETHER).flat_map(move |namespaces| {
        let opened = open_all(namespaces);
        let others: Vec<_> = opened.iter().filter_map(|opened| opened.as_ref().ok()?.as_ref()).collect();
        let mut entered = Namespace::inside_each(&others, act).map(Vec::into_iter);
        let mut act = |namespace: &LiveNamespace, opened: io::Result<Option<Namespace>>| {
            if namespace.is_ours() {
                return act().map(Some);
            }
            let Some(opened) = opened? else { return Ok(None) };
            let entered = match &mut entered {
                Ok(entered) => entered.next().unwrap_or_else(|| Err(io::ErrorKind::UnexpectedEof.into())),
                Err(error) => Err(io::Error::new(error.kind(), error.to_string())),
            };
            match entered {
                Err(error) if error.raw_os_error() == Some(libc::EPERM) => copy(&opened).map(Some),
                entered => entered.map(Some),
            }
        };
        let done: Vec<_> =
            namespaces.iter().zip(opened).map(|(namespace, opened)| (namespace, act(namespace, opened))).collect();
        done
    })
}

/// Returns the segments of this thread's namespace.
fn rows_here() -> io::Result<sysv::Rows> {
    sysv::rows().map_err(|error| error.errno.into())
}

/// Returns the limits of this thread's namespace.
fn limits_here() -> io::Result<(Limits, Usage)> {
    let errno = |error: sysv::Error| io::Error::from(error.errno);
    Ok((sysv::limits().map_err(errno)?, sysv::usage().map_err(errno)?))
}

/// Reads a namespace's limits for the owner of the user namespace around it, as [`copied_rows`] does.
fn copied_limits(namespace: &Namespace) -> io::Result<(Limits, Usage)> {
    let copy = |mut out: File| {
        namespace.enter_as_owner()?;
        out.write_all(&to_bytes(limits_here()?))
    };
    let (bytes, ()) = written_by_child(copy, |_| Ok(()))?;
    from_bytes(&bytes).ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
}

/// Encodes the numbers for the pipe from child to parent.
fn to_bytes((limits, usage): (Limits, Usage)) -> Vec<u8> {
    let Limits { max_bytes, min_bytes, max_segments, max_pages } = limits;
    let Usage { segments, pages, resident_pages, swapped_pages } = usage;
    let numbers = [max_bytes, min_bytes, max_segments, max_pages, segments, pages, resident_pages, swapped_pages];
    numbers.into_iter().flat_map(u64::to_ne_bytes).collect()
}

fn from_bytes(bytes: &[u8]) -> Option<(Limits, Usage)> {
    let numbers: Vec<u64> = bytes.as_chunks().0.iter().copied().map(u64::from_ne_bytes).collect();
    let &[max_bytes, min_bytes, max_segments, max_pages, segments, pages, resident_pages, swapped_pages] =
        numbers.as_slice()
    else {
        return None;
    };
    let limits = Limits { max_bytes, min_bytes, max_segments, max_pages };
    Some((limits, Usage { segments, pages, resident_pages, swapped_pages }))
}

/// The line of titles: [`Segments`] expects one.
const TITLES: &[u8] = b"key\n";

/// Returns the segments of a namespace for the owner of the user namespace around it.
fn copied_rows(namespace: &Namespace) -> io::Result<Rows> {
    let (table, owners) = copy_table(namespace)?;
    let rows = Segments::new(Cursor::new(table))?;
    Ok(Box::new(rows.map(move |row| row.map(|row| owners.as_seen_here(row)))))
}

/// Copies a namespace's table for the owner of the user namespace around it, in a forked process: a multithreaded
/// process cannot enter it, and this process must stay where it is. The uids in this table are those of that user
/// namespace.
fn copy_table(namespace: &Namespace) -> io::Result<(Vec<u8>, Owners)> {
    // The code below finds the child in /proc by its pid.
    if !proc_is_ours() {
        return Err(Errno::EPERM.into());
    }
    let copy = |mut out: File| {
        namespace.enter_as_owner()?;
        let mut table = BufWriter::new(&mut out);
        table.write_all(TITLES)?;
        for row in rows_here()? {
            table.write_all(row?.to_line().as_bytes())?;
        }
        table.flush()
    };
    written_by_child(copy, |child: Pid| Owners::of_process(child.as_raw()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_pass_through_a_pipe() {
        let limits = Limits { max_bytes: u64::MAX, min_bytes: 1, max_segments: 2, max_pages: 3 };
        let usage = Usage { segments: 4, pages: 5, resident_pages: 6, swapped_pages: 7 };
        let bytes = to_bytes((limits, usage));
        assert_eq!(from_bytes(&bytes), Some((limits, usage)));
        assert_eq!(from_bytes(&bytes[..40]), None);
    }
}
