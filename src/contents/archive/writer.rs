//! Writing an archive in one pass, so that the output can be a pipe.

use std::ops::Range;

use jiff::Timestamp;

use super::manifest::{Manifest, SavedSegment};
use super::member::{Content, Member, padding};
use super::sha256::{self, ExtentsDigest};
use super::{MAX_MEMBER_BYTES, PIECE};
use crate::contents::Advance;
use crate::contents::part::Part;
use crate::contents::sink::Sink;
use crate::error::{Error, Result};
use crate::system::names::Names;
use crate::sysv::Segment;

/// Small pieces are buffered up to this number of bytes.
const BUFFER: usize = 64 << 10;

/// An archive that is being written. Without [`Writer::finish`] it has no manifest, and nothing can be restored from
/// it.
#[derive(Debug)]
pub(crate) struct Writer<'a> {
    sink: Sink<'a>,
    buffer: Vec<u8>,
    manifest: Manifest,
}

impl<'a> Writer<'a> {
    /// Starts an archive.
    pub(crate) fn new(sink: Sink<'a>) -> Writer<'a> {
        Writer { sink, buffer: Vec::with_capacity(BUFFER), manifest: Manifest::new(Timestamp::now()) }
    }

    /// Adds a segment: its description and all its data. Returns the number of bytes of data. `advance` includes holes.
    ///
    /// # Errors
    /// The segment cannot be read, or the archive cannot be written. The archive must not be used afterwards.
    pub(crate) fn add(
        &mut self,
        segment: &Segment,
        names: &Names,
        part: &Part<'_>,
        advance: Advance<'_>,
    ) -> Result<u64> {
        let mut digest = ExtentsDigest::default();
        let mut bytes = 0;
        let mut at = part.range.start;
        while at < part.range.end {
            let extent = part.extent(at)?;
            if extent.is_hole {
                advance(extent.end - at);
                at = extent.end;
            } else {
                let range = at..extent.end.min(at + MAX_MEMBER_BYTES);
                at = range.end;
                bytes += range.end - range.start;
                self.put_extent(segment, range, part, &mut digest, advance)?;
            }
        }
        self.manifest.segments.push(SavedSegment::new(segment, names, bytes, digest.finish()));
        Ok(bytes)
    }

    fn put_extent(
        &mut self,
        segment: &Segment,
        range: Range<u64>,
        part: &Part<'_>,
        digest: &mut ExtentsDigest,
        advance: Advance<'_>,
    ) -> Result<()> {
        let size = range.end - range.start;
        self.put_header(Content::Extent { id: segment.id, offset: range.start }, size)?;
        digest.begin(range.start, size);
        let mut piece = vec![0; PIECE.min(size) as usize];
        let mut at = range.start;
        while at < range.end {
            let piece = &mut piece[..(range.end - at).min(PIECE) as usize];
            part.read_at(piece, at)?;
            digest.data(piece);
            self.put(piece)?;
            at += piece.len() as u64;
            advance(piece.len() as u64);
        }
        self.put(&vec![0; padding(size)])
    }

    /// Completes the archive with its manifest.
    pub(crate) fn finish(mut self) -> Result<()> {
        let text = serde_json::to_vec_pretty(&self.manifest).map_err(|error| Error::output(&error.into()))?;
        self.put_file(Content::Manifest, &text)?;
        let sum = format!("{}  manifest.json\n", sha256::of(&text));
        self.put_file(Content::Digest, sum.as_bytes())?;
        // POSIX requires two blocks of zeros at the end.
        self.put(&[0; 2 * super::member::BLOCK])?;
        self.flush()
    }

    fn put_file(&mut self, content: Content, bytes: &[u8]) -> Result<()> {
        self.put_header(content, bytes.len() as u64)?;
        self.put(bytes)?;
        self.put(&vec![0; padding(bytes.len() as u64)])
    }

    fn put_header(&mut self, content: Content, size: u64) -> Result<()> {
        self.put(Member { content, size, mtime: self.manifest.mtime() }.header().as_bytes())
    }

    fn put(&mut self, bytes: &[u8]) -> Result<()> {
        if self.buffer.len() + bytes.len() > BUFFER {
            self.flush()?;
        }
        if bytes.len() > BUFFER {
            return self.sink.bytes(bytes);
        }
        self.buffer.extend_from_slice(bytes);
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        self.sink.bytes(&self.buffer)?;
        self.buffer.clear();
        Ok(())
    }
}
