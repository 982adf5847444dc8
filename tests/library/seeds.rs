//! Inputs that the fuzzers found (fuzz/): odd ones that are accepted, with their meaning, and some that are nearly
//! valid.

use std::ffi::OsStr;
use std::fmt::Debug;
use std::os::unix::ffi::OsStrExt;
use std::str::FromStr;
use std::time::Duration;

use clap::Parser;
use shmadm::internals::{Filters, KernelMounts, Key, Lookups, Mapping, Mode, Period, SegmentRef, Segments, Size};

#[track_caller]
fn expect_values<T: FromStr + PartialEq + Debug>(words: &[(&str, T)])
where
    T::Err: PartialEq + Debug,
{
    for (word, value) in words {
        assert_eq!(word.parse::<T>().as_ref(), Ok(value), "{word:?}");
    }
}

#[track_caller]
fn expect_errors<T: FromStr + Debug>(words: &[&str]) {
    for word in words {
        assert!(word.parse::<T>().is_err(), "{word:?} is {:?}", word.parse::<T>().ok());
    }
}

#[test]
fn keys() {
    let key = Key::from_raw;
    expect_values(&[
        ("-0", key(0)),
        ("-20292462", key(-20_292_462)),
        ("-1051050", key(-1_051_050)),
        ("00000000000266302", key(0o266_302)),
        ("0x00003f", key(0x3f)),
        ("409246209", key(409_246_209)),
    ]);
    expect_errors::<Key>(&["", "-", "--1", "0x", "0x-1", "09", "4294967296", "-2147483649", "1\0", " 1", "+1", "1_0"]);
}

#[test]
fn sizes() {
    expect_values(&[
        ("00000000000000000000000000000004E", Size(4 << 60)),
        ("0.000009999300000002609444m", Size(10)),
        ("5506565.6511060013185930m", Size(5_774_052_584_174)),
        ("0X000002020002020001", Size(0x2_0200_0202_0001)),
        ("4eIB", Size(4 << 60)),
        ("0pB", Size(0)),
        ("052", Size(52)),
        ("2EB", Size(2_000_000_000_000_000_000)),
    ]);
    expect_errors::<Size>(&[
        "",
        "B",
        "-1",
        "1..5M",
        ".M",
        "0x1K",
        "16E",
        "18446744073709551616",
        "1 2",
        "1Mi",
        "1e3\0",
    ]);
}

#[test]
fn modes() {
    let mode = Mode::from_raw;
    expect_values(&[("00000100", mode(0o100)), ("0", mode(0)), ("42", mode(0o42)), ("07", mode(0o7))]);
    expect_errors::<Mode>(&["", "8", "01000", "777777", "-1", "u+", "0x1", "0600 "]);
}

#[test]
fn durations() {
    let period = |seconds, nanoseconds| Period(Duration::new(seconds, nanoseconds));
    expect_values(&[
        ("878000808h2m8s8806milli", period(3_160_802_908_936, 806_000_000)),
        ("0.52252300h", period(1881, 82_800_000)),
        ("2    h", period(7200, 0)),
        ("4w0.1m", period(2_419_206, 0)),
        ("1m1.4us", period(60, 1400)),
        ("0wks", period(0, 0)),
    ]);
    expect_errors::<Period>(&["", "1", "s", "-1s", "1h2", "1.5.s", "PT1H", "1h ago", "1m1h", "99999999999h", "1mo"]);
}

#[test]
fn segments() {
    for (word, shown) in [
        (&b"id:0000000000002077148889"[..], "id:2077148889"),
        (b"id:000", "id:0"),
        (b"000100100", "0x00008040"),
        (b"ftok:40:/", "ftok:(:/"),
        (b"ftok:0211: ", "ftok:211: "),
        (b"ftok:00000000000000000000000000000211:1:", "ftok:211:1:"),
        (b"ftok:I:\x9A", r"ftok:I:\x9a"),
    ] {
        let named = SegmentRef::try_from(OsStr::from_bytes(word)).map(|segment| segment.to_string());
        assert_eq!(named.as_deref(), Ok(shown), "{}", word.escape_ascii());
    }
    for word in
        [&b"id:"[..], b"id:-1", b"id:2147483648", b"ftok:", b"ftok:1:", b"ftok::x", b"ftok:256:x", b"\xff", b"id:1 "]
    {
        assert!(SegmentRef::try_from(OsStr::from_bytes(word)).is_err(), "{}", word.escape_ascii());
    }
}

#[test]
fn rows_of_the_kernels_table() {
    // The number of segments, and of malformed rows.
    for (table, segments, errors) in [
        (&b""[..], 0, 0),
        (b"9\n1 9 1 9 0 0 9 1 1 9  1 1 9 9 1 1\n9 0 0  1 1 9 0 0 1 9 1 9 9 1 9 9 \n", 2, 0),
        (b"\n1 9 11 9 9 9 1 9 1 0 1 0 0 9 1 1", 1, 0),
        (b"  1 9 \n  1 9 1 91   0 9 1 9  1 1 9 1  1 4 1 9\n \n  1 9 1 91  1 9 1 91   1 9 1 1 4 1 9\n", 1, 2),
        (b"0 3\r\n2 9  1 9  999\r   \x01\x00=\xe7\n", 0, 1),
        (b" 1 -  9\x00 \n  -  9\x00 \n  \n 1\x1e9 1\n", 0, 3),
    ] {
        let table = [b"key", table].concat();
        let rows = Segments::new(&table[..]).expect("a line of titles");
        let (read, failed): (Vec<_>, Vec<_>) = rows.partition(Result::is_ok);
        assert_eq!((read.len(), failed.len()), (segments, errors), "{}", table.escape_ascii());
    }
}

#[test]
fn lines_of_memory_maps() {
    let kernel = KernelMounts::find().expect("a memfd");
    for (line, is_mapping) in [
        (&b"5-e ras  0:0 0 /SYSV01024\x1c00"[..], true),
        (b"000-7 w-( 0 fff:11 00  /SYSV00000001 (deleted)", true),
        (b"7f75820ac000-7f75820ae000 rw-s 00000000 00:01 0                          /SYSV00000\xd201 (deleted)", true),
        (
            b"7f75820ac000-7f75820ae005 rw-s 00000000 00:01 0               y          \xff\x04SYSV00000001 (deleted)",
            true,
        ),
        (b"7f75820ac000-7f75820ae000 rw-s 00000000 00:01 -1 /SYSV00000001 (deleted)", false),
        (b"7f75821ac000-7f75820ae000 rw-s 0*0000000 00:01 0 /SYSV00000001 (deleted)", false),
        (b"5-000 r--p 0\xfe\xff\xff\xe7( fC:01 55", false),
        (b"7f75820ac000-7f75820ae000 rw-s", false),
        (b"\xff-\xff rw-s 0 00:01 0", false),
    ] {
        let mapping = Mapping::from_line(line);
        assert_eq!(mapping.is_some(), is_mapping, "{}", line.escape_ascii());
        assert!(mapping.is_none_or(|mapping| mapping.segment(&kernel).is_none()), "{}", line.escape_ascii());
    }
}

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    filters: Filters,
}

/// The current segments: an ordinary one, the next one, and one with the largest numbers.
const NOW: &[u8] = b"       key      shmid perms                  size  cpid  lpid nattch   uid   gid  cuid  cgid
         1          0   600                  8192 19763     0      0     0     0     0     0 0 0 0 0 0
         2          1   600                  8192 19765     0      0     0     0     0     0 0 0 0 0 0
         3 2147483647   600  18446744073709551615     2     0      0     0     0 4294967295 4294967295 0 0 0 0 0\n";

/// Returns the identifiers of the segments that are not in a snapshot, or the error in it.
fn new_since(snapshot: &[u8]) -> Result<Vec<String>, String> {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("snapshot");
    std::fs::write(&path, snapshot).expect("a file");
    let line = Line::try_parse_from(["list".as_ref(), "--not-in".as_ref(), path.as_os_str()]).expect("a line");
    let selection = line.filters.resolve().map_err(|error| error.to_string())?;
    let lookups = Lookups::default();
    let now = Segments::new(NOW).expect("titles").map(|row| row.expect("a row"));
    Ok(now.filter(|segment| selection.matches(segment, &lookups)).map(|segment| segment.id.to_string()).collect())
}

#[test]
fn snapshots() {
    const FIRST: &[u8] = br#""id":0,"size":8192,"cuid":0,"cgid":0,"cpid":19763"#;
    let all = ["0", "1", "2147483647"];
    let with_first = |before: &[u8], after: &[u8]| [before, FIRST, after].concat();
    for (snapshot, new) in [
        // Whitespace of all kinds, and unknown members.
        (b"\r\n{\r\r\r\t\"segments\"\n\n:\n[\n\n]}\n\n\r\r\t ".to_vec(), &all[..]),
        (b"{\"kec\":\"01%\",\t\"c\":\"0\",\t\t\"segments\"\n:[]}".to_vec(), &all),
        (b"{\"k]owner]]]]]]]]\":\"\",\t\"\":[{\"\":-4.3e-1}],\"segments\":[]}\t\t".to_vec(), &all),
        (br#"{"\u0073egment\u0073":[]}"#.to_vec(), &all),
        // Members that are not needed may have any value, and may be repeated.
        (
            with_first(
                b"{\"segments\":[\n{\"key\":\"0x0000000exi0:05Z\",\"mode\":\"0600t\",\"status\":0,",
                b",\"comid\":0,\"uid\":-1,\"creator\":\"exite026-11-25T14:20:05Z\",\"swap\":1e99,\"status\":[\"nrphan\"]}\n]}",
            ),
            &all[1..],
        ),
        // A segment that appears twice, with and without a namespace.
        (
            [with_first(b"{\"segments\":[{\"ns\":1,", b"},\n{\"ns\":null,"), with_first(b"", b"}]}")].concat(),
            &all[1..],
        ),
        (with_first(b"{\"segments\":[{\"ns\":18446744073709551615,", b"}]}"), &all[1..]),
        // Segments that differ from the first one in one value.
        (br#"{"segments":[{"id":0,"size":8191,"cuid":0,"cgid":0,"cpid":19763}]}"#.to_vec(), &all),
        (br#"{"segments":[{"id":0,"size":8192,"cuid":0,"cgid":1,"cpid":19763}]}"#.to_vec(), &all),
        (br#"{"segments":[{"id":0,"size":8192,"cuid":0,"cgid":0,"cpid":19765}]}"#.to_vec(), &all),
        (
            br#"{"segments":[{"size":18446744073709551615,"id":2147483647,"cgid":4294967295,"cpid":2,"cuid":4294967295}]}"#
                .to_vec(),
            &all[..2],
        ),
    ] {
        let seen = new_since(&snapshot);
        assert_eq!(seen.as_deref(), Ok(&new.iter().map(ToString::to_string).collect::<Vec<_>>()[..]));
    }
    let deep = [&b"{\"segments\":[],\"\":"[..], &b"[".repeat(200), &b"]".repeat(200), b"}"].concat();
    let first_but = |from: &str, to: &str| {
        let first = str::from_utf8(FIRST).expect("text");
        assert!(first.contains(from));
        format!("{{\"segments\":[{{{}}}]}}", first.replace(from, to)).into_bytes()
    };
    for (snapshot, error) in [
        (b"".to_vec(), "EOF"),
        (b"-2".to_vec(), "invalid type: integer `-2`"),
        (b"[[]]".to_vec(), "invalid type: sequence"),
        (b"{}".to_vec(), "missing field `segments`"),
        (b"{\"segmenty\":[]}".to_vec(), "missing field `segments`"),
        (b"{\"segments\":[]".to_vec(), "EOF"),
        (b"{\"segments\":[]}\0".to_vec(), "trailing characters"),
        (b"\n\n{\"segments\"\n:[\n]}\t\n\r\r:{\r".to_vec(), "trailing characters"),
        (b"\xef\xbb\xbf{\"segments\":[]}".to_vec(), "expected value"),
        (b"{\"segments\":{}}".to_vec(), "invalid type: map"),
        (b"{\"segments\":null}".to_vec(), "invalid type: null"),
        (b"{\"segments\":[0]}".to_vec(), "invalid type: integer `0`"),
        (b"{\"segments\":[[0,8192,19763,0,0,null]]}".to_vec(), "invalid type: sequence"),
        (b"{\"segments\":[],\"segments\":[]}".to_vec(), "duplicate field `segments`"),
        (b"{\"segments\":[],\"\\ud800\":0}".to_vec(), "hex escape"),
        (b"{\"segments\":[],\"\xff\":0}".to_vec(), "unicode"),
        (deep, "recursion limit"),
        (first_but("\"id\":0", "\"id\":2147483648"), "invalid value: integer `2147483648`"),
        (first_but("\"id\":0", "\"id\":-0.0"), "invalid type: floating point `-0.0`"),
        (first_but("\"cuid\":0", "\"cuid\":-1"), "invalid value: integer `-1`"),
        (first_but("8192", "18446744073709551616"), "invalid type: floating point"),
        (first_but("8192", "\"8192\""), "invalid type: string"),
        (first_but("\"cgid\":0", "\"cpid\":0"), "duplicate field `cpid`"),
        (first_but("\"cgid\":0", "\"cid\":0"), "missing field `cgid`"),
    ] {
        let result = new_since(&snapshot);
        let shown = snapshot.escape_ascii();
        assert!(result.as_ref().is_err_and(|result| result.contains(error)), "{shown:.100}: {result:?}");
    }
}
