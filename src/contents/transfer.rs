//! Bytes between segments and files, with errors that name both.

use std::fs::File;
use std::io::{self, Seek};
use std::ops::Range;
use std::os::fd::AsFd;
use std::path::Path;

use crate::error::{Error, Result};
use crate::output::Progress;
use crate::sysv::{self, Access, Attachment, Contents, Errno, MoveError, Placement, Reason, Stream};
use crate::values::ShmId;

/// How much is written at a time of what is in memory.
const PIECE: u64 = 1 << 20;

/// Where bytes for a segment come from.
#[derive(Debug)]
pub(crate) struct Input {
    source: Source,
    /// What is added behind it.
    tail: &'static [u8],
    name: String,
    length: Option<u64>,
}

#[derive(Debug)]
enum Source {
    Bytes(Vec<u8>),
    File(File),
}

impl Input {
    /// These bytes.
    pub(crate) fn bytes(bytes: Vec<u8>) -> Input {
        let length = Some(bytes.len() as u64);
        Input { source: Source::Bytes(bytes), tail: b"", name: "the text".into(), length }
    }

    /// What is left of an open file. How much that is, is known beforehand for a regular file only.
    pub(crate) fn file(mut file: File, name: &Path) -> io::Result<Input> {
        let metadata = file.metadata()?;
        if metadata.is_dir() {
            return Err(io::Error::from_raw_os_error(libc::EISDIR));
        }
        let length =
            if metadata.is_file() { Some(metadata.len().saturating_sub(file.stream_position()?)) } else { None };
        // A file of /proc says 0, and has more in it.
        let length = length.filter(|length| *length > 0);
        Ok(Input { source: Source::File(file), tail: b"", name: name.display().to_string(), length })
    }

    /// How many bytes will come, where that is known.
    pub(crate) fn length(&self) -> Option<u64> {
        self.length
    }

    /// Adds bytes behind the last one.
    pub(crate) fn and_then(self, tail: &'static [u8]) -> Input {
        let length = self.length.map(|length| length + tail.len() as u64);
        Input { tail, length, ..self }
    }

    fn unreadable(&self, error: &io::Error) -> Error {
        Error::io(format_args!("read {}", self.name), error)
    }
}

/// Attaches a segment, to do to it what `verb` says.
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
            Reason::BadAddress => told.hint("--round rounds it down to a page, --remap replaces what is there"),
            Reason::NoSuchSegment => told.hint("`shmadm list` shows those that exist"),
            _ => told,
        }
    })
}

/// Opens the way to what is in an attached segment.
pub(crate) fn contents<'a>(attachment: &'a Attachment, name: &str, access: Access) -> Result<Contents<'a>> {
    attachment.contents(access).map_err(|error| {
        let told = Error::io(format_args!("reach the contents of {name}"), &error);
        match error.kind() {
            io::ErrorKind::NotFound => told.hint("they are reached through /proc/self: is /proc mounted?"),
            _ => told,
        }
    })
}

/// Copies the whole input into a segment from `offset` on, where `size` ends it. Returns where the input ended.
pub(crate) fn fill_from(contents: &Contents<'_>, name: &str, input: &Input, offset: u64, size: u64) -> Result<u64> {
    let is_full = |at: u64| {
        let written = at - offset;
        Error::failed(format!(
            "cannot write all of {} to {name}: the segment is full; {written} bytes were written, and there is more",
            input.name
        ))
    };
    let at = match &input.source {
        Source::Bytes(bytes) if bytes.len() as u64 > size - offset => return Err(is_full(offset)),
        Source::Bytes(bytes) => {
            write_at(contents, name, bytes, offset)?;
            offset + bytes.len() as u64
        }
        Source::File(file) => {
            let stream = Stream::new(file.as_fd());
            stream.enlarge();
            let at = receive(contents, name, input, &stream, offset..size)?;
            // Whether there is more, only one byte more tells.
            if at == size && stream.read(&mut [0]).map_err(|error| input.unreadable(&error))? > 0 {
                return Err(is_full(at));
            }
            at
        }
    };
    if input.tail.len() as u64 > size - at {
        return Err(is_full(at));
    }
    write_at(contents, name, input.tail, at)?;
    Ok(at + input.tail.len() as u64)
}

/// Moves a stream into a part of a segment, until one of them ends. Returns where in the segment that is.
fn receive(contents: &Contents<'_>, name: &str, input: &Input, from: &Stream<'_>, part: Range<u64>) -> Result<u64> {
    let mut progress = Progress::bytes("writing", input.length);
    let mut at = part.start;
    while at < part.end {
        let error = match contents.receive(at..part.end, from) {
            Ok(0) => break,
            Ok(count) => {
                at += count;
                progress.advance(count);
                continue;
            }
            Err(MoveError::Segment(error)) => page_error(format_args!("write to {name} at {at}"), &error),
            Err(MoveError::Stream(error)) => input.unreadable(&error),
        };
        return Err(error.hint(format_args!("{} bytes were written before", at - part.start)));
    }
    Ok(at)
}

/// Fills a part of a segment with one byte.
pub(crate) fn fill_with(contents: &Contents<'_>, name: &str, byte: u8, part: Range<u64>) -> Result<()> {
    let mut progress = Progress::bytes("filling", Some(part.end - part.start));
    let buffer = vec![byte; PIECE.min(part.end - part.start) as usize];
    let mut at = part.start;
    while at < part.end {
        let count = (part.end - at).min(PIECE);
        write_at(contents, name, &buffer[..count as usize], at)?;
        at += count;
        progress.advance(count);
    }
    Ok(())
}

/// Clears a segment. Its pages are given back, and where the kernel does not do that, written over.
pub(crate) fn clear(contents: &Contents<'_>, name: &str, size: u64) -> Result<()> {
    // In few steps, of which each takes its time only where there are pages.
    let step = (size / 64).next_multiple_of(1 << 30).max(1 << 30);
    let mut progress = Progress::bytes("clearing", Some(size));
    let mut at = 0;
    while at < size {
        let end = size.min(at.saturating_add(step));
        if contents.clear(at..end).is_err() {
            drop(progress);
            return fill_with(contents, name, 0, 0..size);
        }
        progress.advance(end - at);
        at = end;
    }
    Ok(())
}

fn write_at(contents: &Contents<'_>, name: &str, bytes: &[u8], offset: u64) -> Result<()> {
    contents.write_at(bytes, offset).map_err(|error| page_error(format_args!("write to {name} at {offset}"), &error))
}

/// The error of a copy: `EFAULT` means a page that is not to be had.
pub(crate) fn page_error(what: impl std::fmt::Display, error: &io::Error) -> Error {
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
