//! The members of an archive: their names, and the headers before their data.

use tar::Header;

use crate::values::ShmId;

/// The size of a tar header in bytes. The data of each member is padded with zeros to a multiple of it.
pub(super) const BLOCK: usize = 512;

const DIRECTORY: &str = "shmadm/id-";
const MANIFEST: &str = "shmadm/manifest.json";
const DIGEST: &str = "shmadm/manifest.json.sha256";

/// The kind of a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Content {
    /// Bytes of a segment, from this offset on.
    Extent { id: ShmId, offset: u64 },
    /// The manifest.
    Manifest,
    /// The manifest's checksum.
    Digest,
}

/// A member, as its header describes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Member {
    pub(super) content: Content,
    /// Size in bytes, without the padding.
    pub(super) size: u64,
    /// Creation time of the archive, in seconds since the epoch. The same for all members.
    pub(super) mtime: u64,
}

impl Member {
    /// Returns the header of a member. All fields except those of [`Member`] are constant.
    pub(super) fn header(&self) -> Header {
        let name = match self.content {
            Content::Extent { id, offset } => format!("{DIRECTORY}{id}/{offset}"),
            Content::Manifest => MANIFEST.into(),
            Content::Digest => DIGEST.into(),
        };
        let mut header = Header::new_ustar();
        // This fails only for names that are too long or leave the directory.
        let _ = header.set_path(name);
        header.set_entry_type(tar::EntryType::Regular);
        header.set_mode(0o600);
        header.set_uid(0);
        header.set_gid(0);
        header.set_size(self.size);
        header.set_mtime(self.mtime);
        header.set_cksum();
        header
    }

    /// Returns the member that a header describes, or `None` for a header that [`Member::header`] never returns.
    pub(super) fn from_header(block: &[u8; BLOCK]) -> Option<Member> {
        let header = Header::from_byte_slice(block);
        let path = header.path_bytes();
        let content = match std::str::from_utf8(&path).ok()? {
            MANIFEST => Content::Manifest,
            DIGEST => Content::Digest,
            path => {
                let (id, offset) = path.strip_prefix(DIRECTORY)?.split_once('/')?;
                Content::Extent { id: ShmId::new(id.parse().ok()?)?, offset: offset.parse().ok()? }
            }
        };
        let member = Member { content, size: header.entry_size().ok()?, mtime: header.mtime().ok()? };
        (member.header().as_bytes() == block).then_some(member)
    }
}

/// Returns the number of zeros that follow a member of this size.
pub(super) fn padding(size: u64) -> usize {
    (BLOCK - (size % BLOCK as u64) as usize) % BLOCK
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_unchanged_headers_are_read_back() {
        let id = ShmId::new(5).unwrap();
        for content in [Content::Extent { id, offset: u64::MAX }, Content::Manifest, Content::Digest] {
            let member = Member { content, size: 1 << 30, mtime: 1_795_000_000 };
            let block = *member.header().as_bytes();
            assert_eq!(Member::from_header(&block), Some(member));
            for at in 0..BLOCK {
                for bit in 0..8 {
                    let mut changed = block;
                    changed[at] ^= 1 << bit;
                    assert_eq!(Member::from_header(&changed), None, "{content:?}: byte {at}, bit {bit}");
                }
            }
        }
    }

    #[test]
    fn other_names_are_refused() {
        for name in [
            "shmadm/id-5/../../etc/passwd",
            "shmadm/id-5",
            "shmadm/id--1/0",
            "shmadm/id-5/00",
            "id-5/0",
            "shmadm/id-5/+1",
        ] {
            let mut header = Header::new_ustar();
            header.as_ustar_mut().unwrap().name[..name.len()].copy_from_slice(name.as_bytes());
            header.set_entry_type(tar::EntryType::Regular);
            header.set_size(0);
            header.set_mtime(0);
            header.set_cksum();
            assert_eq!(Member::from_header(header.as_bytes()), None, "{name}");
        }
    }
}
