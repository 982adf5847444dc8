//! SHA-256 digests of a segment's data and of the manifest, as text.

use std::fmt::Write;

use sha2::{Digest, Sha256};

/// The digest of a segment's extents. It covers for each extent its offset and length, as eight bytes little endian,
/// and its data.
#[derive(Debug, Clone, Default)]
pub(super) struct ExtentsDigest(Sha256);

impl ExtentsDigest {
    pub(super) fn begin(&mut self, offset: u64, length: u64) {
        self.0.update(offset.to_le_bytes());
        self.0.update(length.to_le_bytes());
    }

    pub(super) fn data(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    pub(super) fn finish(self) -> String {
        hexadecimal(&self.0.finalize())
    }
}

/// Returns the digest of bytes.
pub(super) fn of(bytes: &[u8]) -> String {
    hexadecimal(&Sha256::digest(bytes))
}

fn hexadecimal(digest: &[u8]) -> String {
    digest.iter().fold(String::new(), |mut text, byte| {
        // Writing to a String never fails.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
