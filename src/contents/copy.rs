//! Writing into a segment: from an input, or one byte repeatedly.

use std::ops::Range;
use std::os::fd::AsFd;

use super::Advance;
use super::attach::page_error;
use super::input::{Input, Source};
use crate::error::{Error, Result};
use crate::sysv::{Contents, MoveError, Stream};
use crate::values::counted;

/// The maximum number of bytes that one call writes from memory.
const PIECE: u64 = 1 << 20;

/// Copies the whole input into a segment of `size` bytes, starting at `offset`. Returns the offset after its last byte.
///
/// # Errors
/// The input does not fit, or one of the two sides fails. The error says how much was written.
pub(crate) fn fill_from(
    contents: &Contents<'_>,
    name: &str,
    input: &Input,
    offset: u64,
    size: u64,
    advance: Advance<'_>,
) -> Result<u64> {
    let is_full = |at: u64| {
        let written = written(at - offset);
        Error::failed(format!(
            "cannot write all of {} to {name}: the segment is full; {written}, and there is more",
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
            let at = receive(contents, name, input, &stream, offset..size, advance)?;
            // Only reading another byte shows whether the input is longer.
            if at == size && stream.read(&mut [0]).map_err(|error| input.unreadable(&error))? > 0 {
                return Err(is_full(at));
            }
            if let Some(expected) = input.length_of_source()
                && at - offset < expected
            {
                return Err(shrank(name, input, at - offset, expected));
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

fn shrank(name: &str, input: &Input, written: u64, expected: u64) -> Error {
    Error::cannot(
        format_args!("write all of {} to {name}", input.name),
        format!("it became shorter meanwhile; of {expected} bytes, {written} were written"),
    )
}

/// Moves a stream into a part of a segment, until either ends. Returns the offset in the segment at that point.
fn receive(
    contents: &Contents<'_>,
    name: &str,
    input: &Input,
    from: &Stream<'_>,
    part: Range<u64>,
    advance: Advance<'_>,
) -> Result<u64> {
    let mut at = part.start;
    while at < part.end {
        let error = match contents.receive(at..part.end, from) {
            Ok(0) => break,
            Ok(count) => {
                at += count;
                advance(count);
                continue;
            }
            Err(MoveError::Segment(error)) => page_error(format_args!("write to {name} at {at}"), &error),
            Err(MoveError::Stream(error)) => input.unreadable(&error),
        };
        return Err(error.hint(format_args!("{} before", written(at - part.start))));
    }
    Ok(at)
}

/// Fills a part of a segment with one byte.
pub(crate) fn fill_with(
    contents: &Contents<'_>,
    name: &str,
    byte: u8,
    part: Range<u64>,
    advance: Advance<'_>,
) -> Result<()> {
    let buffer = vec![byte; PIECE.min(part.end - part.start) as usize];
    let mut at = part.start;
    while at < part.end {
        let count = (part.end - at).min(PIECE);
        write_at(contents, name, &buffer[..count as usize], at)?;
        at += count;
        advance(count);
    }
    Ok(())
}

/// Clears a segment. Its pages are returned to the kernel; if that is not possible, zeros are written.
pub(crate) fn clear(contents: &Contents<'_>, name: &str, size: u64, advance: Advance<'_>) -> Result<()> {
    // At most 64 steps: each takes time only for pages that are allocated.
    let step = (size / 64).next_multiple_of(1 << 30).max(1 << 30);
    let mut at = 0;
    while at < size {
        let end = size.min(at.saturating_add(step));
        if contents.clear(at..end).is_err() {
            return fill_with(contents, name, 0, at..size, advance);
        }
        advance(end - at);
        at = end;
    }
    Ok(())
}

/// Writes bytes at an offset of a segment.
pub(crate) fn write_at(contents: &Contents<'_>, name: &str, bytes: &[u8], offset: u64) -> Result<()> {
    contents.write_at(bytes, offset).map_err(|error| page_error(format_args!("write to {name} at {offset}"), &error))
}

/// Returns the number of bytes written as a text: `1 byte was written`.
fn written(count: u64) -> String {
    format!("{} {} written", counted(count, "byte"), if count == 1 { "was" } else { "were" })
}
