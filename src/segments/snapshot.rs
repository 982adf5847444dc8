//! The segments that an earlier `list -f json` wrote, for `--not-in`.

use std::collections::HashMap;
use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::error::{Error, Result};
use crate::sysv::{Identity, Segment};
use crate::values::{ShmId, visible_path};

/// The segments of a snapshot, each with the IPC namespaces in which it was seen, if the snapshot contains them.
#[derive(Debug)]
pub(crate) struct Snapshot(HashMap<Identity, Vec<Option<u64>>>);

/// The document. The flattened field matters: without one, serde also accepts an array for a struct, and would read
/// `[[]]` as a snapshot without segments.
#[derive(Deserialize)]
struct Document {
    segments: Vec<Known>,
    #[serde(flatten)]
    _more: HashMap<String, IgnoredAny>,
}

#[derive(Deserialize)]
struct Known {
    id: i32,
    size: u64,
    cpid: i32,
    cuid: u32,
    cgid: u32,
    /// Only a list of all namespaces has it.
    ns: Option<u64>,
    #[serde(flatten)]
    _more: HashMap<String, IgnoredAny>,
}

impl Snapshot {
    /// Reads a file.
    ///
    /// # Errors
    /// The file cannot be read, or is not the output of `list -f json`.
    pub(crate) fn read(path: &Path) -> Result<Snapshot> {
        let file = File::open(path).map_err(|error| Error::io(format_args!("read {}", visible_path(path)), &error))?;
        let document: Document = serde_json::from_reader(BufReader::new(file)).map_err(|error| {
            Error::cannot(format_args!("take {} for a snapshot", visible_path(path)), error.to_string())
                .hint("`shmadm list -f json >FILE` writes one")
        })?;
        let mut known = HashMap::<_, Vec<_>>::new();
        for Known { id, size, cpid, cuid, cgid, ns, .. } in document.segments {
            if let Some(id) = ShmId::new(id) {
                known.entry(Identity { id, size, cpid, cuid, cgid }).or_default().push(ns);
            }
        }
        Ok(Snapshot(known))
    }

    /// Returns whether the snapshot contains a segment.
    pub(crate) fn has(&self, segment: &Segment) -> bool {
        let namespace = segment.namespace;
        // If the namespace is unknown on one side, it may be the same.
        let can_be_here = |seen: &Option<u64>| seen.is_none() || namespace.is_none() || *seen == namespace;
        self.0.get(&segment.identity()).is_some_and(|seen| seen.iter().any(can_be_here))
    }
}
