//! A progress bar for long work.

use std::borrow::Cow;
use std::fmt::Write;
use std::io::{self, IsTerminal};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

use crate::values::human_bytes;

/// The bar appears after this time. Shorter work shows none.
const DELAY: Duration = Duration::from_secs(1);

/// A bar on standard error, if that is a terminal. It appears after a second, and disappears when it is dropped.
#[derive(Debug)]
pub(crate) struct Progress {
    bar: ProgressBar,
    /// When it appears; `None` once it has appeared, or if it never does.
    due: Option<Instant>,
}

impl Progress {
    /// Returns a bar for work on a number of bytes, which can be unknown. `what` stands before the bar.
    pub(crate) fn bytes(what: impl Into<Cow<'static, str>>, total: Option<u64>) -> Progress {
        let template = match total {
            Some(_) => "{msg} [{bar:20}] {bytes} of {total_bytes}, {binary_bytes_per_sec}, {eta} left",
            None => "{msg} {bytes}, {binary_bytes_per_sec}",
        };
        Progress::new(what, total, template)
    }

    /// Returns a bar for work on a number of items.
    pub(crate) fn steps(what: impl Into<Cow<'static, str>>, total: u64) -> Progress {
        Progress::new(what, Some(total), "{msg} [{bar:20}] {pos} of {len}, {eta} left")
    }

    fn new(what: impl Into<Cow<'static, str>>, total: Option<u64>, template: &str) -> Progress {
        let bar = ProgressBar::with_draw_target(total, ProgressDrawTarget::hidden()).with_message(what);
        // The templates are constants. If one were wrong, the default style would be used.
        if let Ok(style) = ProgressStyle::with_template(template) {
            // The library shows two decimals, and 1024 of a unit.
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
        let due = io::stderr().is_terminal().then(|| Instant::now() + DELAY);
        Progress { bar, due }
    }

    /// Hides the bar if `hidden`, because the work itself writes to the terminal.
    pub(crate) fn hidden_if(mut self, hidden: bool) -> Progress {
        self.due = self.due.filter(|_| !hidden);
        self
    }

    /// Adds to the work that is done.
    pub(crate) fn advance(&mut self, by: u64) {
        if self.due.is_some_and(|due| Instant::now() >= due) {
            self.due = None;
            self.bar.set_draw_target(ProgressDrawTarget::stderr());
        }
        self.bar.inc(by);
    }

    /// Hides the bar while `lines` writes to the terminal.
    pub(crate) fn suspend<T>(&self, lines: impl FnOnce() -> T) -> T {
        self.bar.suspend(lines)
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
