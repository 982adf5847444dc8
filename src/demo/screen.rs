//! Shows the steps of a lesson: title, text, calls, picture and rows, and the pause between two steps.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsFd;

use anstyle::{AnsiColor, Style};

use super::Stop;
use super::cast::{Actor, Cast};
use super::lesson::{Step, View};
use super::name::{Label, Role};
use super::race::Event;
use super::stage::{Race, Stage};
use crate::error::{Error, Result};
use crate::output::{Charset, Column, Layout, Output, Picture, Space, TimeFormat, View as Formats, prompt, wrapped};
use crate::segments::cache::Lookups;
use crate::system::signals::{ShutdownSignals, Woken};
use crate::sysv::Segment;

/// The width in columns if the output is not a terminal.
const WIDTH: u16 = 80;
/// The width of texts.
const TEXT_WIDTH: u16 = 78;

const TITLE: Style = Style::new().bold();
const COLORS: [AnsiColor; 3] = [AnsiColor::Cyan, AnsiColor::Green, AnsiColor::Magenta];

/// Where a lesson is shown.
#[derive(Debug)]
pub(super) struct Screen<'a> {
    pub output: &'a mut Output,
    /// Where Enter is read from, if there is a pause before each step.
    pub pauses: Option<File>,
    pub charset: Charset,
}

impl Screen<'_> {
    /// Shows the acts of a step and what has come of them. Shows `number` of `count` before the title.
    pub(super) fn show(&mut self, step: &Step, number: usize, count: usize, stage: &mut Stage) -> Result<(), Stop> {
        if let Some(signal) = stage.shutdown.signal() {
            return Err(Stop::Signal(signal));
        }
        let rows = stage.rows()?;
        let (title, text) = match step.otherwise {
            Some(otherwise) if !rows.is_empty() => otherwise,
            _ => (&*step.title, &*step.text),
        };
        self.title(&format!("{number} of {count}: {title}"))?;
        self.text(&stage.race.as_ref().map_or_else(|| text.to_owned(), |race| race.fill(text)))?;
        self.output.line("")?;
        let shown = std::mem::take(&mut stage.shown);
        for (role, line) in &shown {
            let line = explained(line);
            match role {
                Some(role) => {
                    self.output.line(format_args!("  {}  {line}", self.paint(color(*role), &role.to_string())))?
                }
                None => self.output.line(format_args!("  {line}"))?,
            }
        }
        if !shown.is_empty() {
            self.output.line("")?;
        }
        match (step.view, &stage.race) {
            (View::Interleaving, Some(Race { events: Some(events), .. })) => Ok(self.interleaving(events)?),
            _ => {
                self.picture(stage, &rows)?;
                let rows: Vec<_> = rows.into_iter().map(|(_, row, _)| row).collect();
                Ok(self.table(&rows)?)
            }
        }
    }

    /// Prints a title below an empty line.
    pub(super) fn title(&mut self, title: &str) -> Result<()> {
        let title = self.paint(TITLE, title);
        self.output.line(format_args!("\n{title}\n"))
    }

    /// Prints a text, wrapped.
    pub(super) fn text(&mut self, text: &str) -> Result<()> {
        for paragraph in text.split('\n') {
            for line in wrapped(paragraph, TEXT_WIDTH, usize::from(u8::MAX)) {
                self.output.line(line)?;
            }
        }
        Ok(())
    }

    /// Flushes the output, and waits for Enter if requested.
    pub(super) fn pause(&mut self, cast: &Cast, shutdown: &ShutdownSignals) -> Result<(), Stop> {
        self.output.flush()?;
        let Some(input) = &mut self.pauses else { return Ok(()) };
        let cannot = |error: &io::Error| Error::io("wait for Enter", error);
        prompt("\nEnter continues, Ctrl-D ends: ");
        loop {
            let actors = cast.sources();
            let sources: Vec<_> = [input.as_fd()].into_iter().chain(actors.iter().map(|(_, source)| *source)).collect();
            match shutdown.wait_readable(&sources).map_err(|error| cannot(&error))? {
                Woken::Signal(signal) => return Err(Stop::Signal(signal)),
                Woken::Source(0) => {}
                // No process has been asked anything, so this one has ended.
                Woken::Source(source) => return Err(Cast::has_ended(actors[source - 1].0).into()),
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

    /// Prints who has which segment attached.
    fn picture(&mut self, stage: &Stage, rows: &[(Label, Segment, String)]) -> Result<()> {
        let actors = in_view(stage.cast.actors());
        let space = |actor: &&Actor| Space {
            name: actor.role.0,
            pid: actor.pid().cast_unsigned(),
            style: color(actor.role),
            attached: attached(stage, actor.role, rows),
            ended: actor.ended.clone(),
        };
        let is_child = |actor: &&&Actor| actor.parent.is_some_and(|parent| actors[0].role == parent);
        let picture = Picture {
            left: actors.first().map(space),
            right: actors.get(1).map(space),
            segments: rows.iter().map(|(_, row, text)| (row, text.as_str())).collect(),
            is_fork: actors.get(1).filter(is_child).is_some(),
        };
        for line in picture.lines(self.output.color(), self.charset) {
            self.output.line(line.trim_end())?;
        }
        self.output.line("")
    }

    /// Prints the rows, as `list` does.
    fn table(&mut self, segments: &[Segment]) -> Result<()> {
        // New lookups for each step: idle times change, and processes exit.
        let lookups = Lookups::default();
        let view = Formats { lookups: &lookups, time_format: TimeFormat::default_for(true), human_sizes: true };
        let width = self.output.width().or(Some(WIDTH));
        let layout = Layout::new(&Column::defaults(), true, true, segments, &view, width).with_charset(self.charset);
        layout.print_titles(self.output)?;
        layout.print(self.output, segments, &view)?;
        if segments.is_empty() { self.output.line("(no row: there is no segment)") } else { Ok(()) }
    }

    /// Prints the order of reads and writes that lost an update.
    fn interleaving(&mut self, events: &[Event; 4]) -> Result<()> {
        let first = events[0].role;
        let other = events.iter().map(|event| event.role).find(|role| *role != first).unwrap_or(first);
        self.output.line(format_args!(
            "  {:>8}   {:<22}{:<22}{}",
            "ticket",
            format!("process {first}"),
            format!("process {other}"),
            "*n"
        ))?;
        for event in events {
            let act = format!("{} {}", if event.is_write { "writes" } else { "reads" }, event.value);
            let (left, right) = if event.role == first { (&*act, "") } else { ("", &*act) };
            let number = event.value;
            self.output.line(format_args!("  {:>8}   {left:<22}{right:<22}{number}", event.ticket))?;
        }
        Ok(())
    }

    fn paint(&self, style: Style, text: &str) -> String {
        if self.output.color() { format!("{style}{text}{style:#}") } else { text.to_owned() }
    }
}

impl Race {
    /// Puts the numbers into a text.
    fn fill(&self, text: &str) -> String {
        let expected = 2 * u64::from(self.count);
        let numbers = [
            ("{count}", self.count.into()),
            ("{expected}", expected),
            ("{found}", self.found),
            ("{lost}", expected.saturating_sub(self.found)),
        ];
        let again = match self.tries {
            1 => String::new(),
            tries => format!(" (This was race {tries}. The ones before lost none that can be shown.)"),
        };
        let text = text.replace("{again}", &again);
        numbers.iter().fold(text, |text, (name, number)| text.replace(name, &number.to_string()))
    }
}

/// Returns the two processes of the picture: living ones first, else those that ended last.
fn in_view(actors: &[Actor]) -> Vec<&Actor> {
    let mut view: Vec<_> = actors.iter().collect();
    while view.len() > 2 {
        let ended = view.iter().position(|actor| actor.ended.is_some());
        view.remove(ended.unwrap_or(0));
    }
    view
}

/// Returns the attachments of a process, each with the index of its segment.
fn attached(stage: &Stage, role: Role, rows: &[(Label, Segment, String)]) -> Vec<(usize, usize, crate::sysv::Access)> {
    let of_role = stage.attached.iter().filter(|attached| attached.role == role);
    let shown = of_role.filter_map(|attached| {
        let index = rows.iter().position(|(label, ..)| *label == attached.label)?;
        Some((index, attached.address, attached.access))
    });
    shown.collect()
}

fn color(role: Role) -> Style {
    COLORS[(role.0 as usize).wrapping_sub('A' as usize) % COLORS.len()].on_default()
}

/// Adds what the result of a call is: a number such as 0 can be an identifier, or mean success.
fn explained(call: &str) -> String {
    let Some((_, result)) = call.rsplit_once(" = ") else { return call.to_owned() };
    let meaning = match call.split_once('(') {
        _ if result.starts_with('-') => return call.to_owned(),
        Some(("shmget", _)) => "identifier",
        Some(("shmat", _)) => "address",
        Some(("shmdt" | "shmctl", _)) => "success",
        _ => return call.to_owned(),
    };
    let line = format!("{call}  ({meaning})");
    // Five columns for the letter of the process.
    if line.len() + 5 <= WIDTH.into() { line } else { call.to_owned() }
}
