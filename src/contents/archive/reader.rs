//! Reading an archive: all of it is verified before anything is created from it.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};

use super::manifest::{Manifest, SavedSegment};
use super::member::{BLOCK, Content, Member, padding};
use super::sha256::{self, ExtentsDigest};
use super::{MAX_MANIFEST_BYTES, MAX_MEMBER_BYTES, MAX_SEGMENTS, PIECE};
use crate::contents::Advance;
use crate::error::{Error, Result};
use crate::values::ShmId;

/// An archive that was verified.
#[derive(Debug)]
pub(crate) struct Archive {
    /// The segments, each with the offset of the header of its first data.
    pub(super) segments: Vec<(SavedSegment, u64)>,
    pub(super) members: Members,
}

impl Archive {
    /// Returns the segments, in the order in which they were saved.
    pub(crate) fn segments(&self) -> impl ExactSizeIterator<Item = &SavedSegment> {
        self.segments.iter().map(|(segment, _)| segment)
    }

    /// Returns the segment with this index, counted from 0.
    ///
    /// # Panics
    /// If there is no segment with this index.
    pub(crate) fn segment(&self, index: usize) -> &SavedSegment {
        &self.segments[index].0
    }
}

/// Reads a whole archive and verifies it. Memory use is bounded, whatever the file contains.
///
/// # Errors
/// The file cannot be read, or was changed or truncated since it was written.
pub(crate) fn open(file: File, name: &str, advance: Advance<'_>) -> Result<Archive> {
    let mut members = Members { source: BufReader::with_capacity(1 << 18, file), at: 0, name: name.to_owned() };
    let segments = check(&mut members, advance)?;
    Ok(Archive { segments, members })
}

/// An iterator over the members of an archive.
#[derive(Debug)]
pub(super) struct Members {
    source: BufReader<File>,
    /// Offset in the file.
    at: u64,
    name: String,
}

impl Members {
    /// Reads the next header.
    pub(super) fn next(&mut self) -> Result<Member> {
        let mut block = [0; BLOCK];
        self.read(&mut block)?;
        Member::from_header(&block).ok_or_else(|| {
            self.damaged(match self.at == BLOCK as u64 {
                true => "it does not begin like an archive that `shmadm save` wrote",
                false => "it has a header that shmadm does not write",
            })
        })
    }

    /// Passes a member's data to `each`, in pieces, and checks the padding.
    pub(super) fn data(&mut self, member: &Member, mut each: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
        let mut piece = vec![0; PIECE.min(member.size) as usize];
        let mut left = member.size;
        while left > 0 {
            let piece = &mut piece[..PIECE.min(left) as usize];
            self.read(piece)?;
            each(piece)?;
            left -= piece.len() as u64;
        }
        self.zeros(padding(member.size))
    }

    /// Seeks to a header by its offset in the file.
    pub(super) fn go_to(&mut self, offset: u64) -> Result<()> {
        self.source.seek(SeekFrom::Start(offset)).map_err(|error| self.unreadable(&error))?;
        self.at = offset;
        Ok(())
    }

    /// Returns the error for an archive that differs from what was written.
    pub(super) fn damaged(&self, how: impl std::fmt::Display) -> Error {
        Error::cannot(format_args!("restore from {}", self.name), format!("the archive is damaged: {how}"))
            .hint(format_args!("found at byte {}", self.at))
    }

    fn zeros(&mut self, count: usize) -> Result<()> {
        let mut zeros = vec![0; count];
        self.read(&mut zeros)?;
        if zeros.iter().all(|byte| *byte == 0) { Ok(()) } else { Err(self.damaged("its padding is not zero")) }
    }

    fn expect_end(&mut self) -> Result<()> {
        match self.source.fill_buf() {
            Ok([]) => Ok(()),
            Ok(_) => Err(self.damaged("there is data after its end")),
            Err(error) => Err(self.unreadable(&error)),
        }
    }

    fn read(&mut self, buffer: &mut [u8]) -> Result<()> {
        match self.source.read_exact(buffer) {
            Ok(()) => {
                self.at += buffer.len() as u64;
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Err(self.damaged("it ends too early")),
            Err(error) => Err(self.unreadable(&error)),
        }
    }

    fn unreadable(&self, error: &io::Error) -> Error {
        Error::io(format_args!("read {}", self.name), error)
    }
}

/// The data of a segment read so far.
struct Seen {
    id: ShmId,
    start: u64,
    bytes: u64,
    end: u64,
    digest: ExtentsDigest,
}

/// A summary of a segment whose data was read.
struct Summary {
    id: ShmId,
    start: u64,
    bytes: u64,
    end: u64,
    sha256: String,
}

impl From<Seen> for Summary {
    fn from(seen: Seen) -> Summary {
        Summary { id: seen.id, start: seen.start, bytes: seen.bytes, end: seen.end, sha256: seen.digest.finish() }
    }
}

/// Reads all members, up to the end of the file.
fn check(members: &mut Members, advance: Advance<'_>) -> Result<Vec<(SavedSegment, u64)>> {
    let mut summaries: Vec<Summary> = Vec::new();
    let mut current: Option<Seen> = None;
    let mut mtime = None;
    let manifest = loop {
        let start = members.at;
        let member = members.next()?;
        if *mtime.get_or_insert(member.mtime) != member.mtime {
            return Err(members.damaged("its members have different times"));
        }
        let (id, offset) = match member.content {
            Content::Extent { id, offset } => (id, offset),
            Content::Manifest => break member,
            Content::Digest => return Err(members.damaged("it has a checksum without a manifest")),
        };
        if current.as_ref().is_some_and(|seen| seen.id != id) {
            summaries.extend(current.take().map(Summary::from));
        }
        if summaries.len() >= MAX_SEGMENTS {
            return Err(members.damaged("it has too many segments"));
        }
        let seen =
            current.get_or_insert_with(|| Seen { id, start, bytes: 0, end: 0, digest: ExtentsDigest::default() });
        let end = offset
            .checked_add(member.size)
            .filter(|_| offset >= seen.end && (1..=MAX_MEMBER_BYTES).contains(&member.size));
        let Some(end) = end else {
            return Err(members.damaged(format_args!("segment id:{id} has impossible data at offset {offset}")));
        };
        (seen.end, seen.bytes) = (end, seen.bytes + member.size);
        seen.digest.begin(offset, member.size);
        members.data(&member, |piece| {
            seen.digest.data(piece);
            advance(piece.len() as u64);
            Ok(())
        })?;
    };
    summaries.extend(current.map(Summary::from));
    let manifest = read_manifest(members, &manifest)?;
    compare(members, manifest, &summaries)
}

/// Reads the manifest, its checksum, and the end of the archive.
fn read_manifest(members: &mut Members, member: &Member) -> Result<Manifest> {
    if member.size > MAX_MANIFEST_BYTES {
        return Err(members.damaged("its manifest is too large"));
    }
    let mut text = Vec::new();
    members.data(member, |piece| {
        text.extend_from_slice(piece);
        Ok(())
    })?;
    let sum = format!("{}  manifest.json\n", sha256::of(&text));
    let checksum = members.next()?;
    if checksum != (Member { content: Content::Digest, size: sum.len() as u64, mtime: member.mtime }) {
        return Err(members.damaged("its manifest has no checksum"));
    }
    let mut found = Vec::new();
    members.data(&checksum, |piece| {
        found.extend_from_slice(piece);
        Ok(())
    })?;
    if found != sum.as_bytes() {
        return Err(members.damaged("its manifest was changed"));
    }
    members.zeros(2 * BLOCK)?;
    members.expect_end()?;
    Manifest::from_json(&text, member.mtime).map_err(|how| members.damaged(how))
}

/// Compares the manifest with the data.
fn compare(members: &Members, manifest: Manifest, summaries: &[Summary]) -> Result<Vec<(SavedSegment, u64)>> {
    let mut summaries = summaries.iter();
    let mut ids = HashSet::new();
    let mut segments = Vec::with_capacity(manifest.segments.len());
    for segment in manifest.segments {
        let id = segment.id();
        if !ids.insert(id) {
            return Err(members.damaged(format_args!("segment id:{id} appears twice")));
        }
        let start = match segment.bytes {
            0 => Some(0).filter(|_| segment.sha256 == ExtentsDigest::default().finish()),
            bytes => summaries
                .next()
                .filter(|seen| {
                    (seen.id, seen.bytes) == (id, bytes) && seen.end <= segment.size && seen.sha256 == segment.sha256
                })
                .map(|seen| seen.start),
        };
        let Some(start) = start else {
            return Err(members.damaged(format_args!("the data of segment id:{id} was changed")));
        };
        segments.push((segment, start));
    }
    match summaries.next() {
        Some(seen) => {
            Err(members.damaged(format_args!("it has data of segment id:{}, which its manifest lacks", seen.id)))
        }
        None => Ok(segments),
    }
}
