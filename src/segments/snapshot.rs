//! The segments that an earlier `list -f json` wrote, for `--not-in`.

use std::collections::HashMap;
use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::error::{Error, Result};
use crate::sysv::{Identity, Segment};
use crate::values::{known_id, visible_path};

/// The segments of a snapshot, by identifier, size and creator's pid.
#[derive(Debug)]
pub(crate) struct Snapshot(HashMap<(i32, u64, i32), Vec<Seen>>);

/// What else identifies a segment of a snapshot. `None` is unknown, and can be any.
#[derive(Debug)]
struct Seen {
    cuid: Option<u32>,
    cgid: Option<u32>,
    /// Its IPC namespace.
    ns: Option<u64>,
}

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
    /// Null if the creator had no id in the user namespace of the list. It must not be missing, hence the attribute.
    #[serde(deserialize_with = "Option::deserialize")]
    cuid: Option<u32>,
    #[serde(deserialize_with = "Option::deserialize")]
    cgid: Option<u32>,
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
            Error::cannot(format_args!("use {} as a snapshot", visible_path(path)), error.to_string())
                .hint("`shmadm list -f json >FILE` writes one")
        })?;
        let mut known = HashMap::<_, Vec<_>>::new();
        for Known { id, size, cpid, cuid, cgid, ns, .. } in document.segments {
            known.entry((id, size, cpid)).or_default().push(Seen { cuid, cgid, ns });
        }
        Ok(Snapshot(known))
    }

    /// Returns whether the snapshot contains a segment.
    pub(crate) fn has(&self, segment: &Segment) -> bool {
        let Identity { id, size, cpid, cuid, cgid } = segment.identity();
        let can_be_it = |seen: &Seen| {
            may_be_equal(seen.ns, segment.namespace)
                && may_be_equal(seen.cuid, known_id(cuid))
                && may_be_equal(seen.cgid, known_id(cgid))
        };
        self.0.get(&(id.as_raw(), size, cpid)).is_some_and(|seen| seen.iter().any(can_be_it))
    }
}

/// Returns whether two values are equal, or one of them is unknown.
fn may_be_equal<T: PartialEq>(one: Option<T>, other: Option<T>) -> bool {
    one.is_none() || other.is_none() || one == other
}
