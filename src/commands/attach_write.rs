use std::ffi::OsString;
use std::fs::File;
use std::io::{self, IsTerminal};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use clap::Args;

use super::{Context, attachment, segment_parser};
use crate::contents::input::Input;
use crate::contents::shortage;
use crate::contents::{attach, copy};
use crate::error::{Error, Result, Status};
use crate::output::{Progress, say};
use crate::segments::create;
use crate::segments::lookup::{self, Named};
use crate::system::signals::HeldOff;
use crate::sysv::{self, Access, Attachment, NewSegment, Reason, Segment};
use crate::values::{Key, Mode, SegmentRef, ShmId, Size, c_integer};

/// Attach a segment and write to it
///
/// Writes TEXT with a terminating NUL, so that a C program sees its end, or the bytes of --file or of standard
/// input as they are. Input that is known to be too long leaves the segment untouched.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    shmadm attach-write 0x2a 'hello'                 the six bytes of a C string\n  \
    shmadm write 0x2a --file table.bin --offset 4K\n  \
    date | shmadm write 0x2a --zero                  clears the segment first\n  \
    shmadm write 42 --create 1M --fill 0xff ''       makes it if there is none\n  \
    shmadm write 42 hello --hold                     stays attached until Ctrl-C")]
pub(super) struct AttachWrite {
    /// The segment: a key (0x2a, 42, 052), id:N, or ftok:PROJECT:PATH
    #[arg(value_parser = segment_parser(), allow_negative_numbers = true)]
    segment: SegmentRef,
    /// What to write (after `--` if it begins with a dash); standard input if neither this nor --file is there
    #[arg(conflicts_with = "file", allow_negative_numbers = true)]
    text: Option<OsString>,
    /// Write the bytes of FILE
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
    /// Fill what is left behind the input with BYTE (65, 0x41, 0101)
    #[arg(long, value_name = "BYTE", value_parser = byte)]
    fill: Option<u8>,
    /// Make the segment, with SIZE, if there is none
    #[arg(long, value_name = "SIZE")]
    create: Option<Size>,
    /// Permissions of a segment that --create makes, in octal
    #[arg(short, long, value_name = "MODE", default_value = "0600", requires = "create")]
    mode: Mode,
    #[command(flatten)]
    attaching: attachment::Attaching,
    /// Allow --at to round the address down to a multiple of SHMLBA (SHM_RND)
    #[arg(long, requires = "at")]
    round: bool,
    /// Allow --at to replace what is mapped there (SHM_REMAP)
    #[arg(long, requires = "at")]
    remap: bool,
    /// Say where the segment is attached and how much was written
    #[arg(short, long)]
    verbose: bool,
}

impl AttachWrite {
    pub(super) fn run(&self, context: &mut Context) -> Result<Status> {
        let input = self.input()?;
        let held_off = self.create.map(|_| HeldOff::until_dropped());
        let (named, created) = self.find_or_make(input.as_ref())?;
        let id = named.id;
        let remove = move || {
            let _ = sysv::remove(id);
        };
        let undo = held_off.filter(|_| created).map(|held_off| held_off.undoing(remove));
        let name = named.to_string();
        let attachment = self.write(id, &name, created, input).map_err(|error| match created {
            true => create::remove_again(id, error),
            false => error,
        })?;
        drop(undo);
        self.attaching.hold(attachment, &name, context)
    }

    fn write(&self, id: ShmId, name: &str, created: bool, input: Option<Input>) -> Result<Attachment> {
        if !created {
            create::outlives_a_detach(id, name, "write to")?;
        }
        let placement = sysv::Placement { address: self.attaching.at(), round: self.round, remap: self.remap };
        let attachment = attach::attach(id, name, "write to", Access::ReadWrite, placement)?;
        if self.verbose {
            say(format_args!("{name} is attached at {:#x}", attachment.address()));
        }
        let (offset, size) = (self.offset.0, attachment.size());
        fits(name, input.as_ref(), offset, size)?;
        let contents = attach::contents(&attachment, name, Access::ReadWrite)?;
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
            say(format_args!("wrote {} bytes to {name} from byte {offset} on", end - offset));
        }
        if created && let Some(warning) = create::fleeting() {
            say(warning);
        }
        drop(contents);
        Ok(attachment)
    }

    /// What is to be written. Nothing is read from a terminal where there is something else to do.
    fn input(&self) -> Result<Option<Input>> {
        let cannot = |what: &Path, error: &io::Error| Error::io(format_args!("read {}", what.display()), error);
        let mut nul = self.nul;
        let input = if let Some(text) = &self.text {
            nul = !self.no_nul;
            Input::bytes(text.clone().into_vec())
        } else if let Some(path) = &self.file {
            let file = File::open(path).map_err(|error| cannot(path, &error))?;
            Input::file(file, path).map_err(|error| cannot(path, &error))?
        } else {
            let stdin = io::stdin();
            if stdin.is_terminal() {
                if self.zero || self.fill.is_some() || self.attaching.is_held() {
                    return Ok(None);
                }
                say("reading from the terminal; Ctrl-D ends the input");
            }
            let name = Path::new("standard input");
            let file = stdin.as_fd().try_clone_to_owned().map_err(|error| cannot(name, &error))?;
            Input::file(file.into(), name).map_err(|error| cannot(name, &error))?
        };
        Ok(Some(if nul { input.and_then(b"\0") } else { input }))
    }

    /// Finds the segment, or makes it where --create says so. Tells whether it was made.
    fn find_or_make(&self, input: Option<&Input>) -> Result<(Named, bool)> {
        let Some(Size(size)) = self.create else {
            return Ok((lookup::find("write to", &self.segment)?, false));
        };
        let Some(key) = lookup::key_of(&self.segment)?.filter(|key| !key.is_private()) else {
            return Err(Error::usage("the kernel chooses the identifier of a new segment; name a key with --create"));
        };
        loop {
            match sysv::find(key).map_err(|error| Error::call(format_args!("find segment {key}"), error))? {
                Some(id) => {
                    let existing =
                        lookup::look(id).map_err(|error| Error::call(format_args!("look at segment {key}"), error))?;
                    // Else it was removed between the two looks.
                    if let Some(segment) = existing {
                        return large_enough(key, &segment, size);
                    }
                }
                None => {
                    fits(&format!("a new segment {key}"), input, self.offset.0, size)?;
                    let new = NewSegment { key, size, mode: self.mode, huge: None, no_reserve: false };
                    match sysv::create(&new) {
                        Ok(id) => return Ok((Named { key: Some(key), id }, true)),
                        // Another process made it since we looked.
                        Err(error) if error.reason == Reason::Exists => {}
                        Err(error) => return Err(create::cannot_create(key, size, false, error)),
                    }
                }
            }
        }
    }
}

/// An existing segment serves if it has the size that would have been asked for.
fn large_enough(key: Key, existing: &Segment, size: u64) -> Result<(Named, bool)> {
    if existing.size < size {
        return Err(Error::failed(format!(
            "cannot write to segment {key} (id {}): it exists and has {} bytes, fewer than the {size} of --create",
            existing.id, existing.size
        )));
    }
    Ok((Named { key: Some(key), id: existing.id }, false))
}

/// Refuses what is known not to fit before anything is changed.
fn fits(name: &str, input: Option<&Input>, offset: u64, size: u64) -> Result<()> {
    if offset > size {
        return Err(Error::failed(format!(
            "cannot write to {name} at byte {offset}: it has {size} bytes; nothing was written"
        )));
    }
    match input.and_then(Input::length) {
        Some(length) if length > size - offset => Err(Error::failed(format!(
            "cannot write {length} bytes to {name}: it has room for {} from byte {offset} on; nothing was written",
            size - offset
        ))),
        _ => Ok(()),
    }
}

/// BYTE in C notation.
fn byte(word: &str) -> Result<u8, String> {
    let number = c_integer(word).ok().and_then(|number| number.try_into().ok());
    number.ok_or_else(|| "a byte is a number from 0 to 255: 65, 0x41, 0101".into())
}
