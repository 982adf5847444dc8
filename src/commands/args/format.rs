//! The output format of a command, and the format of times.

use clap::ValueEnum;
use clap::builder::PossibleValue;

use crate::output::TimeFormat;

/// Text for people or JSON for scripts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(in crate::commands) enum TextOrJson {
    /// Text for people
    #[default]
    Text,
    /// JSON for scripts
    Json,
}

impl ValueEnum for TimeFormat {
    fn value_variants<'a>() -> &'a [TimeFormat] {
        &[TimeFormat::Short, TimeFormat::Full, TimeFormat::Iso, TimeFormat::Epoch, TimeFormat::Relative]
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        let (name, help) = match self {
            TimeFormat::Short => ("short", "10:07 today, else Nov 22, else 2025-11-22"),
            TimeFormat::Full => ("full", "Mon Nov 23 10:07:31 2026"),
            TimeFormat::Iso => ("iso", "2026-11-23T10:07:31+01:00"),
            TimeFormat::Epoch => ("epoch", "Seconds since 1970"),
            TimeFormat::Relative => ("relative", "5m ago"),
        };
        Some(PossibleValue::new(name).help(help))
    }
}
