//! What goes to standard output and standard error, and in which form. The only layer that prints.

mod all_limits;
mod attachment;
mod change;
mod charge;
mod checks;
mod columns;
mod description;
mod format;
mod grid;
mod hexdump;
mod layout;
pub(crate) mod leaks;
mod limits;
mod namespace;
mod openmetrics;
mod picture;
mod preview;
mod progress;
mod record;
mod stream;
mod sums;
mod text;
mod time;

use std::fmt::Display;
use std::fs::File;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::os::fd::AsFd;

use anstream::{AutoStream, ColorChoice};
use serde::Serialize;

use crate::error::{Error, Result};
use crate::values::visible;

pub(crate) use all_limits::{AllLimitsRecord, NamespaceLimits};
pub(crate) use attachment::{AttachmentRecord, attachment_records};
pub(crate) use change::{Actor, Event, EventRecord, What, event_line};
pub(crate) use checks::{CheckRecords, check_lines};
pub(crate) use columns::column_help;
pub use columns::{COLUMNS, Column};
pub(crate) use description::Description;
pub use format::{Csv, Delimited, Export, Raw, write_rows};
pub(crate) use format::{Format, Groups, Json, JsonLines, List, Rows, Table, print_ids};
pub(crate) use grid::grid;
pub use hexdump::Hexdump;
pub(crate) use layout::Layout;
pub(crate) use limits::LimitsRecord;
pub(crate) use namespace::{NamespaceRecord, tell_out_of_sight, tell_unseen};
pub(crate) use openmetrics::OpenMetrics;
pub(crate) use picture::{Picture, Space};
pub(crate) use preview::print_preview;
pub(crate) use progress::Progress;
pub use record::{SegmentRecord, View};
use stream::Stream;
pub(crate) use sums::Sums;
pub(crate) use text::{Text, escaped_lines, whole_characters};
pub use time::TimeFormat;

/// Standard output and standard error, with what they can show: decided once, here.
#[derive(Debug)]
pub(crate) struct Output {
    stdout: BufWriter<Stream>,
    is_terminal: bool,
    width: Option<u16>,
    color: bool,
    choice: ColorChoice,
}

impl Output {
    /// Takes standard output. `choice` is what the user said; `Auto` asks NO_COLOR, CLICOLOR_FORCE and TERM.
    pub(crate) fn new(choice: ColorChoice) -> Result<Output> {
        let stdout = io::stdout();
        let color = match choice {
            ColorChoice::Auto => AutoStream::choice(&stdout),
            chosen => chosen,
        };
        Output::on(&stdout, color, choice)
    }

    /// Returns the same for standard error, where a question is asked.
    pub(crate) fn on_stderr(&self) -> Result<Output> {
        let stderr = io::stderr();
        let color = match self.choice {
            ColorChoice::Auto => AutoStream::choice(&stderr),
            chosen => chosen,
        };
        Output::on(&stderr, color, self.choice)
    }

    fn on(stream: &(impl AsFd + IsTerminal), color: ColorChoice, choice: ColorChoice) -> Result<Output> {
        // Not through io::Stdout, which ends a write at each line.
        let file = stream.as_fd().try_clone_to_owned().map_err(|error| Error::output(&error))?;
        let width = rustix::termios::tcgetwinsize(stream.as_fd()).ok().map(|size| size.ws_col);
        Ok(Output {
            stdout: BufWriter::with_capacity(64 << 10, Stream::new(file.into())),
            is_terminal: stream.is_terminal(),
            width: width.filter(|width| *width > 0),
            color: color != ColorChoice::Never,
            choice,
        })
    }

    /// Whether a person reads standard output.
    pub(crate) fn is_terminal(&self) -> bool {
        self.is_terminal
    }

    /// The terminal's width in columns.
    pub(crate) fn width(&self) -> Option<u16> {
        self.width
    }

    /// Whether to colour standard output.
    pub(crate) fn color(&self) -> bool {
        self.color
    }

    /// Writes bytes as they are.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> Result<()> {
        self.stdout.write_all(bytes).map_err(|error| Error::output(&error))
    }

    /// Writes a line.
    pub(crate) fn line(&mut self, line: impl Display) -> Result<()> {
        writeln!(self.stdout, "{line}").map_err(|error| Error::output(&error))
    }

    /// Writes a value as a line of JSON.
    pub(crate) fn json(&mut self, value: &impl Serialize) -> Result<()> {
        self.json_value(value)?;
        self.bytes(b"\n")
    }

    /// Writes a value as JSON, without an end of line.
    pub(crate) fn json_value(&mut self, value: &impl Serialize) -> Result<()> {
        serde_json::to_writer(&mut self.stdout, value).map_err(|error| Error::output(&error.into()))
    }

    /// The stream itself, for those that write to one.
    pub(crate) fn writer(&mut self) -> &mut impl Write {
        &mut self.stdout
    }

    /// Ends a program that has nothing to write for long and whose reader has gone away: only a write would tell it.
    pub(crate) fn check_reader(&self) -> Result<()> {
        use rustix::event::{PollFd, PollFlags, Timespec, poll};
        let mut stdout = [PollFd::new(self.stdout.get_ref().file(), PollFlags::empty())];
        // Where it cannot be asked, the next write tells.
        let _ = poll(&mut stdout, Some(&Timespec::default()));
        if stdout[0].revents().contains(PollFlags::ERR) {
            return Err(Error::output(&io::ErrorKind::BrokenPipe.into()));
        }
        Ok(())
    }

    /// The file beneath, for those that write to it past the buffer, which is written out before.
    pub(crate) fn file(&mut self) -> Result<&File> {
        self.flush()?;
        Ok(self.stdout.get_ref().file())
    }

    /// Sees all that was written on its way: a disk that is full shows here at the latest.
    pub(crate) fn flush(&mut self) -> Result<()> {
        self.stdout.flush().map_err(|error| Error::output(&error))
    }
}

/// Says something to the person at the terminal, on standard error: `shmadm: …`, one line whatever is in it.
pub(crate) fn say(message: impl Display) {
    note_raw(&format!("shmadm: {}", visible(message.to_string().as_bytes())));
}

/// Asks for a line, on standard error: the answer is typed behind it.
pub(crate) fn prompt(question: &str) {
    let _ = io::stderr().lock().write_all(question.as_bytes());
}

/// Writes one line to standard error as it is.
pub(crate) fn note_raw(line: &str) {
    // One write: lines of processes that share a terminal do not mix. Where standard error is gone, nobody listens.
    let _ = io::stderr().lock().write_all(format!("{line}\n").as_bytes());
}
