//! How far a long piece of work is, for the person at the terminal.

use std::borrow::Cow;
use std::fmt::Write;
use std::io::{self, IsTerminal};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

use crate::values::human_bytes;

/// Work that is over before that needs no bar.
const PATIENCE: Duration = Duration::from_secs(1);

/// A bar on standard error, where that is a terminal, from the second second on. It goes with its owner.
#[derive(Debug)]
pub(crate) struct Progress {
    bar: ProgressBar,
    /// When it is to be shown; `None` once that is settled.
    due: Option<Instant>,
}

impl Progress {
    /// For work on so many bytes, or on an unknown number of them. `what` is said before the bar.
    pub(crate) fn bytes(what: impl Into<Cow<'static, str>>, total: Option<u64>) -> Progress {
        let template = match total {
            Some(_) => "{msg} [{bar:20}] {bytes} of {total_bytes}, {binary_bytes_per_sec}, {eta} left",
            None => "{msg} {bytes}, {binary_bytes_per_sec}",
        };
        Progress::new(what, total, template)
    }

    /// For work on so many things.
    pub(crate) fn steps(what: impl Into<Cow<'static, str>>, total: u64) -> Progress {
        Progress::new(what, Some(total), "{msg} [{bar:20}] {pos} of {len}, {eta} left")
    }

    fn new(what: impl Into<Cow<'static, str>>, total: Option<u64>, template: &str) -> Progress {
        let bar = ProgressBar::with_draw_target(total, ProgressDrawTarget::hidden()).with_message(what);
        // The templates are ours; were one wrong, the default would do.
        if let Ok(style) = ProgressStyle::with_template(template) {
            // Sizes as everywhere: the library's have two digits behind the point, and 1024 of a unit.
            let style = style
                .progress_chars("=> ")
                .with_key("bytes", |state: &ProgressState, text: &mut dyn Write| {
                    let _ = text.write_str(&human_bytes(state.pos().into()));
                })
                .with_key("total_bytes", |state: &ProgressState, text: &mut dyn Write| {
                    let _ = text.write_str(&human_bytes(state.len().unwrap_or(0).into()));
                })
                .with_key("binary_bytes_per_sec", |state: &ProgressState, text: &mut dyn Write| {
                    let _ = write!(text, "{}/s", human_bytes(state.per_sec() as u128));
                });
            bar.set_style(style);
        }
        let due = io::stderr().is_terminal().then(|| Instant::now() + PATIENCE);
        Progress { bar, due }
    }

    /// The same, but never shown where `hidden`: the terminal is written to meanwhile.
    pub(crate) fn hidden_if(mut self, hidden: bool) -> Progress {
        self.due = self.due.filter(|_| !hidden);
        self
    }

    /// So much more is done.
    pub(crate) fn advance(&mut self, by: u64) {
        if self.due.is_some_and(|due| Instant::now() >= due) {
            self.due = None;
            self.bar.set_draw_target(ProgressDrawTarget::stderr());
        }
        self.bar.inc(by);
    }

    /// Writes lines to the terminal, with the bar out of their way.
    pub(crate) fn suspend<T>(&self, lines: impl FnOnce() -> T) -> T {
        self.bar.suspend(lines)
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
