use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::Args;

use super::Context;
use crate::contents::destination::Destination;
use crate::error::{Error, Result, Status};
use crate::output::OpenMetrics;
use crate::segments::lookup::{self, rows};

/// Write metrics for Prometheus
///
/// Sums by owner and the limits, as OpenMetrics text, for the textfile collector of node_exporter.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    shmadm metrics\n  \
    shmadm metrics -o /var/lib/prometheus/node-exporter/shmadm.prom")]
pub(super) struct Metrics {
    /// Write to FILE, which is replaced as a whole
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

impl Metrics {
    pub(super) fn run(&self, context: &mut Context) -> Result<Status> {
        let (limits, usage) = lookup::limits()?;
        let mut metrics = OpenMetrics::new(limits, usage);
        for segment in rows()? {
            metrics.add(&segment?, &context.lookups);
        }
        let text = metrics.text().map_err(|error| Error::failed(format!("cannot encode the metrics: {error}")))?;
        match &self.output {
            None => context.output.bytes(text.as_bytes())?,
            Some(path) => {
                write(path, &text).map_err(|error| Error::io(format_args!("write {}", path.display()), &error))?;
            }
        }
        Ok(Status::Done)
    }
}

/// A collector that reads meanwhile finds the old file or the new one, whole.
fn write(path: &Path, text: &str) -> io::Result<()> {
    let destination = Destination::open(path, 0o644)?;
    destination.file()?.write_all(text.as_bytes())?;
    destination.finish()
}
