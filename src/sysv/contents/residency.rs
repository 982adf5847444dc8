//! Which pages of a segment are resident. A page that was never touched is a hole.

use std::io;
use std::ops::Range;

use nix::errno::Errno;

use super::Extent;
use crate::sysv::{Attachment, page_size, usage};

/// The size of the stretch that one call inspects, in bytes.
const STRETCH: u64 = 64 << 20;

/// The resident pages of a stretch of a segment, at the time of inspection.
#[derive(Debug, Default)]
pub(super) struct Residency {
    stretch: Range<u64>,
    pages: Vec<u8>,
}

impl Residency {
    /// Returns which pages from `offset` on are resident, using mincore(2).
    ///
    /// An absent page is certainly a hole only if nothing is swapped out. So the namespace's swap count (`SHM_INFO`) is
    /// checked before and after. If it is not 0, every page is treated as data.
    pub(super) fn inspect(attachment: &Attachment, offset: u64) -> io::Result<Residency> {
        let start = offset - offset % page_size();
        let stretch = start..start.saturating_add(STRETCH).min(attachment.size());
        let length = (stretch.end - stretch.start) as usize;
        let mut pages = vec![0; length.div_ceil(page_size() as usize)];
        let none_swapped = || usage().is_ok_and(|usage| usage.swapped_pages == 0);
        let before = none_swapped();
        // SAFETY: the range belongs to the attachment, and `pages` has one byte for each of its pages, which mincore
        // fills in.
        let ret = unsafe { libc::mincore(attachment.at(start), length, pages.as_mut_ptr()) };
        Errno::result(ret)?;
        if !(before && none_swapped()) {
            pages.fill(1);
        }
        Ok(Residency { stretch, pages })
    }

    pub(super) fn covers(&self, offset: u64) -> bool {
        self.stretch.contains(&offset)
    }

    /// Returns the run of resident or absent pages at the beginning of `range`.
    pub(super) fn extent(&self, range: Range<u64>) -> Extent {
        let first = ((range.start - self.stretch.start) / page_size()) as usize;
        let resident = |page: &u8| page & 1 == 1;
        let is_hole = !resident(&self.pages[first]);
        let run = self.pages[first..].iter().take_while(|page| resident(page) != is_hole).count();
        let run_end = self.stretch.start + (first + run) as u64 * page_size();
        Extent { end: run_end.min(self.stretch.end).min(range.end), is_hole }
    }
}
