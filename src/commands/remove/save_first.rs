//! `remove --save FILE`: saves segments before they are removed. A segment that cannot be saved is not removed.

use std::path::Path;

use crate::contents::destination::is_null_device;
use crate::contents::save::save;
use crate::error::{Error, Result};
use crate::output::{Output, Progress};
use crate::segments::cache::Lookups;
use crate::segments::remove::{Outcome, Removal};
use crate::sysv::Segment;
use crate::values::visible_path;

/// Saves the chosen segments. Returns for each its state after our own attachment, or the failed removal.
///
/// # Errors
/// The archive cannot be written, or would be written to the null device. Nothing is removed then.
pub(super) fn save_first(
    path: &Path,
    chosen: &[Segment],
    output: &mut Output,
    lookups: &Lookups,
) -> Result<Vec<Result<Segment, Removal>>> {
    if chosen.is_empty() {
        return Ok(Vec::new());
    }
    if is_null_device(path) {
        let error = Error::cannot(format_args!("save to {}", visible_path(path)), "the null device keeps nothing");
        return Err(error.hint("nothing was removed"));
    }
    let total: u128 = chosen.iter().map(|segment| u128::from(segment.size)).sum();
    let mut progress = Progress::bytes("saving", u64::try_from(total).ok());
    let saved = save(path, chosen, &lookups.names, output, &mut |count| progress.advance(count))
        .map_err(|error| error.hint("nothing was removed"))?;
    let failed = |segment: &Segment, error: Error| {
        let mut removal = Removal::of(segment, Outcome::Failed);
        removal.error = Some(error.hint("it was not removed").into());
        removal
    };
    let mut results = Vec::with_capacity(chosen.len());
    for (segment, saved) in chosen.iter().zip(saved) {
        results.push(match saved {
            Ok(saved) => match saved.change_since(segment) {
                None => Ok(saved.after),
                Some(how) => Err(Removal::changed(segment, how)),
            },
            Err(error) => Err(failed(segment, error)),
        });
    }
    Ok(results)
}
