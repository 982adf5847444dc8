//! `jsonl`: one JSON object per line.

use super::{Format, List};
use crate::error::Result;
use crate::output::sums::Sums;
use crate::output::{Output, SegmentRecord};

/// One object per segment, without an enclosing array.
pub(crate) struct JsonLines;

impl Format for JsonLines {
    fn list(&self, list: List<'_>, output: &mut Output) -> Result<()> {
        list.rows.try_for_each(|segment| output.json(&SegmentRecord::new(segment, list.view.lookups)))
    }

    fn sums(&self, sums: &Sums<'_>, output: &mut Output) -> Result<()> {
        sums.records().try_for_each(|record| output.json(&record))
    }
}
