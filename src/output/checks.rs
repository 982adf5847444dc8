//! The findings of `doctor`.

use anstyle::{AnsiColor, Style};
use serde::Serialize;

use super::grid::wrapped;
use crate::segments::doctor::{Check, Health};
use crate::values::visible;

/// The line width if standard output is not a terminal.
const WIDTH: u16 = 80;

/// The maximum number of lines of one finding.
const MAX_LINES: usize = 40;

/// The column in which a finding starts.
const INDENT: usize = 9;

/// All checks, in JSON.
#[derive(Debug, Serialize)]
pub(crate) struct CheckRecords<'a> {
    pub checks: &'a [Check],
}

/// Returns the lines of all checks: the status, the name and the finding, and advice below.
pub(crate) fn check_lines(checks: &[Check], width: Option<u16>, color: bool) -> Vec<String> {
    let width = width.unwrap_or(WIDTH).saturating_sub(INDENT as u16).max(INDENT as u16);
    let lines_of = |text: &str| wrapped(&visible(text.as_bytes()), width, MAX_LINES);
    let mut lines = Vec::new();
    for Check { name, status, finding, remedy } in checks {
        let style = if color { style_of(*status) } else { Style::new() };
        let finding = lines_of(&format!("{name}: {finding}"));
        let remedy = remedy.iter().flat_map(|remedy| lines_of(&format!("-> {remedy}")));
        for (index, line) in finding.into_iter().chain(remedy).enumerate() {
            let word = if index == 0 { status.word() } else { "" };
            lines.push(format!("{style}{word:<INDENT$}{style:#}{line}"));
        }
    }
    lines
}

fn style_of(status: Health) -> Style {
    match status {
        Health::Ok => AnsiColor::Green.on_default(),
        Health::Note => Style::new(),
        Health::Warning | Health::Unknown => AnsiColor::Yellow.on_default(),
        Health::Problem => AnsiColor::Red.on_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn findings_are_broken_between_words() {
        let check = |status, remedy: &str| Check {
            name: "limits",
            status,
            finding: "one two three four".into(),
            remedy: (!remedy.is_empty()).then(|| remedy.into()),
        };
        let lines = check_lines(&[check(Health::Ok, ""), check(Health::Problem, "do it")], Some(24), false);
        let expected = [
            "ok       limits: one two",
            "         three four",
            "problem  limits: one two",
            "         three four",
            "         -> do it",
        ];
        assert_eq!(lines, expected);
    }
}
