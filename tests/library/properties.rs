//! Properties of parsers and filters for every input. proptest generates some hundreds of inputs per run, and shows an
//! input that fails.

use std::ffi::OsStr;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::needs::{Need, needs, skippable};
use clap::Parser;
use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::json;
use shmadm::internals::{
    Filters, Hexdump, KernelMounts, Key, Lookups, Mapping, Mode, Period, ProjectId, Segment, SegmentRef, Segments,
    Selection, ShmId, Size, visible,
};

const TITLES: &str = "       key      shmid perms                  size  cpid  lpid nattch   uid   gid  cuid  cgid      \
                      atime      dtime      ctime                   rss                  swap\n";

/// A command line that has only filters.
#[derive(Debug, Parser)]
struct Line {
    #[command(flatten)]
    filters: Filters,
}

/// Parses filters from the words of a command line.
fn filters(words: &[&OsStr]) -> Result<Selection, String> {
    let line = [OsStr::new("list")].iter().chain(words).copied().collect::<Vec<_>>();
    let parsed = Line::try_parse_from(line).map_err(|error| error.to_string())?;
    parsed.filters.resolve().map_err(|error| error.to_string())
}

/// Numbers of all sizes, with the ends of the range more often than by chance.
macro_rules! number {
    ($type:ty) => {
        prop_oneof![Just(0), Just(1), Just(<$type>::MAX), Just(<$type>::MAX - 1), any::<$type>()]
    };
}

prop_compose! {
    fn segment()(
        (key, id, raw_mode) in (any::<i32>(), 0..=i32::MAX, 0_u16..=0o7777),
        (size, nattch, rss, swap) in (number!(u64), number!(u64), number!(u64), number!(u64)),
        (cpid, lpid) in (0..=i32::MAX, 0..=i32::MAX),
        (uid, gid, cuid, cgid) in (number!(u32), number!(u32), number!(u32), number!(u32)),
        (atime, dtime, ctime) in (0..=i64::MAX, 0..=i64::MAX, 0..=i64::MAX),
    ) -> Segment {
        Segment {
            key: Key::from_raw(key),
            id: ShmId::new(id).expect("an id"),
            raw_mode, size, cpid, lpid, nattch, uid, gid, cuid, cgid, atime, dtime, ctime,
            rss: Some(rss),
            swap: Some(swap),
            namespace: None,
        }
    }
}

/// Returns a row as the kernel prints it (ipc/shm.c, `sysvipc_shm_proc_show`).
fn row(s: &Segment) -> String {
    format!(
        "{:10} {:10}  {:4o} {:21} {:5} {:5}  {:5} {:5} {:5} {:5} {:5} {:10} {:10} {:10} {:21} {:21}\n",
        s.key.as_raw(),
        s.id,
        s.raw_mode,
        s.size,
        s.cpid,
        s.lpid,
        s.nattch,
        s.uid,
        s.gid,
        s.cuid,
        s.cgid,
        s.atime,
        s.dtime,
        s.ctime,
        s.rss.unwrap_or(0),
        s.swap.unwrap_or(0)
    )
}

fn parse<T: std::str::FromStr>(word: &str) -> Option<T> {
    word.parse().ok()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_printed_table_is_parsed_to_the_same_segments(segments in vec(segment(), 0..20)) {
        let table: String = [TITLES.to_owned()].into_iter().chain(segments.iter().map(row)).collect();
        let read: Result<Vec<_>, _> = Segments::new(table.as_bytes()).expect("titles").collect();
        let mut expected = segments;
        expected.dedup_by_key(|segment| segment.id);
        prop_assert_eq!(read.expect("rows"), expected);
    }

    #[test]
    fn parsing_any_table_ends_without_panic(
        bytes in vec(any::<u8>(), 0..400),
        rows in vec(segment(), 1..4),
        (at, rubbish) in (any::<prop::sample::Index>(), "[-0-9a-f \n\u{0}\u{ff}x]{0,12}"),
    ) {
        let table = [b"key", &bytes[..]].concat();
        if let Ok(rows) = Segments::new(&table[..]) {
            prop_assert!(rows.count() <= table.len());
        }
        // A valid table with one change.
        let mut table: String = [TITLES.to_owned()].into_iter().chain(rows.iter().map(row)).collect();
        let at = at.index(table.len());
        table.replace_range(at..at, &rubbish);
        if let Ok(rows) = Segments::new(table.as_bytes()) {
            prop_assert!(rows.count() <= table.len());
        }
    }

    #[test]
    fn parsing_any_line_of_maps_does_not_panic_and_other_devices_are_no_segments(
        bytes in vec(any::<u8>(), 0..200),
        (start, end, offset, inode) in (any::<u64>(), any::<u64>(), any::<u64>(), any::<u64>()),
        // The kernel's internal mounts have no block device, so their major number is 0.
        (major, minor, key) in (1_u32..4096, any::<u32>(), any::<u32>()),
    ) {
        let kernel = KernelMounts::find().expect("a memfd");
        if let Some(mapping) = Mapping::from_line(&bytes) {
            let _ = mapping.segment(&kernel);
        }
        let name = format!("/SYSV{key:08x} (deleted)");
        let line = format!("{start:x}-{end:x} rw-s {offset:08x} {major:02x}:{minor:02x} {inode}   {name}");
        let mapping = Mapping::from_line(line.as_bytes());
        let range = (start < end).then_some(start..end);
        prop_assert_eq!(mapping.as_ref().map(|mapping| mapping.range.clone()), range, "{}", &line);
        prop_assert!(mapping.is_none_or(|mapping| mapping.segment(&kernel).is_none()), "{}", line);
    }

    #[test]
    fn every_notation_of_a_key_gives_the_same_key(raw in number!(u32)) {
        let key = Key::from_raw(raw.cast_signed());
        for word in [
            raw.to_string(),
            raw.cast_signed().to_string(),
            format!("0{raw:o}"),
            format!("{raw:#x}"),
            format!("0x{raw:08X}"),
            format!("0X{raw:x}"),
        ] {
            prop_assert_eq!(parse(&word), Some(key), "{}", word);
        }
        prop_assert_eq!(parse(&key.to_string()), Some(key));
    }

    #[test]
    fn no_number_of_more_than_32_bits_is_a_key(number in (u64::from(u32::MAX) + 1)..) {
        for word in [format!("{number}"), format!("0{number:o}"), format!("{number:#x}"), format!("-{number}")] {
            prop_assert_eq!(parse::<Key>(&word), None, "{}", word);
        }
    }

    #[test]
    fn words_are_parsed_completely_or_rejected(word in "\\PC{0,12}|[-0-9a-fxXKMGTPEiBsmhd.:_+ ]{0,24}") {
        let digits = |word: &str| word.chars().any(|c| c.is_ascii_digit());
        let all = |set: &str| word.chars().all(|c| c.is_ascii_digit() || set.contains(c));
        prop_assert!(parse::<Key>(&word).is_none() || digits(&word) && all("-xXabcdefABCDEF"), "{:?}", word);
        prop_assert!(parse::<Mode>(&word).is_none() || all(""), "{:?}", word);
        let begins = word.starts_with(|c: char| c.is_ascii_digit());
        let letters = |set: &str| word.chars().all(|c| c.is_ascii_digit() || set.contains(c.to_ascii_lowercase()));
        prop_assert!(parse::<Size>(&word).is_none() || begins && letters(".abcdefxkmgtpib"), "{:?}", word);
        prop_assert!(parse::<Period>(&word).is_none() || begins && letters(". abcdefghijklmnopqrstuvwxyz"), "{:?}", word);
    }

    #[test]
    fn a_size_is_its_number_times_its_unit_or_an_error(
        number in number!(u64),
        power in 0..7_usize,
        decimal: bool,
        upper: bool,
    ) {
        let unit = ["", "K", "M", "G", "T", "P", "E"][power];
        let unit = if decimal && power > 0 { format!("{unit}B") } else { unit.to_owned() };
        let unit = if upper { unit } else { unit.to_lowercase() };
        let base: u128 = if decimal { 1000 } else { 1024 };
        let expected = u64::try_from(u128::from(number) * base.pow(power as u32)).ok();
        prop_assert_eq!(parse::<Size>(&format!("{number}{unit}")).map(|size| size.0), expected, "{}{}", number, unit);
        prop_assert_eq!(parse::<Size>(&format!("{number:#x}")).map(|size| size.0), Some(number));
    }

    #[test]
    fn a_mode_has_nine_bits(bits in 0..=0o17777_u32) {
        for word in [format!("{bits:o}"), format!("0{bits:o}")] {
            let mode = parse::<Mode>(&word).map(|mode| u32::from(mode.bits()));
            prop_assert_eq!(mode, Some(bits).filter(|bits| *bits <= 0o777), "{}", word);
        }
    }

    #[test]
    fn a_duration_is_the_sum_of_its_parts(
        (days, hours, minutes, ms) in (0..1000_u64, 0..100_u64, 0..200_u64, 0..99_999_u64),
    ) {
        let expected = Duration::from_millis((days * 24 + hours) * 3_600_000 + minutes * 60_000 + ms);
        for gap in ["", " "] {
            let word = format!("{days}d{gap}{hours}h{gap}{minutes}m{gap}{ms}ms");
            prop_assert_eq!(parse::<Period>(&word), Some(Period(expected)), "{}", word);
        }
    }

    #[test]
    fn a_shown_segment_is_parsed_to_the_same_segment(
        (id, key, project) in (0..=i32::MAX, 1..=u32::MAX, 1..=u8::MAX),
        path in "[a-z:/ ]{1,20}",
    ) {
        for named in [
            SegmentRef::Id(ShmId::new(id).expect("an id")),
            SegmentRef::Key(Key::from_raw(key.cast_signed())),
            SegmentRef::Ftok(ProjectId(project), path.into()),
        ] {
            prop_assert_eq!(SegmentRef::try_from(OsStr::new(&named.to_string())), Ok(named));
        }
    }

    #[test]
    fn parsing_any_segment_does_not_panic(bytes in vec(any::<u8>(), 0..40), prefix in "(id:|ftok:|ftok:A:|-|0x)?") {
        let word = [prefix.as_bytes(), &bytes].concat();
        if let Ok(SegmentRef::Key(key)) = SegmentRef::try_from(OsStr::from_bytes(&word)) {
            prop_assert!(!key.is_private());
        }
    }

    #[test]
    fn a_range_of_keys_matches_the_keys_in_between(
        (low, high, key) in (any::<u32>(), any::<u32>(), any::<u32>()),
        segment in segment(),
    ) {
        let word = format!("--key={low:#x}-{high}");
        let selection = filters(&[OsStr::new(&word)]);
        prop_assert_eq!(selection.is_ok(), low <= high, "{}", word);
        if let Ok(selection) = selection {
            let segment = Segment { key: Key::from_raw(key.cast_signed()), ..segment };
            prop_assert_eq!(selection.matches(&segment, &Lookups::default()), (low..=high).contains(&key), "{}", word);
        }
    }

    #[test]
    fn visible_text_has_no_control_characters_and_plain_text_stays(
        bytes in vec(any::<u8>(), 0..100),
        text in "\\PC*",
        plain in "[ -~]*",
    ) {
        for bytes in [&bytes[..], text.as_bytes()] {
            let shown = visible(bytes);
            let turns = |c: char| matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
            prop_assert!(!shown.contains(|c: char| c.is_control() || turns(c)), "{:?}", shown);
            prop_assert_eq!(visible(shown.as_bytes()), &shown[..]);
        }
        prop_assert_eq!(visible(plain.as_bytes()), plain.as_str());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 40, ..ProptestConfig::default() })]

    #[test]
    fn parsing_any_snapshot_does_not_panic_and_a_valid_one_has_its_segments(
        rubbish in vec(any::<u8>(), 0..60),
        text in "[\\[\\]{}:,\"a-z0-9 ]{0,60}",
        known in vec(segment(), 1..8),
        other in segment(),
    ) {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("before");
        let not_in = |contents: &[u8]| {
            std::fs::write(&path, contents).expect("a file");
            filters(&[OsStr::new("--not-in"), path.as_os_str()])
        };
        prop_assert!(not_in(&rubbish).is_err());
        prop_assert!(not_in(text.as_bytes()).is_err(), "{}", text);
        let entry = |s: &Segment| json!({
            "id": s.id.as_raw(), "size": s.size, "cpid": s.cpid, "cuid": s.cuid, "cgid": s.cgid, "more": [1],
        });
        let whole = json!({ "segments": known.iter().map(entry).collect::<Vec<_>>() }).to_string();
        let selection = not_in(whole.as_bytes()).expect("a snapshot");
        let lookups = Lookups::default();
        for segment in &known {
            prop_assert!(!selection.matches(segment, &lookups));
        }
        prop_assert_eq!(selection.matches(&other, &lookups), known.iter().all(|s| s.id != other.id));
        // A truncated snapshot is an error.
        prop_assert!(not_in(&whole.as_bytes()[..whole.len() / 2]).is_err());
    }
}

#[test]
fn a_dump_equals_that_of_hexdump() {
    skippable(|| {
        needs(Need::Program("hexdump"));
        proptest!(|(pieces in vec((any::<u8>(), 1..40_usize, any::<bool>()), 0..12))| {
            let run = |(byte, count, same): &(u8, usize, bool)| {
                (0..*count).map(|i| if *same { *byte } else { byte.wrapping_add(i as u8) }).collect::<Vec<_>>()
            };
            let bytes = pieces.iter().flat_map(run).collect::<Vec<_>>();
            let mut ours = Vec::new();
            let mut dump = Hexdump::new(&mut ours, 0);
            bytes.chunks(7).try_for_each(|piece| dump.push(piece)).expect("a dump");
            dump.finish().expect("a dump");
            let mut hexdump = Command::new("hexdump");
            let mut child = hexdump.arg("-C").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("hexdump");
            child.stdin.take().expect("a pipe").write_all(&bytes).expect("a pipe");
            let theirs = child.wait_with_output().expect("its exit status").stdout;
            prop_assert_eq!(String::from_utf8_lossy(&ours), String::from_utf8_lossy(&theirs));
        });
    });
}
