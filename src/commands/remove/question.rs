//! The question before a removal.

use std::io::{self, IsTerminal};

use crate::error::{Error, Result};
use crate::output::{Output, print_preview, prompt};
use crate::segments::cache::Lookups;
use crate::sysv::Segment;
use crate::values::{counted, human_bytes};

/// The maximum number of segments in the table before the question.
const SHOWN: usize = 20;

/// Shows what will be removed, and asks for confirmation on the terminal.
///
/// # Errors
/// Bad usage if there is no terminal to ask on; a failure if the answer is not yes.
pub(super) fn confirm(chosen: &[Segment], lookups: &Lookups, output: &Output) -> Result<()> {
    let what = described(chosen);
    if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
        return Err(Error::usage(format!("not removing {what}: there is no terminal to confirm on"))
            .hint("use --yes, or --dry-run to see them"));
    }
    let mut terminal = output.on_stderr()?;
    print_preview(chosen, SHOWN, lookups, &mut terminal)?;
    terminal.line("")?;
    terminal.flush()?;
    let mut answer = String::new();
    prompt(&format!("remove {what}? [y/N] "));
    io::stdin().read_line(&mut answer).map_err(|error| Error::io("ask", &error))?;
    match answer.trim() {
        "y" | "Y" | "yes" => Ok(()),
        _ => Err(Error::failed("nothing was removed")),
    }
}

/// Returns `3 segments (12K), 1 of them attached`.
pub(super) fn described(segments: &[Segment]) -> String {
    let size = segments.iter().map(|segment| u128::from(segment.size)).sum();
    let what = format!("{} ({})", counted(segments.len(), "segment"), human_bytes(size));
    match segments.iter().filter(|segment| segment.nattch > 0).count() {
        0 => what,
        1 if segments.len() == 1 => what + ", which is attached",
        attached => format!("{what}, {attached} of them attached"),
    }
}
