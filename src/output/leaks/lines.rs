//! Leaks for people: a few lines for each.

use super::{CreatedBy, LeakedObjects, StackFrame, command_line};
use crate::values::counted;

/// The maximum number of objects that are described. One line summarizes the rest.
const MAX_DETAILED: usize = 100;

/// Returns the lines about everything that was left behind; none if there is nothing.
pub(crate) fn lines(objects: &LeakedObjects) -> Vec<String> {
    let Some(summary) = summary(objects) else { return Vec::new() };
    let mut lines = vec![format!("the command left {summary} behind:")];
    for (index, leak) in objects.each().enumerate() {
        lines.push(format!("  {}", leak.line));
        if index < MAX_DETAILED {
            lines.extend(leak.created_by.iter().flat_map(|by| details(by)).map(|line| format!("    {line}")));
        }
    }
    if objects.each().count() > MAX_DETAILED {
        lines.push(format!("  the creators of the first {MAX_DETAILED} are shown; --report has all"));
    }
    lines
}

/// Returns the lines about an object's creator.
pub(super) fn details(by: &CreatedBy) -> Vec<String> {
    let directory = by.cwd.as_ref().map_or(String::new(), |cwd| format!(", in {cwd}"));
    let mut lines = vec![format!(
        "command: {} (process {}{directory}), {:.1} s after the start",
        command_line(&by.command),
        by.pid,
        by.seconds_after_start
    )];
    for ancestor in &by.ancestors {
        lines.push(format!("started by: {} (process {})", command_line(&ancestor.command), ancestor.pid));
    }
    for (name, value) in &by.environment {
        lines.push(format!("{name}={value}"));
    }
    for (index, frame) in by.stack.iter().enumerate() {
        lines.push(format!("{} {}", if index == 0 { "at" } else { "  " }, place(frame)));
    }
    lines
}

/// Returns `create_pool (pool.c:7)`, or the other known data about a frame.
fn place(frame: &StackFrame) -> String {
    let StackFrame { function, file, line, module, offset, .. } = frame;
    let source = match (file, line) {
        (Some(file), Some(line)) => Some(format!("{file}:{line}")),
        (Some(file), None) => Some(file.clone()),
        (None, _) => None,
    };
    let code = format!("{}+{offset}", module.as_deref().unwrap_or("[no file]"));
    match (function, source) {
        (Some(function), Some(source)) => format!("{function} ({source})"),
        (Some(function), None) => format!("{function} ({code})"),
        (None, Some(source)) => format!("{source} ({code})"),
        (None, None) => code,
    }
}

/// Returns a summary such as "a segment" or "2 segments and 1 semaphore set".
fn summary(objects: &LeakedObjects) -> Option<String> {
    let kinds = [
        (objects.leaked.len(), "segment"),
        (objects.semaphores.len(), "semaphore set"),
        (objects.queues.len(), "message queue"),
    ];
    let counts: Vec<_> = kinds.into_iter().filter(|(count, _)| *count > 0).collect();
    match counts[..] {
        [] => None,
        [(1, kind)] => Some(format!("a {kind}")),
        _ => {
            let words: Vec<_> = counts.into_iter().map(|(count, kind)| counted(count as u64, kind)).collect();
            let (last, others) = words.split_last()?;
            let others = others.join(", ");
            Some(if others.is_empty() { last.clone() } else { format!("{others} and {last}") })
        }
    }
}
