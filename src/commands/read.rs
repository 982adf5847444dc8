use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};

use super::Context;
use super::args::{Attaching, segment_parser};
use crate::contents::attach;
use crate::contents::destination::{Destination, cannot_write};
use crate::contents::part::Part;
use crate::contents::show;
use crate::contents::sink::Sink;
use crate::error::{Error, Result, Status};
use crate::output::Progress;
use crate::segments::{lookup, rmid_forced};
use crate::sysv::{Access, Placement};
use crate::values::{SegmentRef, Size, counted};

/// Read a segment's contents
///
/// Attaches the segment read-only and writes its bytes to standard output. Pages that nobody has touched stay
/// unallocated.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    shmadm read 0x2a                        text or hex on a terminal, else bytes\n  \
    shmadm read 0x2a -f string              the text before the first NUL\n  \
    shmadm read id:5 --offset 4K --length 64 -f hex\n  \
    shmadm read 42 -o snapshot.bin          replaces the file when complete")]
pub(super) struct Read {
    /// The segment: a key (0x2a, 42, 052), id:N, or ftok:PROJECT:PATH
    #[arg(value_parser = segment_parser(), allow_negative_numbers = true)]
    segment: SegmentRef,
    /// Begin at this byte
    #[arg(long, value_name = "N", default_value = "0")]
    offset: Size,
    /// Number of bytes to read (default: to the end)
    #[arg(long, value_name = "N")]
    length: Option<Size>,
    /// Output format
    #[arg(short, long, value_enum, default_value_t)]
    format: Format,
    /// Write to FILE, which is replaced when the new file is complete
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    attaching: Attaching,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
enum Format {
    /// On a terminal, string for text and hex for other bytes; otherwise raw
    #[default]
    Auto,
    /// Exactly the bytes
    Raw,
    /// The text before the first NUL
    String,
    /// As hexdump -C shows it
    Hex,
}

impl Read {
    pub(super) fn run(&self, context: &mut Context) -> Result<Status> {
        let named = lookup::find("read", &self.segment)?;
        let name = named.to_string();
        rmid_forced::outlives_a_detach(named.id, &name, "read")?;
        let placement = Placement { address: self.attaching.at(), ..Placement::default() };
        let attachment = attach::attach(named.id, &name, "read", Access::Read, placement)?;
        let range = self.range(&name, attachment.size())?;
        let part = Part { contents: attachment.contents(Access::Read), name: &name, range };
        match &self.output {
            Some(path) => self.to_file(&part, path)?,
            None => {
                let terminal = context.output.is_terminal();
                self.show(&part, terminal, &mut Sink::Output(&mut context.output))?;
            }
        }
        drop(part);
        self.attaching.hold(attachment, &name, context)
    }

    fn range(&self, name: &str, size: u64) -> Result<Range<u64>> {
        let start = self.offset.0;
        let end = match self.length {
            Some(Size(length)) => start.checked_add(length),
            None => Some(size.max(start)),
        };
        match end {
            Some(end) if end <= size => Ok(start..end),
            _ => {
                let length = self.length.map_or(String::new(), |length| counted(length.0, "byte") + " ");
                Err(Error::failed(format!(
                    "cannot read {length}from byte {start} of {name}: it has {}",
                    counted(size, "byte")
                )))
            }
        }
    }

    fn show(&self, part: &Part<'_>, on_terminal: bool, sink: &mut Sink<'_>) -> Result<()> {
        let format = match self.format {
            Format::Auto if !on_terminal => Format::Raw,
            Format::Auto if show::is_text(part)? => Format::String,
            Format::Auto => Format::Hex,
            requested => requested,
        };
        let mut progress = Progress::bytes("reading", Some(part.length())).hidden_if(on_terminal);
        let advance = &mut |count| progress.advance(count);
        match format {
            Format::String => show::string(part, on_terminal, sink, advance),
            Format::Hex => show::hexdump(part, sink, advance),
            Format::Raw | Format::Auto => part.send(sink, advance),
        }
    }

    fn to_file(&self, part: &Part<'_>, path: &Path) -> Result<()> {
        let cannot = |error: &io::Error| cannot_write(path, error);
        let destination = Destination::open(path, 0o600).map_err(|error| cannot(&error))?;
        let file = destination.file().map_err(|error| cannot(&error))?;
        self.show(part, false, &mut Sink::File { file, path, punch: destination.is_new_file() })?;
        destination.finish().map_err(|error| cannot(&error))
    }
}
