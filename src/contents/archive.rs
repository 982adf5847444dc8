//! An archive of segments: a tar file of their data, then a manifest, then the manifest's checksum.
//!
//! ```text
//! shmadm/id-5/0                  the bytes from offset 0 on, up to a hole
//! shmadm/id-5/1048576            the next extent of data
//! shmadm/id-9/0
//! shmadm/manifest.json           what each segment is, and the SHA-256 of its data
//! shmadm/manifest.json.sha256    as sha256sum(1) writes it
//! ```
//!
//! Holes take no space. The members of a segment are consecutive, with ascending offsets, and the segments have the
//! order of the manifest. The reader accepts only what the writer writes, byte for byte, so that any change is
//! detected.

mod fill;
mod manifest;
mod member;
mod reader;
mod sha256;
mod writer;

pub(crate) use self::manifest::SavedSegment;
pub(crate) use self::reader::{Archive, open};
pub(crate) use self::writer::Writer;

/// The maximum size of a member in bytes: its size has at most 11 octal digits, which every tar can read.
const MAX_MEMBER_BYTES: u64 = 1 << 30;
/// The number of bytes copied at a time.
const PIECE: u64 = 1 << 20;
/// The maximum size of a manifest in bytes. That of 32,768 segments has about 20 MB.
const MAX_MANIFEST_BYTES: u64 = 32 << 20;
/// The maximum number of segments in an archive: eight times the kernel's usual limit (IPCMNI).
const MAX_SEGMENTS: usize = 1 << 18;
