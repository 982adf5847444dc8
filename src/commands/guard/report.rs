//! The files that `guard` writes.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::time::Duration;

use crate::contents::destination::{Destination, cannot_write};
use crate::error::Result;
use crate::output::leaks::{self, LeakedObjects, Report};

/// Checks that a file can be written, as far as that is known in advance. Nothing is opened, so that an existing file
/// survives if this process is killed.
pub(super) fn check(path: &Path) -> Result<()> {
    Destination::check_writable(path).map_err(|error| cannot_write(path, &error))
}

/// Writes the report.
pub(super) fn write_json(path: &Path, report: &Report<'_>) -> Result<()> {
    write(path, |file| {
        serde_json::to_writer(&mut *file, report)?;
        file.write_all(b"\n")
    })
}

/// Writes the JUnit test suite.
pub(super) fn write_junit(path: &Path, objects: &LeakedObjects, elapsed: Duration) -> Result<()> {
    write(path, |file| leaks::write_junit(file, objects, elapsed))
}

fn write(path: &Path, contents: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>) -> Result<()> {
    let write = || {
        let destination = Destination::open(path, 0o644)?;
        let mut file = BufWriter::new(destination.file()?);
        contents(&mut file)?;
        file.flush()?;
        destination.finish()
    };
    write().map_err(|error| cannot_write(path, &error))
}
