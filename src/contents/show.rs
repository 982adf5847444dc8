//! Printing a part of a segment as text: a C string, or a hexdump.

use std::io::{self, BufWriter, Write};

use super::Advance;
use super::part::{Part, Run};
use super::sink::Sink;
use crate::error::{Error, Result};
use crate::output::{Hexdump, Text, escaped_lines, whole_characters};

/// Returns whether a part is text, followed only by NUL bytes.
pub(crate) fn is_text(part: &Part<'_>) -> Result<bool> {
    let mut text = Text::default();
    part.runs(&mut |_| {}, |run| {
        match run {
            Run::Zeros(_) => text.push(&[0]),
            Run::Data(bytes) => text.push(bytes),
        }
        Ok(text.is_possible())
    })?;
    Ok(text.is_whole())
}

/// Writes the bytes before the first NUL, and a newline. On a terminal, control characters are escaped.
pub(crate) fn string(part: &Part<'_>, on_terminal: bool, sink: &mut Sink<'_>, advance: Advance<'_>) -> Result<()> {
    let mut last = None;
    // A character may start in one piece and end in the next.
    let mut kept = Vec::new();
    part.runs(advance, |run| {
        let Run::Data(bytes) = run else { return Ok(false) };
        let nul = bytes.iter().position(|b| *b == 0);
        let bytes = &bytes[..nul.unwrap_or(bytes.len())];
        last = bytes.last().copied().or(last);
        if on_terminal {
            kept.extend_from_slice(bytes);
            let whole = if nul.is_some() { kept.len() } else { whole_characters(&kept) };
            sink.bytes(escaped_lines(&kept[..whole]).as_bytes())?;
            kept.drain(..whole);
        } else {
            sink.bytes(bytes)?;
        }
        Ok(nul.is_none())
    })?;
    sink.bytes(escaped_lines(&kept).as_bytes())?;
    if last.is_some_and(|last| last != b'\n') { sink.bytes(b"\n") } else { Ok(()) }
}

/// Writes the bytes as `hexdump -C` does.
pub(crate) fn hexdump(part: &Part<'_>, sink: &mut Sink<'_>, advance: Advance<'_>) -> Result<()> {
    let mut writer = BufWriter::with_capacity(64 << 10, SinkWriter { sink, error: None });
    let dumped =
        dump_to(part, &mut writer, advance).and_then(|()| writer.flush().map_err(|error| Error::output(&error)));
    match writer.into_parts().0.error {
        Some(error) => Err(error),
        None => dumped,
    }
}

fn dump_to(part: &Part<'_>, writer: &mut impl Write, advance: Advance<'_>) -> Result<()> {
    let mut dump = Hexdump::new(writer, part.range.start);
    part.runs(advance, |run| {
        let pushed = match run {
            Run::Data(bytes) => dump.push(bytes),
            Run::Zeros(count) => dump.push_zeros(count),
        };
        pushed.map(|()| true).map_err(|error| Error::output(&error))
    })?;
    dump.finish().map_err(|error| Error::output(&error))
}

/// Adapts a sink to [`io::Write`], and keeps the sink's own error.
struct SinkWriter<'a, 'b> {
    sink: &'a mut Sink<'b>,
    error: Option<Error>,
}

impl Write for SinkWriter<'_, '_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.sink.bytes(bytes).map(|()| bytes.len()).map_err(|error| {
            self.error = Some(error);
            io::Error::other("kept")
        })
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
