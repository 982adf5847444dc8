use std::ffi::OsString;
use std::io::{self, IsTerminal};
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use clap::Args;

use super::Context;
use super::args::{Attaching, segment_parser};
use crate::contents::input::Input;
use crate::contents::shortage;
use crate::contents::{attach, copy};
use crate::error::{Error, Result, Status};
use crate::output::{Progress, say};
use crate::segments::create::{self, Created, Found, Undoer};
use crate::segments::lookup::{self, Named};
use crate::segments::rmid_forced;
use crate::sysv::{self, Access, Attachment, NewSegment, Segment};
use crate::values::{Mode, SegmentRef, ShmId, Size, c_integer, counted};

/// Attach a segment and write to it
///
/// Writes TEXT with a terminating NUL, as C programs expect, or the exact bytes of --file or standard input. If the
/// input is known to be too long, nothing is written.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    shmadm attach-write 0x2a hello                   the six bytes of a C string\n  \
    shmadm write 0x2a --file table.bin --offset 4K\n  \
    date | shmadm write 0x2a --zero                  clears the segment first\n  \
    shmadm write 42 --create 1M --fill 0xff ''       creates it if missing\n  \
    shmadm write 42 hello --hold                     stays attached until Ctrl-C")]
pub(super) struct AttachWrite {
    /// The segment: a key (0x2a, 42, 052), id:N, or ftok:PROJECT:PATH
    #[arg(value_parser = segment_parser(), allow_negative_numbers = true)]
    segment: SegmentRef,
    /// Text to write (after `--` if it begins with a dash); default: standard input, unless --file is given
    #[arg(conflicts_with = "file", allow_negative_numbers = true)]
    text: Option<OsString>,
    /// Write the bytes of FILE; `-` is standard input
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Begin at this byte of the segment
    #[arg(long, value_name = "N", default_value = "0")]
    offset: Size,
    /// End with a NUL (the default for TEXT)
    #[arg(long, overrides_with = "no_nul")]
    nul: bool,
    /// Do not end with a NUL (the default for a file or standard input)
    #[arg(long, overrides_with = "nul")]
    no_nul: bool,
    /// Clear the segment first
    #[arg(long)]
    zero: bool,
    /// Fill the rest of the segment after the input with BYTE (65, 0x41, 0101)
    #[arg(long, value_name = "BYTE", value_parser = byte)]
    fill: Option<u8>,
    /// Create the segment with SIZE if it does not exist
    #[arg(long, value_name = "SIZE")]
    create: Option<Size>,
    /// Permissions of a segment created by --create, in octal
    #[arg(short, long, value_name = "MODE", default_value = "0600", requires = "create")]
    mode: Mode,
    #[command(flatten)]
    attaching: Attaching,
    /// Allow --at to round the address down to a multiple of SHMLBA (SHM_RND)
    #[arg(long, requires = "at")]
    round: bool,
    /// Attach with SHM_REMAP, but never replace shmadm's own memory
    #[arg(long, requires = "at")]
    remap: bool,
    /// Say where the segment is attached and how much was written
    #[arg(short, long)]
    verbose: bool,
}

/// The segment to write to.
enum Target<'a> {
    Existing(Named),
    Created(Created<'a>),
}

impl AttachWrite {
    pub(super) fn run(&self, context: &mut Context) -> Result<Status> {
        let input = self.input()?;
        let undoer = Undoer::new();
        let (attachment, name) = match self.find_or_create(input.as_ref(), &undoer)? {
            Target::Existing(named) => {
                let name = named.to_string();
                rmid_forced::outlives_a_detach(named.id, &name, "write to")?;
                (self.write(named.id, &name, input)?, name)
            }
            Target::Created(created) => {
                let name = Named::from(created.segment()).to_string();
                let write = |segment: &Segment| self.write(segment.id, &name, input);
                let attachment = created.finish(write)?;
                if let Some(warning) = rmid_forced::fleeting() {
                    say(warning);
                }
                (attachment, name)
            }
        };
        // The segment is complete.
        drop(undoer);
        self.attaching.hold(attachment, &name, context)
    }

    fn write(&self, id: ShmId, name: &str, input: Option<Input>) -> Result<Attachment> {
        let placement = sysv::Placement { address: self.attaching.at(), round: self.round, remap: self.remap };
        let attachment = attach::attach(id, name, "write to", Access::ReadWrite, placement)?;
        if self.verbose {
            say(format_args!("{name} is attached at {:#x}", attachment.address()));
        }
        let (offset, size) = (self.offset.0, attachment.size());
        check_fit(name, input.as_ref(), offset, size)?;
        let contents = attachment.contents(Access::ReadWrite);
        if self.zero {
            let mut progress = Progress::bytes("clearing", Some(size));
            copy::clear(&contents, name, size, &mut |count| progress.advance(count))?;
        }
        let length = input.as_ref().and_then(Input::length).unwrap_or(0);
        let end = if self.fill.is_some() { size } else { offset + length };
        if let Some(warning) = shortage::shortage(&contents, name, offset..end) {
            say(warning);
        }
        let end = match input {
            Some(input) => {
                let mut progress = Progress::bytes("writing", input.length());
                copy::fill_from(&contents, name, &input, offset, size, &mut |count| progress.advance(count))?
            }
            None => offset,
        };
        if let Some(byte) = self.fill {
            let mut progress = Progress::bytes("filling", Some(size - end));
            copy::fill_with(&contents, name, byte, end..size, &mut |count| progress.advance(count))?;
        }
        if self.verbose {
            say(format_args!("wrote {} to {name} from byte {offset} on", counted(end - offset, "byte")));
        }
        drop(contents);
        Ok(attachment)
    }

    /// Returns the input. A terminal is not read if there is something else to do.
    fn input(&self) -> Result<Option<Input>> {
        let mut nul = self.nul;
        let input = if let Some(text) = &self.text {
            nul = !self.no_nul;
            Input::bytes(text.clone().into_vec())
        } else if let Some(path) = &self.file {
            Input::open(path)?
        } else {
            let stdin = io::stdin();
            if stdin.is_terminal() {
                if self.zero || self.fill.is_some() || self.attaching.is_held() {
                    return Ok(None);
                }
                say("reading from the terminal; Ctrl-D ends the input");
            }
            Input::standard()?
        };
        Ok(Some(if nul { input.and_then(b"\0") } else { input }))
    }

    /// Finds the segment, or creates it if --create is given.
    fn find_or_create<'a>(&self, input: Option<&Input>, undoer: &'a Undoer) -> Result<Target<'a>> {
        let Some(Size(size)) = self.create else {
            return lookup::find("write to", &self.segment).map(Target::Existing);
        };
        let Some(key) = lookup::key_of(&self.segment)?.filter(|key| !key.is_private()) else {
            return Err(Error::usage("the kernel chooses the identifier of a new segment; name a key with --create"));
        };
        let new = NewSegment::new(key, size, self.mode);
        let may_create = || check_fit(&format!("the new segment {key}"), input, self.offset.0, size);
        match create::find_or_create(&new, undoer, may_create)? {
            Found::Existing(existing) if existing.size < size => Err(create::too_small("write to", &existing, size)),
            Found::Existing(existing) => {
                Ok(Target::Existing(Named { key: Some(key), id: existing.id, is_decimal: false }))
            }
            Found::Created(created) => Ok(Target::Created(created)),
        }
    }
}

/// Refuses input that is known not to fit, before anything is changed.
fn check_fit(name: &str, input: Option<&Input>, offset: u64, size: u64) -> Result<()> {
    if offset > size {
        return Err(Error::failed(format!(
            "cannot write to {name} at byte {offset}: it has {}; nothing was written",
            counted(size, "byte")
        )));
    }
    match input.and_then(Input::length) {
        Some(length) if length > size - offset => Err(Error::failed(format!(
            "cannot write {} to {name}: it has room for {} from byte {offset} on; nothing was written",
            counted(length, "byte"),
            counted(size - offset, "byte")
        ))),
        _ => Ok(()),
    }
}

/// Parses BYTE in C notation.
fn byte(word: &str) -> Result<u8, String> {
    let number = c_integer(word).ok().and_then(|number| number.try_into().ok());
    number.ok_or_else(|| "a byte is a number from 0 to 255: 65, 0x41, 0101".into())
}
