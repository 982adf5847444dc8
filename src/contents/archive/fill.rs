//! Copying from an archive into a new segment.

use super::member::Content;
use super::reader::Archive;
use super::sha256::ExtentsDigest;
use crate::contents::Advance;
use crate::contents::copy::write_at;
use crate::error::Result;
use crate::sysv::Contents;

impl Archive {
    /// Copies the data of the segment with this index into a new segment of the same size. Verifies again that it is
    /// the data that was verified when the archive was opened.
    ///
    /// # Errors
    /// The archive cannot be read, or has changed since it was opened; the segment cannot be written.
    pub(crate) fn fill(
        &mut self,
        index: usize,
        contents: &Contents<'_>,
        name: &str,
        advance: Advance<'_>,
    ) -> Result<()> {
        let Archive { segments, members } = self;
        let (saved, start) = &segments[index];
        let mut digest = ExtentsDigest::default();
        let mut left = saved.bytes;
        members.go_to(*start)?;
        while left > 0 {
            let member = members.next()?;
            let offset = match member.content {
                Content::Extent { id, offset } if id == saved.id() && (1..=left).contains(&member.size) => offset,
                _ => return Err(members.damaged("it was changed while it was read")),
            };
            digest.begin(offset, member.size);
            let mut at = offset;
            members.data(&member, |piece| {
                write_at(contents, name, piece, at)?;
                digest.data(piece);
                at += piece.len() as u64;
                advance(piece.len() as u64);
                Ok(())
            })?;
            left -= member.size;
        }
        if digest.finish() == saved.sha256 {
            return Ok(());
        }
        Err(members.damaged("it was changed while it was read"))
    }
}
