//! Writing to standard output and standard error, and the formats. Only this room prints.

mod all_limits;
mod attachment;
mod change;
mod charge;
mod charset;
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
use anstyle::Style;
use serde::Serialize;

use crate::error::{Error, Result};
use crate::values::visible;

pub(crate) use all_limits::{AllLimitsRecord, NamespaceLimits};
pub(crate) use attachment::AttachmentList;
pub(crate) use change::{Actor, Event, EventKind, EventRecord, event_line};
pub(crate) use charset::Charset;
pub(crate) use checks::{CheckRecords, check_lines};
pub(crate) use columns::column_help;
pub use columns::{COLUMNS, Column};
pub(crate) use description::Description;
pub use format::{Csv, Delimited, Export, Raw, write_rows};
pub(crate) use format::{Format, Groups, Json, JsonLines, List, Rows, Table, print_ids};
pub(crate) use grid::{grid, wrapped};
pub use hexdump::Hexdump;
pub(crate) use layout::Layout;
pub(crate) use limits::LimitsRecord;
pub(crate) use namespace::{NamespaceRecord, report_hidden_attachments, report_unread};
pub(crate) use openmetrics::OpenMetrics;
pub(crate) use picture::{Picture, Space};
pub(crate) use preview::print_preview;
pub(crate) use progress::Progress;
pub use record::{SegmentRecord, View};
use stream::Stream;
pub(crate) use sums::Sums;
pub(crate) use text::{Text, escaped_lines, whole_characters};
pub use time::TimeFormat;

/// Standard output and its capabilities (terminal, width, colour), which are determined once. The same type serves
/// standard error.
#[derive(Debug)]
pub(crate) struct Output {
    stdout: BufWriter<Stream>,
    is_terminal: bool,
    width: Option<u16>,
    color: bool,
    choice: ColorChoice,
}

impl Output {
    /// Opens standard output. `choice` is the user's option; `Auto` uses NO_COLOR, CLICOLOR_FORCE and TERM.
    pub(crate) fn new(choice: ColorChoice) -> Result<Output> {
        let stdout = io::stdout();
        let color = match choice {
            ColorChoice::Auto => AutoStream::choice(&stdout),
            chosen => chosen,
        };
        Output::on(&stdout, color, choice)
    }

    /// Returns an output on standard error, where questions are asked.
    pub(crate) fn on_stderr(&self) -> Result<Output> {
        let stderr = io::stderr();
        let color = match self.choice {
            ColorChoice::Auto => AutoStream::choice(&stderr),
            chosen => chosen,
        };
        Output::on(&stderr, color, self.choice)
    }

    fn on(stream: &(impl AsFd + IsTerminal), color: ColorChoice, choice: ColorChoice) -> Result<Output> {
        // Not io::Stdout, which flushes at each newline.
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

    /// Returns whether standard output is a terminal.
    pub(crate) fn is_terminal(&self) -> bool {
        self.is_terminal
    }

    /// Returns the terminal's width in columns.
    pub(crate) fn width(&self) -> Option<u16> {
        self.width
    }

    /// Returns whether to colour standard output.
    pub(crate) fn color(&self) -> bool {
        self.color
    }

    /// Writes bytes unchanged.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> Result<()> {
        self.stdout.write_all(bytes).map_err(|error| Error::output(&error))
    }

    /// Writes a line.
    pub(crate) fn line(&mut self, line: impl Display) -> Result<()> {
        writeln!(self.stdout, "{line}").map_err(|error| Error::output(&error))
    }

    /// Writes a line in a style, if the output has colours.
    pub(crate) fn styled_line(&mut self, style: Style, line: impl Display) -> Result<()> {
        if self.color { self.line(format_args!("{style}{line}{style:#}")) } else { self.line(line) }
    }

    /// Writes a value as a line of JSON.
    pub(crate) fn json(&mut self, value: &impl Serialize) -> Result<()> {
        self.json_value(value)?;
        self.bytes(b"\n")
    }

    /// Writes a value as JSON, without a newline.
    pub(crate) fn json_value(&mut self, value: &impl Serialize) -> Result<()> {
        serde_json::to_writer(&mut self.stdout, value).map_err(|error| Error::output(&error.into()))
    }

    /// Returns the stream itself, for code that takes a writer.
    pub(crate) fn writer(&mut self) -> &mut impl Write {
        &mut self.stdout
    }

    /// Ends the program if the reader has closed the pipe. This is for a program that writes nothing for a long time:
    /// otherwise only a write would notice.
    pub(crate) fn check_reader(&self) -> Result<()> {
        use rustix::event::{PollFd, PollFlags, Timespec, poll};
        let mut stdout = [PollFd::new(self.stdout.get_ref().file(), PollFlags::empty())];
        // If poll(2) fails, the next write reports the problem.
        let _ = poll(&mut stdout, Some(&Timespec::default()));
        if stdout[0].revents().contains(PollFlags::ERR) {
            return Err(Error::output(&io::ErrorKind::BrokenPipe.into()));
        }
        Ok(())
    }

    /// Writes out the buffer and returns the file beneath it, for writing past the buffer.
    pub(crate) fn file(&mut self) -> Result<&File> {
        self.flush()?;
        Ok(self.stdout.get_ref().file())
    }

    /// Writes out the buffer. A full disk is noticed here at the latest.
    pub(crate) fn flush(&mut self) -> Result<()> {
        self.stdout.flush().map_err(|error| Error::output(&error))
    }
}

/// Prints a message to standard error: `shmadm: …`, always one line.
pub(crate) fn say(message: impl Display) {
    note_raw(&format!("shmadm: {}", visible(message.to_string().as_bytes())));
}

/// Prints a question to standard error, without a newline: the answer is typed after it.
pub(crate) fn prompt(question: &str) {
    let _ = io::stderr().lock().write_all(question.as_bytes());
}

/// Prints one line to standard error unchanged.
pub(crate) fn note_raw(line: &str) {
    // One write, so that lines of several processes do not mix on a terminal. If standard error is closed, the line is
    // lost.
    let _ = io::stderr().lock().write_all(format!("{line}\n").as_bytes());
}
