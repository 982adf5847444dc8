use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::Args;

use super::Context;
use crate::contents::destination::Destination;
use crate::error::{Error, Result, Status};
use crate::output::{OpenMetrics, report_unread};
use crate::segments::all_namespaces::AllNamespaces;
use crate::segments::cache::Lookups;
use crate::segments::lookup::{self, rows};
use crate::segments::users;
use crate::values::visible_path;

/// Write metrics for Prometheus
///
/// Writes sums by owner and the limits as OpenMetrics text, for the textfile collector of node_exporter.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    shmadm metrics\n  \
    shmadm metrics -o /var/lib/prometheus/node-exporter/shmadm.prom\n  \
    shmadm metrics --all-namespaces                  by unit, container or pod")]
pub(super) struct Metrics {
    /// Write to FILE, which is replaced when the new file is complete
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Write the metrics of every IPC namespace of the machine, with the labels ns and unit
    #[arg(long)]
    all_namespaces: bool,
}

impl Metrics {
    pub(super) fn run(&self, context: &mut Context) -> Result<Status> {
        let mut metrics = OpenMetrics::default();
        let all = if self.all_namespaces { Some(AllNamespaces::find()?) } else { None };
        match &all {
            Some(all) => add_all(&mut metrics, all, &context.lookups)?,
            None => {
                let (limits, usage) = lookup::limits()?;
                metrics.add_limits(limits, usage);
                for segment in users::announce(rows()?, &context.lookups) {
                    metrics.add(&segment?, &context.lookups);
                }
            }
        }
        let text = metrics.text().map_err(|error| Error::failed(format!("cannot encode the metrics: {error}")))?;
        match &self.output {
            None => context.output.bytes(text.as_bytes())?,
            Some(path) => {
                write(path, &text).map_err(|error| Error::io(format_args!("write {}", visible_path(path)), &error))?;
            }
        }
        context.output.flush()?;
        Ok(all.as_ref().map_or(Status::Done, report_unread))
    }
}

/// Adds the data of every namespace.
fn add_all(metrics: &mut OpenMetrics, all: &AllNamespaces, lookups: &Lookups) -> Result<()> {
    // Segments whose processes have exited are attributed to the container of the namespace. In this machine's own
    // namespace, the unit of its first process says nothing about the segments.
    let mut units = BTreeMap::new();
    for (namespace, limits, usage) in all.limits() {
        let unit = namespace.unit();
        metrics.add_limits_of(namespace.inode(), unit.as_ref(), limits, usage);
        units.insert(namespace.inode(), unit.filter(|_| !namespace.is_ours()));
    }
    for segment in users::announce(all.rows(), lookups) {
        let segment = segment?;
        let unit = segment.namespace.and_then(|inode| units.get(&inode)?.as_ref());
        metrics.add_of(&segment, unit, lookups);
    }
    Ok(())
}

/// Writes the file atomically: a concurrent collector reads the complete old or new file.
fn write(path: &Path, text: &str) -> io::Result<()> {
    let destination = Destination::open(path, 0o644)?;
    destination.file()?.write_all(text.as_bytes())?;
    destination.finish()
}
