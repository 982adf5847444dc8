use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};

use super::{Context, attachment, segment_parser};
use crate::contents::destination::{Destination, Sink, cannot_write};
use crate::contents::transfer;
use crate::error::{Error, Result, Status};
use crate::output::{Hexdump, Progress, Text, escaped_lines, whole_characters};
use crate::segments::create;
use crate::segments::lookup;
use crate::sysv::{Access, Contents, Extent, Placement};
use crate::values::{SegmentRef, Size};

/// How much is copied at a time.
const PIECE: u64 = 1 << 20;

/// Read a segment's contents
///
/// Attaches the segment read-only and writes its bytes to standard output. Pages that nobody ever touched stay
/// unallocated.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    shmadm read 0x2a                        text or a hexdump on a terminal, the bytes into a pipe\n  \
    shmadm read 0x2a -f string              up to the first NUL, as a C program prints it\n  \
    shmadm read id:5 --offset 4K --length 64 -f hex\n  \
    shmadm read 42 -o snapshot.bin          whole or not at all; holes stay holes")]
pub(super) struct Read {
    /// The segment: a key (0x2a, 42, 052), id:N, or ftok:PROJECT:PATH
    #[arg(value_parser = segment_parser(), allow_negative_numbers = true)]
    segment: SegmentRef,
    /// Begin at this byte
    #[arg(long, value_name = "N", default_value = "0")]
    offset: Size,
    /// Read so many bytes; up to the end if this is not said
    #[arg(long, value_name = "N")]
    length: Option<Size>,
    /// How to show them
    #[arg(short, long, value_enum, default_value_t)]
    format: Format,
    /// Write to FILE, which is replaced when all is written
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    attaching: attachment::Attaching,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
enum Format {
    /// On a terminal string for text and hex for the rest; elsewhere raw
    #[default]
    Auto,
    /// The bytes, no more
    Raw,
    /// Up to the first NUL
    String,
    /// As hexdump -C shows it
    Hex,
}

/// A part of an attached segment.
struct Part<'a> {
    contents: Contents<'a>,
    name: &'a str,
    start: u64,
    end: u64,
}

impl Read {
    pub(super) fn run(&self, context: &mut Context) -> Result<Status> {
        let named = lookup::find("read", &self.segment)?;
        let name = named.to_string();
        create::outlives_a_detach(named.id, &name, "read")?;
        let placement = Placement { address: self.attaching.at(), ..Placement::default() };
        let attachment = transfer::attach(named.id, &name, "read", Access::Read, placement)?;
        let (start, end) = self.range(&name, attachment.size())?;
        let part = Part { contents: transfer::contents(&attachment, &name, Access::Read)?, name: &name, start, end };
        match &self.output {
            Some(path) => self.to_file(&part, path)?,
            None => {
                let terminal = context.output.is_terminal();
                part.show(self.format, terminal, &mut Sink::Output(&mut context.output))?;
            }
        }
        drop(part);
        self.attaching.hold(attachment, &name, context)
    }

    fn range(&self, name: &str, size: u64) -> Result<(u64, u64)> {
        let start = self.offset.0;
        let end = match self.length {
            Some(Size(length)) => start.checked_add(length),
            None => Some(size.max(start)),
        };
        match end {
            Some(end) if end <= size => Ok((start, end)),
            _ => {
                let length = self.length.map_or(String::new(), |length| format!("{} bytes ", length.0));
                Err(Error::failed(format!("cannot read {length}from byte {start} of {name}: it has {size} bytes")))
            }
        }
    }

    fn to_file(&self, part: &Part<'_>, path: &Path) -> Result<()> {
        let cannot = |error: &io::Error| cannot_write(path, error);
        let destination = Destination::open(path, 0o600).map_err(|error| cannot(&error))?;
        let file = destination.file().map_err(|error| cannot(&error))?;
        part.show(self.format, false, &mut Sink::File { file, path, punch: destination.is_new_file() })?;
        destination.finish().map_err(|error| cannot(&error))
    }
}

/// A sink with the face of std's writers, which keeps its error as it is.
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

/// A run of a segment's bytes.
enum Run<'a> {
    Data(&'a [u8]),
    Zeros(u64),
}

impl Run<'_> {
    fn length(&self) -> u64 {
        match self {
            Self::Data(bytes) => bytes.len() as u64,
            Self::Zeros(count) => *count,
        }
    }
}

impl Part<'_> {
    fn show(&self, format: Format, on_terminal: bool, sink: &mut Sink<'_>) -> Result<()> {
        let format = match format {
            Format::Auto if !on_terminal => Format::Raw,
            Format::Auto if self.is_text()? => Format::String,
            Format::Auto => Format::Hex,
            asked => asked,
        };
        match format {
            Format::String => self.string(on_terminal, sink),
            Format::Hex => self.hexdump(on_terminal, sink),
            Format::Raw | Format::Auto => self.raw(on_terminal, sink),
        }
    }

    /// The bytes go from the kernel to the kernel; we see none of them.
    fn raw(&self, on_terminal: bool, sink: &mut Sink<'_>) -> Result<()> {
        let mut progress = Progress::bytes("reading", Some(self.end - self.start)).hidden_if(on_terminal);
        sink.make_ready_for(self.end - self.start)?;
        let mut at = self.start;
        while at < self.end {
            let extent = self.extent(at)?;
            if extent.is_hole {
                sink.zeros(extent.end - at, &mut progress)?;
            } else {
                sink.send(&self.contents, self.name, at..extent.end, &mut progress)?;
            }
            at = extent.end;
        }
        Ok(())
    }

    /// Hands out all bytes in order, a piece at a time, until `each` wants no more.
    fn runs(&self, on_terminal: bool, mut each: impl FnMut(Run<'_>) -> Result<bool>) -> Result<()> {
        let mut progress = Progress::bytes("reading", Some(self.end - self.start)).hidden_if(on_terminal);
        let mut buffer = vec![0; PIECE.min(self.end - self.start) as usize];
        let mut at = self.start;
        while at < self.end {
            // Looking for its end can cost as much as reading it: an extent is asked for once, not for each piece.
            let extent = self.extent(at)?;
            while at < extent.end {
                let run = if extent.is_hole {
                    Run::Zeros(extent.end - at)
                } else {
                    let piece = &mut buffer[..(extent.end - at).min(PIECE) as usize];
                    self.contents.read_at(piece, at).map_err(|error| self.unreadable(at, &error))?;
                    Run::Data(piece)
                };
                let length = run.length();
                if !each(run)? {
                    return Ok(());
                }
                at += length;
                progress.advance(length);
            }
        }
        Ok(())
    }

    fn extent(&self, at: u64) -> Result<Extent> {
        self.contents.extent(at..self.end).map_err(|error| self.unreadable(at, &error))
    }

    fn unreadable(&self, at: u64, error: &io::Error) -> Error {
        transfer::page_error(format_args!("read {} at {at}", self.name), error)
    }

    /// Whether this is text, and then nothing but NULs.
    fn is_text(&self) -> Result<bool> {
        let mut text = Text::default();
        // Asked where the bytes go to a terminal only.
        self.runs(true, |run| {
            match run {
                Run::Zeros(_) => text.push(&[0]),
                Run::Data(bytes) => text.push(bytes),
            }
            Ok(text.is_possible())
        })?;
        Ok(text.is_whole())
    }

    fn string(&self, on_terminal: bool, sink: &mut Sink<'_>) -> Result<()> {
        let mut last = None;
        // A character may begin in one piece and end in the next.
        let mut kept = Vec::new();
        self.runs(on_terminal, |run| {
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

    fn hexdump(&self, on_terminal: bool, sink: &mut Sink<'_>) -> Result<()> {
        let mut writer = io::BufWriter::with_capacity(64 << 10, SinkWriter { sink, error: None });
        let dumped =
            self.dump_to(on_terminal, &mut writer).and_then(|()| writer.flush().map_err(|error| Error::output(&error)));
        match writer.into_parts().0.error {
            Some(error) => Err(error),
            None => dumped,
        }
    }

    fn dump_to(&self, on_terminal: bool, writer: &mut impl Write) -> Result<()> {
        let mut dump = Hexdump::new(writer, self.start);
        self.runs(on_terminal, |run| {
            let pushed = match run {
                Run::Data(bytes) => dump.push(bytes),
                Run::Zeros(count) => dump.push_zeros(count),
            };
            pushed.map(|()| true).map_err(|error| Error::output(&error))
        })?;
        dump.finish().map_err(|error| Error::output(&error))
    }
}
