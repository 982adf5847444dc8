//! `json`: one complete document, or an error.

use std::io::{self, Write};

use serde::{Serialize, Serializer};
use serde_json::ser::Formatter;

use super::{Format, List};
use crate::error::{Error, Result};
use crate::output::record::{SegmentRecord, View};
use crate::output::sums::{SumRecord, Sums};
use crate::output::{NamespaceRecord, Output};
use crate::sysv::Segment;

/// `{"segments":[…]}`.
pub(crate) struct Json;

#[derive(Serialize)]
struct Segments<'a> {
    segments: Records<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    namespaces: Option<Vec<NamespaceRecord>>,
}

/// Segments that are converted to records one by one while they are written.
struct Records<'a> {
    segments: &'a [Segment],
    view: View<'a>,
}

impl Serialize for Records<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let lookups = self.view.lookups;
        serializer.collect_seq(self.segments.iter().map(|segment| SegmentRecord::new(segment, lookups)))
    }
}

#[derive(Serialize)]
struct SumRecords<'a> {
    sums: Vec<SumRecord<'a>>,
}

impl Format for Json {
    fn list(&self, list: List<'_>, output: &mut Output) -> Result<()> {
        let segments = list.rows.collect()?;
        let records = Records { segments: &segments, view: list.view };
        print(&Segments { segments: records, namespaces: list.namespaces.map(|namespaces| namespaces()) }, output)
    }

    fn sums(&self, sums: &Sums<'_>, output: &mut Output) -> Result<()> {
        print(&SumRecords { sums: sums.records().collect() }, output)
    }
}

fn print(document: &impl Serialize, output: &mut Output) -> Result<()> {
    let mut serializer = serde_json::Serializer::with_formatter(output.writer(), LineForEach::default());
    document.serialize(&mut serializer).map_err(|error| Error::output(&error.into()))?;
    output.bytes(b"\n")
}

/// Compact JSON with one line for each element of the document's arrays: for grep(1), and for people.
#[derive(Default)]
struct LineForEach {
    depth: u32,
    has_elements: bool,
}

/// The nesting depth inside an array of the document.
const IN_ARRAY: u32 = 2;

impl Formatter for LineForEach {
    fn begin_object<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.depth += 1;
        out.write_all(b"{")
    }

    fn end_object<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.depth -= 1;
        out.write_all(b"}")
    }

    fn begin_array<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.depth += 1;
        self.has_elements = false;
        out.write_all(b"[")
    }

    fn begin_array_value<W: ?Sized + Write>(&mut self, out: &mut W, first: bool) -> io::Result<()> {
        let separator: &[u8] = match (first, self.depth == IN_ARRAY) {
            (true, true) => b"\n",
            (false, true) => b",\n",
            (true, false) => b"",
            (false, false) => b",",
        };
        out.write_all(separator)
    }

    fn end_array_value<W: ?Sized + Write>(&mut self, _: &mut W) -> io::Result<()> {
        self.has_elements = true;
        Ok(())
    }

    fn end_array<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        let in_document = self.depth == IN_ARRAY;
        self.depth -= 1;
        out.write_all(if in_document && self.has_elements { b"\n]" } else { b"]" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_element_has_a_line() {
        #[derive(Serialize)]
        struct Document {
            one: Vec<(u8, Vec<u8>)>,
            none: Vec<u8>,
        }
        let mut out = Vec::new();
        let mut serializer = serde_json::Serializer::with_formatter(&mut out, LineForEach::default());
        let document = Document { one: vec![(1, vec![]), (2, vec![3, 4])], none: vec![] };
        document.serialize(&mut serializer).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), "{\"one\":[\n[1,[]],\n[2,[3,4]]\n],\"none\":[]}");
    }
}
