//! Words of a command line: keys, sizes, modes, durations, segments, ranges of keys; and text with escaped control
//! characters.

#![no_main]

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use clap::Parser;
use libfuzzer_sys::fuzz_target;
use shmadm::internals::{Filters, Key, Mode, Period, SegmentRef, Size, visible};

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    filters: Filters,
}

fuzz_target!(|bytes: &[u8]| {
    let shown = visible(bytes);
    assert!(!shown.contains(char::is_control));
    assert_eq!(visible(shown.as_bytes()), shown);
    if let Ok(named) = SegmentRef::try_from(OsStr::from_bytes(bytes))
        && str::from_utf8(bytes).is_ok()
    {
        // The shown form is accepted as a SEGMENT.
        assert_eq!(SegmentRef::try_from(OsStr::new(&named.to_string())), Ok(named));
    }
    let Ok(word) = str::from_utf8(bytes) else { return };
    if let Ok(key) = word.parse::<Key>() {
        assert_eq!(key.to_string().parse(), Ok(key));
    }
    if let Ok(mode) = word.parse::<Mode>() {
        assert_eq!(mode.to_string().parse(), Ok(mode));
    }
    if let Ok(Size(bytes)) = word.parse() {
        assert_eq!(bytes.to_string().parse(), Ok(Size(bytes)));
    }
    let _ = word.parse::<Period>();
    if !word.contains('\0') {
        let _ = Line::try_parse_from(["list", &format!("--key={word}")]);
    }
});
