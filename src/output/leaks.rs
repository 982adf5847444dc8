//! The objects that a command left behind and their creators: a record for JSON, and lines for people.

mod annotation;
mod junit;
mod lines;
mod report;

use std::collections::BTreeMap;
use std::path::Path;

use serde::Serialize;

use crate::system::stack::Frame;
use crate::system::tracer::{Creation, Process};
use crate::values::{shell_word, visible};

pub(crate) use annotation::annotations;
pub(crate) use junit::write_junit;
pub(crate) use lines::lines;
pub(crate) use report::{LeakedObjects, Report};

/// Functions of the C library that only make the system call. Their caller is the function of interest.
const WRAPPERS: [&str; 6] = ["shmget", "semget", "msgget", "__shmget", "__semget", "__msgget"];

/// The creator of an object. Everything that others chose is escaped.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct CreatedBy {
    pid: i32,
    command: Vec<String>,
    cwd: Option<String>,
    ancestors: Vec<Ancestor>,
    environment: BTreeMap<String, String>,
    seconds_after_start: f64,
    stack: Vec<StackFrame>,
}

#[derive(Debug, Clone, Serialize)]
struct Ancestor {
    pid: i32,
    command: Vec<String>,
}

#[derive(Debug, Clone, Serialize)]
struct StackFrame {
    function: Option<String>,
    /// For people: relative to our working directory, or as it was given to the compiler.
    file: Option<String>,
    line: Option<u32>,
    module: Option<String>,
    offset: String,
    /// The full path of the file.
    #[serde(skip)]
    path: Option<String>,
}

impl CreatedBy {
    /// Returns the record of a creation, with the frames of its stack. `None` if the process could not be inspected.
    pub(crate) fn new(creation: &Creation, frames: Vec<Frame>, directory: &Path) -> Option<CreatedBy> {
        let caller = creation.caller.as_ref()?;
        let is_wrapper = |frame: &Frame| frame.function.as_deref().is_some_and(|name| WRAPPERS.contains(&name));
        let frames = frames.into_iter().skip_while(is_wrapper).map(|frame| StackFrame::new(frame, directory));
        Some(CreatedBy {
            pid: caller.process.pid,
            command: words(&caller.process),
            cwd: caller.directory.as_deref().map(|path| visible(path).into_owned()),
            ancestors: caller
                .ancestors
                .iter()
                .map(|process| Ancestor { pid: process.pid, command: words(process) })
                .collect(),
            environment: caller
                .environment
                .iter()
                .map(|(name, value)| (visible(name.as_bytes()).into_owned(), visible(value).into_owned()))
                .collect(),
            // Milliseconds are precise enough.
            seconds_after_start: creation.after.as_millis() as f64 / 1000.0,
            stack: frames.collect(),
        })
    }

    /// Returns the innermost place in a readable source file, else in any source file.
    fn place(&self) -> Option<(&str, &str, u32)> {
        let mut places =
            self.stack.iter().filter_map(|frame| Some((frame.file.as_deref()?, frame.path.as_deref()?, frame.line?)));
        let first = places.clone().next();
        places.find(|(_, path, _)| Path::new(path).is_file()).or(first)
    }
}

impl StackFrame {
    fn new(frame: Frame, directory: &Path) -> StackFrame {
        let path = frame.file;
        // These paths are escaped already.
        let file = path.as_deref().map(|path| {
            let below = |directory: &Path| Path::new(path).strip_prefix(directory).ok();
            let relative = below(directory).or_else(|| below(Path::new(frame.directory.as_deref()?)));
            let shown = relative.unwrap_or(Path::new(path));
            shown.strip_prefix(".").unwrap_or(shown).to_str().unwrap_or(path).to_owned()
        });
        StackFrame {
            function: frame.function,
            file,
            line: frame.line,
            module: frame.module,
            offset: format!("{:#x}", frame.offset),
            path,
        }
    }
}

fn words(process: &Process) -> Vec<String> {
    process.command.iter().map(|word| visible(word).into_owned()).collect()
}

/// Returns a command line as a person would type it in a shell.
fn command_line(words: &[String]) -> String {
    words.iter().map(|word| shell_word(word)).collect::<Vec<_>>().join(" ")
}
