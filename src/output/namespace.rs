//! An IPC namespace as it is shown: to people as the heading of its segments, to scripts in JSON.

use anstyle::Style;
use serde::Serialize;

use super::Output;
use super::text::cut;
use crate::error::Result;
use crate::system::namespace::Inhabited;
use crate::system::process::command_of;
use crate::values::counted;

const HEADING: Style = Style::new().bold();

/// An IPC namespace, with a process in it.
#[derive(Debug, Serialize)]
pub(crate) struct NamespaceRecord {
    /// Its inode.
    pub ns: u64,
    pid: i32,
    command: Option<String>,
    /// How many are listed; `None` where it may not be entered.
    segments: Option<u64>,
    #[serde(skip)]
    is_ours: bool,
}

impl NamespaceRecord {
    /// The record of a namespace of which so many segments are listed.
    pub(crate) fn new(namespace: &Inhabited, segments: Option<u64>) -> NamespaceRecord {
        NamespaceRecord {
            ns: namespace.inode(),
            pid: namespace.pid(),
            command: command_of(namespace.pid()),
            segments,
            is_ours: namespace.is_ours(),
        }
    }

    /// Writes it as a line, which is cut where the terminal ends: the command is last.
    pub(crate) fn print_heading(&self, output: &mut Output) -> Result<()> {
        let text = self.heading();
        let text = cut(&text, output.width().map_or(usize::MAX, usize::from));
        if output.color() { output.line(format_args!("{HEADING}{text}{HEADING:#}")) } else { output.line(text) }
    }

    fn heading(&self) -> String {
        let ours = if self.is_ours { " (this one)" } else { "" };
        let segments = match self.segments {
            None => "may not be entered".to_owned(),
            Some(0) => "no segments".into(),
            Some(segments) => counted(segments, "segment"),
        };
        let command = self.command.as_deref().map_or(String::new(), |command| format!(": {command}"));
        format!("IPC namespace {}{ours}, {segments}, process {}{command}", self.ns, self.pid)
    }
}
