//! The manifest: an archive's description of its segments.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::MAX_SEGMENTS;
use crate::system::names::Names;
use crate::sysv::Segment;
use crate::values::{Key, Mode, ShmId, known_id};

/// The version that this program writes and reads.
const VERSION: u32 = 1;

/// The manifest of an archive.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Manifest {
    format: String,
    version: u32,
    created: Timestamp,
    /// The segments, in the order of their data.
    pub(crate) segments: Vec<SavedSegment>,
}

/// A segment's state when it was saved. A time that was never set is null.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct SavedSegment {
    key: String,
    id: i32,
    /// In bytes.
    pub(crate) size: u64,
    mode: String,
    /// Null if the owner had no id in the user namespace of `save`. It must not be missing, hence the attribute.
    #[serde(deserialize_with = "Option::deserialize")]
    pub(crate) uid: Option<u32>,
    pub(crate) user: Option<String>,
    #[serde(deserialize_with = "Option::deserialize")]
    pub(crate) gid: Option<u32>,
    pub(crate) group: Option<String>,
    cuid: Option<u32>,
    cuser: Option<String>,
    cgid: Option<u32>,
    cgroup: Option<String>,
    cpid: i32,
    lpid: i32,
    atime: Option<Timestamp>,
    dtime: Option<Timestamp>,
    ctime: Option<Timestamp>,
    /// Whether its pages were locked in memory (`SHM_LOCK`).
    pub(crate) locked: bool,
    /// Whether it was marked for destruction. It had no key then.
    marked: bool,
    /// Bytes of data in the archive; the rest of the segment was never touched.
    pub(crate) bytes: u64,
    /// The digest of the data. See [`super::sha256::ExtentsDigest`].
    pub(super) sha256: String,
}

impl Manifest {
    pub(super) fn new(created: Timestamp) -> Manifest {
        Manifest { format: "shmadm".into(), version: VERSION, created, segments: Vec::new() }
    }

    /// Returns the time of the archive's members, in seconds since the epoch.
    pub(super) fn mtime(&self) -> u64 {
        self.created.as_second().max(0).cast_unsigned()
    }

    /// Parses a manifest.
    ///
    /// # Errors
    /// The reason why the text is not a valid manifest.
    pub(super) fn from_json(text: &[u8], mtime: u64) -> Result<Manifest, String> {
        let manifest: Manifest =
            serde_json::from_slice(text).map_err(|error| format!("its manifest is invalid: {error}"))?;
        if manifest.format != "shmadm" || manifest.version != VERSION {
            return Err(format!("its manifest has format {:?}, version {}", manifest.format, manifest.version));
        }
        if manifest.segments.len() > MAX_SEGMENTS {
            return Err("its manifest has too many segments".into());
        }
        if manifest.mtime() != mtime {
            return Err("its manifest and its data have different times".into());
        }
        match manifest.segments.iter().find(|segment| !segment.is_possible()) {
            Some(wrong) => {
                Err(format!("its manifest has an impossible segment, with key {:?} and id {}", wrong.key, wrong.id))
            }
            None => Ok(manifest),
        }
    }
}

impl SavedSegment {
    pub(super) fn new(segment: &Segment, names: &Names, bytes: u64, sha256: String) -> SavedSegment {
        let time = |seconds| if seconds == 0 { None } else { Timestamp::from_second(seconds).ok() };
        let user = |uid| names.user(uid).map(|name| name.to_string());
        let group = |gid| names.group(gid).map(|name| name.to_string());
        SavedSegment {
            key: segment.key.to_string(),
            id: segment.id.as_raw(),
            size: segment.size,
            mode: segment.mode().to_string(),
            uid: known_id(segment.uid),
            user: user(segment.uid),
            gid: known_id(segment.gid),
            group: group(segment.gid),
            cuid: known_id(segment.cuid),
            cuser: user(segment.cuid),
            cgid: known_id(segment.cgid),
            cgroup: group(segment.cgid),
            cpid: segment.cpid,
            lpid: segment.lpid,
            atime: time(segment.atime),
            dtime: time(segment.dtime),
            ctime: time(segment.ctime),
            locked: segment.is_locked(),
            marked: segment.is_marked(),
            bytes,
            sha256,
        }
    }

    /// Returns the key; [`Key::PRIVATE`] for a segment without one.
    pub(crate) fn key(&self) -> Key {
        self.parsed_key().unwrap_or(Key::PRIVATE)
    }

    /// Returns the identifier that it had when it was saved.
    pub(crate) fn id(&self) -> ShmId {
        ShmId::from_kernel(self.id)
    }

    /// Returns the permissions.
    pub(crate) fn mode(&self) -> Mode {
        self.mode.parse().unwrap_or(Mode::from_raw(0))
    }

    fn parsed_key(&self) -> Option<Key> {
        let bits = u32::from_str_radix(self.key.strip_prefix("0x")?, 16).ok()?;
        Some(Key::from_raw(bits.cast_signed())).filter(|key| key.to_string() == self.key)
    }

    /// Returns whether every field has a value that the writer could have written.
    fn is_possible(&self) -> bool {
        self.parsed_key().is_some()
            && ShmId::new(self.id).is_some()
            && self.mode.parse::<Mode>().is_ok()
            && self.size > 0
            && self.bytes <= self.size
    }
}
