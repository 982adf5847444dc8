//! The demonstration of a segment's life, with a real segment and two real processes.

mod second_process;
mod story;

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::sync::mpsc::{Receiver, channel};

use anstyle::{AnsiColor, Style};

use crate::contents::attach;
use crate::error::{Error, Result};
use crate::output::{Column, Layout, Output, Picture, Space, TimeFormat, View, note_raw, prompt};
use crate::segments::cache::Lookups;
use crate::segments::lookup;
use crate::segments::{create, rmid_forced};
use crate::system::signals::{ShutdownSignals, Woken};
use crate::sysv::{self, Access, Attachment, NewSegment, Placement, Reason, Segment};
use crate::values::{Key, Mode, ShmId};

pub(crate) use second_process::serve;
use second_process::{Answer, SecondProcess, text};
use story::Step;

/// The size of the segment in bytes: small, and the same in every call that is shown.
const SIZE: u64 = 4096;
/// What A writes.
const TEXT: &str = "hello from A";
/// The width in columns if the output is not a terminal.
const WIDTH: u16 = 80;

const TITLE: Style = Style::new().bold();
const A: Style = AnsiColor::Cyan.on_default();
const B: Style = AnsiColor::Green.on_default();

/// How the demonstration ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// It was complete, or the user ended it.
    Done,
    /// A signal came.
    Signal(i32),
}

/// Why the demonstration stops.
#[derive(Debug)]
pub(crate) enum Stop {
    /// A signal came.
    Signal(i32),
    /// Standard input has ended, so nobody can press Enter.
    InputEnded,
    /// Something failed.
    Failed(Error),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Stop {
        Stop::Failed(error)
    }
}

/// Runs the demonstration. If `pauses` is set, it waits for a line on standard input before each step.
///
/// # Errors
/// Those of every call. The segment and the second process are gone by then, as they are after a signal.
pub(crate) fn play(output: &mut Output, pauses: bool) -> Result<End> {
    let shutdown = ShutdownSignals::catch().map_err(|error| Error::io("catch signals", &error))?;
    let stdin = io::stdin().as_fd().try_clone_to_owned().map_err(|error| Error::io("read standard input", &error))?;
    let is_traced = sysv::is_traced();
    let (sender, calls) = channel();
    // The receiver lives as long as there are calls to show.
    sysv::trace_to(move |call| drop(sender.send(call.to_string())));
    let mut stage = Stage {
        attachment: None,
        made: None,
        second: SecondProcess::start()?,
        b: None,
        is_written: false,
        shown: Vec::new(),
        calls,
        is_traced,
        shutdown,
        pauses: pauses.then(|| stdin.into()),
        output,
    };
    let played = stage.play();
    // Clean up before anything more is printed.
    drop(stage);
    match played {
        Ok(()) => Ok(End::Done),
        Err(Stop::InputEnded) => {
            prompt("\n");
            output.line("Ended early: the segment and the second process are gone.")?;
            Ok(End::Done)
        }
        Err(Stop::Signal(signal)) => Ok(End::Signal(signal)),
        Err(Stop::Failed(error)) => Err(error),
    }
}

/// A segment that we created. Dropping this removes it, unless it has already been removed.
#[derive(Debug)]
struct Made {
    key: Key,
    id: ShmId,
}

impl Drop for Made {
    fn drop(&mut self) {
        if let Ok(Some(now)) = lookup::current(self.id)
            && (now.key, now.cpid.cast_unsigned()) == (self.key, std::process::id())
        {
            // A failure cannot be reported, and nothing else can be tried.
            let _ = sysv::remove(self.id);
        }
    }
}

/// The state of the demonstration. Fields that clean up on drop come first, in the order of the clean-up.
struct Stage<'a> {
    attachment: Option<Attachment>,
    made: Option<Made>,
    second: SecondProcess,
    /// The address at which B has attached.
    b: Option<usize>,
    is_written: bool,
    /// The calls of this step, and which process made each.
    shown: Vec<(char, String)>,
    /// Our own calls, received when they return.
    calls: Receiver<String>,
    is_traced: bool,
    shutdown: ShutdownSignals,
    /// Where Enter is read from.
    pauses: Option<File>,
    output: &'a mut Output,
}

impl Stage<'_> {
    fn play(&mut self) -> Result<(), Stop> {
        let is_forced = rmid_forced::is_rmid_forced();
        self.lines(story::INTRODUCTION)?;
        if self.pauses.is_some() {
            self.lines(story::LOOK)?;
            self.pause()?;
        }

        let id = self.create()?;
        self.show(if is_forced { &story::CREATE_FORCED } else { &story::CREATE })?;

        let attached = sysv::attach(id, Access::ReadWrite, Placement::default());
        self.attachment = Some(attached.map_err(|error| self.cannot("attach", error))?);
        self.show(&story::ATTACH)?;

        self.write()?;
        self.show(&story::WRITE)?;

        let answer = self.second.attach(id, &self.shutdown)?;
        let address = answer.text.strip_prefix("0x").and_then(|digits| usize::from_str_radix(digits, 16).ok());
        self.b = Some(address.ok_or_else(SecondProcess::has_ended)?);
        self.theirs(answer);
        self.show(&story::SECOND)?;

        let answer = self.second.read(&self.shutdown)?;
        let text = self.theirs(answer);
        self.shown.push(('B', format!("in C: puts({:#x}) prints: {text}", self.b.unwrap_or_default())));
        self.show(&story::READ)?;

        self.attachment = None;
        self.show(&story::DETACH)?;

        sysv::remove(id).map_err(|error| self.cannot("remove", error))?;
        self.mine();
        if let Some(Made { key, .. }) = self.made {
            // The call is expected to find nothing. If another process has created a segment with this key, that is
            // harmless.
            let _ = sysv::find(key);
        }
        self.show(&story::REMOVE)?;

        let answer = self.second.detach(&self.shutdown)?;
        self.b = None;
        self.theirs(answer);
        let is_gone = sysv::stat(id).is_err_and(|error| error.reason == Reason::NoSuchSegment);
        self.show(if is_gone { &story::LAST } else { &story::NOT_LAST })?;
        self.output.line("")?;
        Ok(self.lines(if is_forced { story::END_FORCED } else { story::END })?)
    }

    /// Creates the segment with an unused key.
    fn create(&mut self) -> Result<ShmId, Stop> {
        loop {
            let key = Key::from_raw(fastrand::i32(1..));
            // Before the segment exists, so that from its first moment the second process can remove it.
            self.second.watch(key, &self.shutdown)?;
            let mode = Mode::from_raw(0o600);
            match sysv::create(&NewSegment { key, size: SIZE, mode, huge: None, no_reserve: false }) {
                Ok(id) => {
                    self.made = Some(Made { key, id });
                    return Ok(id);
                }
                Err(error) if error.reason == Reason::Exists => self.calls.try_iter().for_each(drop),
                Err(error) => return Err(create::cannot_create(key, SIZE, false, error).into()),
            }
        }
    }

    fn write(&mut self) -> Result<(), Stop> {
        if let Some(attachment) = &self.attachment {
            let name = format!("segment id:{}", attachment.id());
            let cannot = |error: &io::Error| attach::page_error(format_args!("write to {name}"), error);
            let contents = attachment.contents(Access::ReadWrite);
            contents.write_at(format!("{TEXT}\0").as_bytes(), 0).map_err(|error| cannot(&error))?;
            self.shown.push(('A', format!("in C: strcpy({:#x}, \"{TEXT}\")", attachment.address())));
            self.is_written = true;
        }
        Ok(())
    }

    /// Returns the error for a failed call on the segment of the previous step.
    fn cannot(&self, verb: &str, error: sysv::Error) -> Error {
        let name = self.made.as_ref().map_or(String::new(), |made| format!(" {} (id {})", made.key, made.id));
        let told = Error::call(format_args!("{verb} segment{name}"), error);
        match error.reason {
            // The user did not name the segment, so this is a failure and not exit status 3.
            Reason::NoSuchSegment => {
                Error { kind: crate::error::Kind::Failed, ..told }.hint("somebody has removed it; run the demo again")
            }
            _ => told,
        }
    }

    /// Adds our own recent calls to the step, except those that only read state.
    fn mine(&mut self) {
        let only_looks =
            |call: &String| call.starts_with("shmctl(") && !call.contains("IPC_RMID") && !call.contains("= -1");
        self.shown.extend(self.calls.try_iter().filter(|call| !only_looks(call)).map(|call| ('A', call)));
    }

    /// Adds the second process's calls to the step, and returns its answer.
    fn theirs(&mut self, answer: Answer) -> String {
        self.mine();
        self.trace(&answer);
        let calls = answer.calls.into_iter().filter(|call| !call.starts_with("shmctl("));
        self.shown.extend(calls.map(|call| ('B', call)));
        answer.text
    }

    /// Prints the second process's calls if `--trace` is given, as strace -f does.
    fn trace(&self, answer: &Answer) {
        if self.is_traced {
            answer.calls.iter().for_each(|call| note_raw(&format!("[pid {}] {call}", self.second.pid())));
        }
    }

    /// Prints a step: an explanation, the calls, the picture, and the row.
    fn show(&mut self, step: &Step) -> Result<(), Stop> {
        self.mine();
        if let Some(signal) = self.shutdown.signal() {
            return Err(Stop::Signal(signal));
        }
        let segment = self.row()?;
        let text = self.text()?;
        let color = self.output.color();
        let paint = |style: Style, text: &str| if color { format!("{style}{text}{style:#}") } else { text.to_owned() };
        self.output.line(format_args!("\n{}\n", paint(TITLE, step.title)))?;
        self.lines(step.text)?;
        self.output.line("")?;
        for (who, call) in std::mem::take(&mut self.shown) {
            let who = paint(if who == 'A' { A } else { B }, &who.to_string());
            self.output.line(format_args!("  {who}  {call}"))?;
        }
        self.output.line("")?;
        let a = self.attachment.as_ref().map(|attachment| (attachment.address(), Access::ReadWrite));
        let picture = Picture {
            left: Space { name: 'A', pid: std::process::id(), style: A, attached: a },
            right: Space {
                name: 'B',
                pid: self.second.pid(),
                style: B,
                attached: self.b.map(|address| (address, Access::Read)),
            },
            segment: segment.as_ref(),
            text: &text,
        };
        for line in picture.lines(color) {
            self.output.line(line.trim_end())?;
        }
        self.output.line("")?;
        self.table(segment.as_slice())?;
        if step.is_last { Ok(()) } else { self.pause() }
    }

    /// Prints the row, as `list` does.
    fn table(&mut self, segments: &[Segment]) -> Result<()> {
        // New lookups for each step: idle times change, and processes exit.
        let lookups = Lookups::default();
        let view = View { lookups: &lookups, time_format: TimeFormat::default_for(true), human_sizes: true };
        let layout = Layout::new(&Column::defaults(), true, true, segments, &view, self.output.width().or(Some(WIDTH)));
        layout.print_titles(self.output)?;
        layout.print(self.output, segments, &view)?;
        if segments.is_empty() { self.output.line("(no row: the segment no longer exists)") } else { Ok(()) }
    }

    /// Returns the segment's row of the kernel's table.
    fn row(&self) -> Result<Option<Segment>> {
        let Some(made) = &self.made else { return Ok(None) };
        for row in lookup::rows()? {
            let row = row?;
            if row.id == made.id && row.cpid.cast_unsigned() == std::process::id() {
                return Ok(Some(row));
            }
        }
        Ok(None)
    }

    /// Returns the segment's text, as an attached process sees it.
    fn text(&mut self) -> Result<String, Stop> {
        // Reading a page that was never touched would allocate it.
        let text = match (&self.attachment, self.b) {
            _ if !self.is_written => String::new(),
            (Some(attachment), _) => text(attachment)?,
            (None, Some(_)) => {
                let answer = self.second.read(&self.shutdown)?;
                self.trace(&answer);
                answer.text
            }
            (None, None) => TEXT.into(),
        };
        Ok(if text.is_empty() { "0 0 0 0 0 0 0 0 0".into() } else { text })
    }

    fn lines(&mut self, lines: &[&str]) -> Result<()> {
        lines.iter().try_for_each(|line| self.output.line(line))
    }

    /// Flushes the output, and waits for Enter if requested.
    fn pause(&mut self) -> Result<(), Stop> {
        self.output.flush()?;
        let Some(input) = &mut self.pauses else { return Ok(()) };
        let cannot = |error: &io::Error| Error::io("wait for Enter", error);
        prompt("\nEnter continues, Ctrl-D ends: ");
        loop {
            let sources = [input.as_fd(), self.second.as_source()];
            match self.shutdown.wait_readable(&sources).map_err(|error| cannot(&error))? {
                Woken::Signal(signal) => return Err(Stop::Signal(signal)),
                Woken::Source(0) => {}
                // The second process has not been asked anything, so it has ended.
                Woken::Source(_) => return Err(SecondProcess::has_ended().into()),
            }
            // One byte at a time: what follows the newline is for the next pause.
            let mut byte = [0];
            match input.read(&mut byte) {
                Ok(0) => return Err(Stop::InputEnded),
                Ok(_) if byte == *b"\n" => return Ok(()),
                Ok(_) => {}
                Err(error) if matches!(error.kind(), io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock) => {}
                Err(error) => return Err(cannot(&error).into()),
            }
        }
    }
}
