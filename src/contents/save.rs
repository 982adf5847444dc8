//! Saving segments into an archive.

use std::io::{self, IsTerminal};
use std::path::Path;
use std::process;

use super::Advance;
use super::archive::Writer;
use super::attach::attach;
use super::destination::{Destination, cannot_write};
use super::part::Part;
use super::sink::Sink;
use crate::error::{Error, Result};
use crate::output::Output;
use crate::segments::lookup::{self, Named};
use crate::segments::rmid_forced;
use crate::system::names::Names;
use crate::sysv::{Access, Placement, Segment};

/// A segment that was saved.
#[derive(Debug)]
pub(crate) struct Saved {
    /// Bytes of data. The rest of the segment was never touched.
    pub(crate) bytes: u64,
    /// The segment's state after it was read and detached. Its times and its last user result from that attachment.
    pub(crate) after: Segment,
    /// Its state before its first byte was read, while it was attached.
    first: Segment,
    /// Its state after its last byte was read, while it was attached.
    last: Segment,
}

impl Saved {
    /// Returns whether it changed since it was chosen: `None` if its settings are the same, and nobody else attached or
    /// detached it. What happens between the last byte and the detach can leave no trace.
    pub(crate) fn change_since(&self, chosen: &Segment) -> Option<&'static str> {
        let Saved { first, last, after, .. } = self;
        if !(chosen.is_same_as(first) && first.is_same_as(last) && last.is_same_as(after)) {
            return Some("it changed");
        }
        // Our own attachment is the only use.
        let is_ours = u32::try_from(first.lpid) == Ok(process::id())
            && first.nattch.checked_sub(1) == Some(chosen.nattch)
            && first.dtime == chosen.dtime
            && first.has_same_attachments_as(last)
            && last.nattch.checked_sub(1) == Some(after.nattch)
            && (last.lpid, last.atime) == (after.lpid, after.atime);
        (!is_ours).then_some("it was used")
    }
}

/// A failure of one segment, or of the whole archive.
enum Failure {
    Segment(Error),
    Archive(Error),
}

/// Writes those of these segments that can be read into one archive, atomically. Returns the result for each.
///
/// With the path `-` the archive goes to standard output. `advance` counts bytes of segments.
///
/// # Errors
/// The archive cannot be written, or a segment cannot be read completely. No archive is created then.
pub(crate) fn save(
    path: &Path,
    segments: &[Segment],
    names: &Names,
    output: &mut Output,
    advance: Advance<'_>,
) -> Result<Vec<Result<Saved>>> {
    if path == Path::new("-") {
        if io::stdout().is_terminal() {
            return Err(Error::usage("not writing an archive to a terminal: redirect standard output, or name a file"));
        }
        let saved = write(Writer::new(Sink::Output(output)), segments, names, advance)?;
        output.flush()?;
        return Ok(saved);
    }
    let cannot = |error: &io::Error| cannot_write(path, error);
    let destination = Destination::open(path, 0o600).map_err(|error| cannot(&error))?;
    let file = destination.file().map_err(|error| cannot(&error))?;
    let saved = write(Writer::new(Sink::File { file, path, punch: false }), segments, names, advance)?;
    if saved.iter().any(Result::is_ok) {
        destination.finish().map_err(|error| cannot(&error))?;
    }
    Ok(saved)
}

fn write(
    mut writer: Writer<'_>,
    segments: &[Segment],
    names: &Names,
    advance: Advance<'_>,
) -> Result<Vec<Result<Saved>>> {
    let mut all = Vec::with_capacity(segments.len());
    for segment in segments {
        all.push(match save_one(&mut writer, segment, names, advance) {
            Ok(saved) => Ok(saved),
            Err(Failure::Segment(error)) => Err(error),
            Err(Failure::Archive(error)) => return Err(error.hint("no archive was written")),
        });
    }
    if all.iter().any(Result::is_ok) {
        writer.finish()?;
    }
    Ok(all)
}

fn save_one(writer: &mut Writer<'_>, segment: &Segment, names: &Names, advance: Advance<'_>) -> Result<Saved, Failure> {
    let name = Named::from(segment).to_string();
    let (bytes, first, last) = {
        rmid_forced::outlives_a_detach(segment.id, &name, "save").map_err(Failure::Segment)?;
        let attachment =
            attach(segment.id, &name, "save", Access::Read, Placement::default()).map_err(Failure::Segment)?;
        // An attached segment keeps its identifier. So from here on this is certainly the chosen segment.
        let first = check_same(segment, &name).map_err(Failure::Segment)?;
        let contents = attachment.contents(Access::Read);
        let part = Part { contents, name: &name, range: 0..attachment.size() };
        let bytes = writer.add(segment, names, &part, advance).map_err(Failure::Archive)?;
        (bytes, first, check_same(segment, &name).map_err(Failure::Segment)?)
    };
    let after = check_same(segment, &name).map_err(Failure::Segment)?;
    Ok(Saved { bytes, after, first, last })
}

/// Reads a segment's state again, and checks that it is still the same segment.
fn check_same(segment: &Segment, name: &str) -> Result<Segment> {
    match lookup::current(segment.id) {
        Ok(Some(now)) if now.identity() == segment.identity() => Ok(now),
        Ok(_) => Err(Error::cannot(format_args!("save {name}"), "it was removed meanwhile")),
        Err(error) => Err(Error::call(format_args!("save {name}"), error)),
    }
}
