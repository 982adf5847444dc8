use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Seek, SeekFrom, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use tempfile::NamedTempFile;

use super::{Context, attachment, segment_parser};
use crate::error::{Error, Result, Status};
use crate::lookup;
use crate::output::{Hexdump, Output, visible};
use crate::segment_ref::SegmentRef;
use crate::size::Size;
use crate::sysv::{Access, Contents, Placement};
use crate::transfer;

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
        let cannot = |error: &io::Error| Error::io(format_args!("write {}", path.display()), error);
        match target(path).map_err(|error| cannot(&error))? {
            Target::InPlace(file) => {
                let mut sink = Sink::File { file, path, punch: false };
                part.show(self.format, false, &mut sink)
            }
            Target::Replace(target) => {
                let directory = match target.parent() {
                    Some(parent) if !parent.as_os_str().is_empty() => parent,
                    _ => Path::new("."),
                };
                let temporary = tempfile::Builder::new()
                    .prefix(".shmadm-")
                    .permissions(Permissions::from_mode(0o600))
                    .tempfile_in(directory)
                    .map_err(|error| cannot(&error))?;
                let file = temporary.as_file().try_clone().map_err(|error| cannot(&error))?;
                part.show(self.format, false, &mut Sink::File { file, path, punch: true })?;
                replace(temporary, &target).map_err(|error| cannot(&error))
            }
        }
    }
}

enum Target {
    /// A device, a FIFO: written to as it is.
    InPlace(File),
    /// A regular file, or none yet.
    Replace(PathBuf),
}

/// What is at the path that -o names. A symbolic link stands for what it leads to, as for every program that opens it.
fn target(path: &Path) -> io::Result<Target> {
    match fs::metadata(path) {
        Ok(found) if found.is_file() => {
            // Opened, though not to be written to: the kernel then refuses what the user may not write, and links that
            // others have planted in /tmp (fs.protected_symlinks).
            OpenOptions::new().write(true).open(path)?;
            fs::canonicalize(path).map(Target::Replace)
        }
        Ok(_) => OpenOptions::new().write(true).custom_flags(libc::O_NOCTTY).open(path).map(Target::InPlace),
        // A link that leads nowhere: the file it names is not ours to make.
        Err(error) if error.kind() == io::ErrorKind::NotFound && fs::symlink_metadata(path).is_ok() => Err(error),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Target::Replace(path.into())),
        Err(error) => Err(error),
    }
}

/// Puts the whole file in the place of the old one.
fn replace(temporary: NamedTempFile, target: &Path) -> io::Result<()> {
    // A full disk may only show now.
    temporary.as_file().sync_all()?;
    temporary.persist(target).map(drop).map_err(|error| error.error)
}

/// Where the bytes go.
enum Sink<'a> {
    Output(&'a mut Output),
    File {
        file: File,
        path: &'a Path,
        /// Whether holes can be left out.
        punch: bool,
    },
}

impl Sink<'_> {
    fn bytes(&mut self, bytes: &[u8]) -> Result<()> {
        match self {
            Self::Output(output) => output.bytes(bytes),
            Self::File { file, path, .. } => {
                file.write_all(bytes).map_err(|error| Error::io(format_args!("write {}", path.display()), &error))
            }
        }
    }

    fn zeros(&mut self, count: u64) -> Result<()> {
        if let Self::File { file, path, punch: true } = self {
            let skipped = file.seek(SeekFrom::Current(count.cast_signed())).and_then(|end| file.set_len(end));
            return skipped.map_err(|error| Error::io(format_args!("write {}", path.display()), &error));
        }
        let zeros = vec![0; PIECE.min(count) as usize];
        let mut left = count;
        while left > 0 {
            let now = left.min(PIECE);
            self.bytes(&zeros[..now as usize])?;
            left -= now;
        }
        Ok(())
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
            Format::Hex => self.hexdump(sink),
            Format::Raw | Format::Auto => self.runs(|run| {
                match run {
                    Run::Data(bytes) => sink.bytes(bytes)?,
                    Run::Zeros(count) => sink.zeros(count)?,
                }
                Ok(true)
            }),
        }
    }

    /// Hands out all bytes in order, a piece at a time, until `each` wants no more.
    fn runs(&self, mut each: impl FnMut(Run<'_>) -> Result<bool>) -> Result<()> {
        let cannot =
            |at: u64, error: &io::Error| transfer::page_error(format_args!("read {} at {at}", self.name), error);
        let mut buffer = vec![0; PIECE.min(self.end - self.start) as usize];
        let mut at = self.start;
        while at < self.end {
            let extent = self.contents.extent(at, self.end).map_err(|error| cannot(at, &error))?;
            let more = if extent.is_hole {
                let hole = extent.end - at;
                at = extent.end;
                each(Run::Zeros(hole))?
            } else {
                let piece = &mut buffer[..(extent.end - at).min(PIECE) as usize];
                self.contents.read_at(piece, at).map_err(|error| cannot(at, &error))?;
                at += piece.len() as u64;
                each(Run::Data(piece))?
            };
            if !more {
                break;
            }
        }
        Ok(())
    }

    /// Whether this is text, and then nothing but NULs.
    fn is_text(&self) -> Result<bool> {
        let mut text = Text::default();
        self.runs(|run| {
            match run {
                Run::Zeros(_) => text.push(&[0]),
                Run::Data(bytes) => text.push(bytes),
            }
            Ok(text.is_possible)
        })?;
        Ok(text.is_whole())
    }

    fn string(&self, on_terminal: bool, sink: &mut Sink<'_>) -> Result<()> {
        let mut last = None;
        // A character may begin in one piece and end in the next.
        let mut kept = Vec::new();
        self.runs(|run| {
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

    fn hexdump(&self, sink: &mut Sink<'_>) -> Result<()> {
        let mut writer = io::BufWriter::with_capacity(64 << 10, SinkWriter { sink, error: None });
        let dumped = self.dump_to(&mut writer).and_then(|()| writer.flush().map_err(|error| Error::output(&error)));
        match writer.into_parts().0.error {
            Some(error) => Err(error),
            None => dumped,
        }
    }

    fn dump_to(&self, writer: &mut impl Write) -> Result<()> {
        let mut dump = Hexdump::new(writer, self.start);
        self.runs(|run| {
            let pushed = match run {
                Run::Data(bytes) => dump.push(bytes),
                Run::Zeros(count) => dump.push_zeros(count),
            };
            pushed.map(|()| true).map_err(|error| Error::output(&error))
        })?;
        dump.finish().map_err(|error| Error::output(&error))
    }
}

/// Text with its line ends and tabs as they are, and all else that steers a terminal escaped.
fn escaped_lines(bytes: &[u8]) -> String {
    let pieces = bytes.split_inclusive(|b| matches!(b, b'\n' | b'\t'));
    pieces.fold(String::new(), |mut shown, piece| {
        let kept = usize::from(matches!(piece.last(), Some(b'\n' | b'\t')));
        let (text, end) = piece.split_at(piece.len() - kept);
        shown.push_str(&visible(text));
        shown.extend(end.iter().map(|b| char::from(*b)));
        shown
    })
}

/// How many of the bytes are whole characters, where the last one may be cut.
fn whole_characters(bytes: &[u8]) -> usize {
    match str::from_utf8(bytes) {
        Err(error) if error.error_len().is_none() => error.valid_up_to(),
        _ => bytes.len(),
    }
}

/// Decides, piece by piece, whether bytes are text that NULs follow.
#[derive(Debug)]
struct Text {
    is_possible: bool,
    any: bool,
    ended: bool,
    cut: Vec<u8>,
}

impl Default for Text {
    fn default() -> Text {
        Text { is_possible: true, any: false, ended: false, cut: Vec::new() }
    }
}

impl Text {
    fn push(&mut self, bytes: &[u8]) {
        let (text, nuls) = match bytes.iter().position(|b| *b == 0) {
            _ if self.ended => bytes.split_at(0),
            Some(nul) => bytes.split_at(nul),
            None => bytes.split_at(bytes.len()),
        };
        self.any |= !text.is_empty();
        self.cut.extend_from_slice(text);
        let whole = whole_characters(&self.cut);
        let is_text = |text: &str| !text.contains(|c: char| c.is_control() && !matches!(c, '\n' | '\t' | '\r'));
        self.is_possible &= str::from_utf8(&self.cut[..whole]).is_ok_and(is_text);
        self.cut.drain(..whole);
        if !nuls.is_empty() {
            self.ended = true;
            self.is_possible &= self.cut.is_empty() && nuls.iter().all(|b| *b == 0);
        }
    }

    fn is_whole(&self) -> bool {
        self.is_possible && self.any && self.cut.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_text(pieces: &[&[u8]]) -> bool {
        let mut text = Text::default();
        pieces.iter().for_each(|piece| text.push(piece));
        text.is_whole()
    }

    #[test]
    fn text_is_characters_and_then_nuls() {
        assert!(is_text(&[b"hello\n\0\0"]));
        assert!(is_text(&[b"hel", b"lo", b"\0", b"\0\0"]));
        assert!(is_text(&[b"no nul at all"]));
        assert!(is_text(&[b"\xc3", b"\xa9\0"]));
        for other in [&b"\0\0"[..], b"", b"a\0b", b"\xc3\0", b"\xc3", b"\x1b[31m", b"\xff\0"] {
            assert!(!is_text(&[other]), "{other:?}");
        }
    }

    #[test]
    fn escapes_leave_lines_alone() {
        assert_eq!(escaped_lines(b"a\tb\nc\x1b[2J\r\n"), "a\tb\nc\\x1b[2J\\x0d\n");
    }
}
