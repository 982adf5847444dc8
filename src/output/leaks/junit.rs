//! `guard --junit`: a test suite in the XML format that CI servers read.

use std::io::{self, Write};
use std::time::Duration;

use quick_xml::Writer;
use quick_xml::events::{BytesDecl, BytesText, Event};

use super::LeakedObjects;
use super::lines::details;

const SUITE: &str = "shmadm guard";
const CLASS: &str = "shmadm.guard";

/// Writes one test suite: a failed test case for each object that was left behind, or else one passed test case.
pub(crate) fn write_junit(out: impl Write, objects: &LeakedObjects, elapsed: Duration) -> io::Result<()> {
    let mut writer = Writer::new_with_indent(out, b' ', 2);
    let failures = objects.each().count();
    let (tests, failures, time) =
        (failures.max(1).to_string(), failures.to_string(), format!("{:.3}", elapsed.as_secs_f64()));
    let counts = [("tests", &*tests), ("failures", &failures), ("errors", "0"), ("time", &time)];
    writer.write_event(Event::Decl(BytesDecl::new("1.0", Some("UTF-8"), None)))?;
    let suites = writer.create_element("testsuites").with_attributes(counts);
    suites.write_inner_content(|writer| {
        let suite = writer.create_element("testsuite").with_attribute(("name", SUITE)).with_attributes(counts);
        suite.write_inner_content(|writer| cases(writer, objects)).map(drop)
    })?;
    writer.get_mut().write_all(b"\n")
}

fn cases<W: Write>(writer: &mut Writer<W>, objects: &LeakedObjects) -> io::Result<()> {
    let mut each = objects.each().peekable();
    if each.peek().is_none() {
        let name = ("name", "the command left nothing behind");
        writer.create_element("testcase").with_attributes([("classname", CLASS), name, ("time", "0")]).write_empty()?;
    }
    for leak in each {
        let mut case = writer.create_element("testcase");
        case = case.with_attributes([("classname", CLASS), ("name", leak.name), ("time", "0")]);
        if let Some((file, _, line)) = leak.created_by.and_then(|by| by.place()) {
            case = case.with_attributes([("file", file), ("line", &*line.to_string())]);
        }
        let message = format!("the command left behind {}", leak.line);
        let mut text = vec![message.clone()];
        text.extend(leak.created_by.into_iter().flat_map(details));
        let text = text.join("\n");
        case.write_inner_content(|writer| {
            let failure = writer.create_element("failure");
            let failure = failure.with_attributes([("message", &*message), ("type", "leak")]);
            failure.write_text_content(BytesText::new(&text)).map(drop)
        })?;
    }
    Ok(())
}
