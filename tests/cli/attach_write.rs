//! `attach-write`: which bytes it writes to a segment, which it refuses, and its attachment.

mod address;
mod hold;
mod killed;
mod memory;
mod ways;

use std::ffi::OsStr;
use std::fs::File;
use std::io::{Seek, SeekFrom};
use std::os::unix::ffi::OsStrExt;
use std::process::Stdio;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::support::{Ended, Namespace, Row, Running, ended, in_namespace, shmadm_path, wait_until};

/// Runs `write` with these words and an empty standard input.
#[track_caller]
fn write(ns: &Namespace, words: &str) -> Ended {
    ns.shmadm(["write"].into_iter().chain(words.split(' ')))
}

/// Creates a segment of this many bytes, each of them an `x`: key 5, id 0.
#[track_caller]
fn create_filled(ns: &Namespace, size: usize) {
    ns.file("crosses", "x".repeat(size));
    ns.shmadm(["create", "5", "--from", "crosses"]).ok();
}

/// Returns the first bytes of a segment, as perl reads them.
#[track_caller]
fn contents_of(ns: &Namespace, id: i32, length: usize) -> Vec<u8> {
    let read = "shmread($ARGV[0], my $bytes, 0, $ARGV[1]) or die $!; print $bytes";
    let perl = ended(ns.program("perl").args(["-e", read]).args([id.to_string(), length.to_string()]));
    assert_eq!(perl.code, Some(0), "{perl:?}");
    perl.bytes
}

/// Returns the first bytes of segment 0.
#[track_caller]
fn contents(ns: &Namespace, length: usize) -> Vec<u8> {
    contents_of(ns, 0, length)
}

/// Returns a column of segment 0 in the kernel's table.
#[track_caller]
fn column(ns: &Namespace, column: fn(Row) -> String) -> String {
    column(ns.row(0).expect("segment 0"))
}

#[test]
fn a_text_is_written_as_a_c_string() {
    in_namespace(|ns| {
        let reader = ns.compile("reader");
        ns.file("crosses", "x".repeat(64));
        ns.shmadm(["create", "5678", "--from", "crosses"]).ok();
        ns.shmadm(["attach-write", "5678", "grüße"]).ok();
        assert_eq!(ended(&mut ns.program(reader)).ok(), "grüße");
        assert_eq!(contents(ns, 11), "grüße\0xxx".as_bytes());
        // An argument need not be UTF-8.
        let words = [OsStr::new("write"), OsStr::new("5678"), OsStr::from_bytes(b"\xff\xfe")];
        ns.shmadm(words).ok();
        assert_eq!(contents(ns, 4), b"\xff\xfe\0\xbc");
    });
}

#[test]
fn a_c_program_and_shmadm_read_each_other() {
    in_namespace(|ns| {
        let (reader, writer) = (ns.compile("reader"), ns.compile("writer"));
        ended(&mut ns.program(&writer)).ok();
        assert_eq!((column(ns, |row| row.size), column(ns, |row| row.mode)), ("27".into(), "666".into()));
        assert_eq!(ns.shmadm(["read", "5678", "-f", "string"]).ok().trim_end(), "written by C");
        write(ns, "5678 written-by-shmadm").ok();
        assert_eq!(ended(&mut ns.program(&reader)).ok(), "written-by-shmadm");
        ended(&mut ns.program(&writer)).ok();
        assert_eq!(ns.shmadm(["read", "5678", "-f", "string"]).ok().trim_end(), "written by C");
    });
}

#[test]
fn a_text_ends_with_a_nul_and_a_file_only_with_an_option() {
    in_namespace(|ns| {
        ns.file("file", "abc");
        create_filled(ns, 8);
        for (words, input, expected) in [
            ("5 abc", "", b"abc\0xxxx"),
            ("5 abc --no-nul", "", b"abcxxxxx"),
            ("5 abc --nul", "", b"abc\0xxxx"),
            ("5 --file file", "", b"abcxxxxx"),
            ("5 --file file --nul", "", b"abc\0xxxx"),
            ("5 --file file --no-nul", "", b"abcxxxxx"),
            ("5 --file -", "abc", b"abcxxxxx"),
            ("5", "abc", b"abcxxxxx"),
            ("5 --nul", "abc", b"abc\0xxxx"),
            ("5 --nul", "", b"\0xxxxxxx"),
            ("id:0 abc --offset 4", "", b"xxxxabc\0"),
            ("5 --offset 5", "abc", b"xxxxxabc"),
            ("5 --offset 8", "", b"xxxxxxxx"),
            ("5 abc --zero", "", b"abc\0\0\0\0\0"),
            ("5 abc --zero --offset 2", "", b"\0\0abc\0\0\0"),
            ("5 abc --fill 0x41", "", b"abc\0AAAA"),
            ("5 abc --fill 0101 --no-nul --offset 2", "", b"xxabcAAA"),
            ("5 --fill 65 --offset 4 --zero", "", b"\0\0\0\0AAAA"),
            ("5 12345678 --no-nul --fill 65", "", b"12345678"),
        ] {
            write(ns, "5 --file crosses").ok();
            let args = ["write"].into_iter().chain(words.split(' '));
            assert_eq!(ns.shmadm_with_input(args, input.as_bytes()).ok(), "");
            assert_eq!(contents(ns, 8), expected, "{words} < {input:?}");
        }
    });
}

#[test]
fn a_redirected_file_is_read_from_where_it_stands() {
    in_namespace(|ns| {
        create_filled(ns, 8);
        let mut input = File::open(ns.file("file", "read before|abcd")).expect("a file");
        input.seek(SeekFrom::Start(12)).expect("a file that can seek");
        let written = Ended::from(ns.command(["write", "5", "--offset", "4"]).stdin(input).output().expect("shmadm"));
        assert_eq!(written.code, Some(0), "{written:?}");
        assert_eq!(contents(ns, 8), b"xxxxabcd");
    });
}

#[test]
fn a_mebibyte_arrives_whole() {
    in_namespace(|ns| {
        let bytes: Vec<u8> = (0..1_u32 << 20).map(|n| (n % 251) as u8).collect();
        ns.file("file", &bytes);
        ns.shmadm(["create", "5", "--size", "1M"]).ok();
        write(ns, "5 --file file").ok();
        assert!(contents(ns, 1 << 20) == bytes);
    });
}

#[test]
fn zero_frees_the_pages_even_of_a_locked_segment() {
    in_namespace(|ns| {
        ns.shmadm(["create", "5", "--size", "32K", "--lock"]).ok();
        ns.shmadm(["create", "6", "--size", "64M"]).ok();
        for id in [0, 1] {
            let rss = || ns.row(id).expect("a row").rss.parse::<u64>().expect("bytes");
            write(ns, &format!("id:{id} first")).ok();
            write(ns, &format!("id:{id} last --offset 30K")).ok();
            assert_ne!(rss(), 0);
            write(ns, &format!("id:{id} --zero")).ok();
            assert_eq!(rss(), 0);
            assert!(contents_of(ns, id, 32 << 10).iter().all(|byte| *byte == 0));
        }
    });
}

#[test]
fn create_creates_a_missing_segment_and_uses_a_large_enough_one() {
    in_namespace(|ns| {
        write(ns, "5 hello --create 4K --mode 640").ok();
        assert_eq!(
            (column(ns, |row| row.key), column(ns, |row| row.size), column(ns, |row| row.mode)),
            ("5".into(), "4096".into(), "640".into())
        );
        assert_eq!(contents(ns, 7), b"hello\0\0");
        write(ns, "5 again --create 100 --mode 777").ok();
        assert_eq!((contents(ns, 7), column(ns, |row| row.mode)), (b"again\0\0".to_vec(), "640".into()));
        let error = write(ns, "5 never --create 4097").fails(1);
        assert!(error.contains("id 0") && error.contains("4096 bytes") && error.contains("4097"), "{error}");
        assert_eq!((contents(ns, 7), ns.table().len()), (b"again\0\0".to_vec(), 1));
    });
}

#[test]
fn forty_writers_that_create_share_one_segment() {
    in_namespace(|ns| {
        let start = |_| ns.command(["write", "5", "hello", "--create", "4K"]).stdin(Stdio::null()).spawn();
        let writers: Vec<_> = (0..40).map(|n| start(n).expect("shmadm")).collect();
        for mut writer in writers {
            assert_eq!(writer.wait().expect("its exit status").code(), Some(0));
        }
        assert_eq!((ns.table().len(), contents(ns, 6)), (1, b"hello\0".to_vec()));
    });
}

#[test]
fn input_that_is_known_to_be_too_long_changes_nothing() {
    in_namespace(|ns| {
        ns.file("nine", "123456789");
        create_filled(ns, 8);
        for (words, length, room) in [
            ("5 12345678", 9, 8),
            ("5 12345678 --zero --fill 65", 9, 8),
            ("id:0 123 --offset 5", 4, 3),
            ("5 --file nine --zero", 9, 8),
            ("5 --file nine --nul --offset 8", 10, 0),
            // Standard input, redirected from that file.
            ("5 --zero", 9, 8),
            ("5 --create 8", 9, 8),
            // The segment is missing, and none is created.
            ("6 12345678 --create 8", 9, 8),
            ("6 --file nine --create 8", 9, 8),
            ("6 --create 8", 9, 8),
        ] {
            let input = File::open(ns.path("nine")).expect("a file");
            let mut command = ns.command(["write"].into_iter().chain(words.split(' ')));
            let error = ended(command.stdin(input)).fails(1);
            assert!(error.contains(&format!(" {length} bytes ")), "{words}: {error}");
            assert!(error.contains(&format!("room for {room} ")), "{words}: {error}");
            assert_eq!((contents(ns, 8), ns.table().len()), (b"xxxxxxxx".to_vec(), 1), "{words}");
        }
        // None was created and removed again either: that would have used this identifier.
        assert_eq!(ns.shmadm(["create", "6", "--size", "1", "-q"]).ok(), "id:1\n");
    });
}

#[test]
fn a_stream_that_is_too_long_fails_where_the_segment_ends() {
    in_namespace(|ns| {
        create_filled(ns, 8);
        for (words, input, written, expected) in [
            ("5 --offset 5", "12345", 3, b"xxxxx123"),
            ("5", "123456789", 8, b"12345678"),
            // The NUL byte counts as input, too.
            ("5 --nul --zero --offset 4", "1234", 4, b"\0\0\0\x001234"),
        ] {
            write(ns, "5 --file crosses").ok();
            let args = ["write"].into_iter().chain(words.split(' '));
            let error = ns.shmadm_with_input(args, input.as_bytes()).fails(1);
            assert!(error.contains(&format!("{written} bytes were written")), "{error}");
            assert_eq!(contents(ns, 8), expected, "{words}");
        }
    });
}

#[test]
fn input_that_just_fits_is_written_and_an_offset_past_the_end_fails() {
    in_namespace(|ns| {
        create_filled(ns, 8);
        write(ns, "5 1234567").ok();
        write(ns, "5 8 --no-nul --offset 7").ok();
        write(ns, "5 --offset 8").ok();
        for words in ["5 x --offset 8", "5 --offset 9", "5 --offset 18446744073709551615 --zero", "5 x --offset 1K"] {
            assert!(write(ns, words).fails(1).contains("nothing was written"), "{words}");
        }
        assert_eq!(contents(ns, 8), b"12345678");
    });
}

#[test]
fn a_missing_segment_or_unreadable_input_fails() {
    in_namespace(|ns| {
        assert!(write(ns, "5 hello").fails(3).contains("0x00000005"));
        assert!(write(ns, "id:99 hello").fails(3).contains("id:99"));
        for (words, cause) in [
            ("5 --create 8 --file .", ".: Is a directory"),
            ("5 --create 8 --file missing", "missing: No such file or directory"),
            ("ftok:A:missing hello", "missing: No such file or directory"),
        ] {
            let error = write(ns, words).fails(1);
            assert!(error.contains(cause), "{words}: {error}");
        }
        assert!(ns.table().is_empty());
    });
}

#[test]
fn a_misspelt_option_is_not_written_as_text() {
    in_namespace(|ns| {
        create_filled(ns, 8);
        for option in ["--zreo", "--nonul", "-z"] {
            write(ns, &format!("5 {option}")).usage_error();
            assert_eq!(contents(ns, 8), b"xxxxxxxx", "{option}");
        }
        write(ns, "5 -- --zreo").ok();
        assert_eq!(contents(ns, 8), b"--zreo\0x");
    });
}

#[test]
fn a_mode_that_forbids_writing_is_explained() {
    in_namespace(|ns| {
        for mode in ["0400", "0444", "0"] {
            ns.shmadm(["create", "5", "--size", "8", "--mode", mode]).ok();
            for segment in ["5", &format!("id:{}", ns.table()[0].id)] {
                let error = ns.shmadm_unprivileged(["write", segment, "hello", "--zero"]).fails(1);
                assert!(error.contains("permission denied; "), "{mode}: {error}");
                // An owner gets the command that permits it.
                let hint = if ns.is_root { "read and write permission" } else { "you own it: `shmadm set id:" };
                assert!(error.contains(hint), "{mode}: {error}");
            }
            ns.run("ipcrm", ["-M", "5"]);
        }
    });
}

#[test]
fn trace_shows_attach_and_detach_in_straces_notation() {
    in_namespace(|ns| {
        ns.shmadm(["create", "5", "--size", "8"]).ok();
        for (words, attach) in [
            ("--at 0x700000000000", &["shmat(0, 0x700000000000, 0) = 0x700000000000"][..]),
            ("--at 0x700000000fff --round", &["shmat(0, 0x700000000fff, SHM_RND) = 0x700000000000"]),
            (
                "--at 0x700000000000 --remap",
                &[
                    "shmat(0, 0x700000000000, 0) = 0x700000000000",
                    "shmat(0, 0x700000000000, SHM_REMAP) = 0x700000000000",
                ],
            ),
        ] {
            let traced = write(ns, &format!("5 hello --trace {words}"));
            let lines: Vec<_> = traced.err.lines().filter(|line| !line.starts_with("shmctl")).collect();
            assert_eq!(lines, [&["shmget(0x00000005, 0, 000) = 0"], attach, &["shmdt(0x700000000000) = 0"]].concat());
        }
        let failed = write(ns, "id:0 hello --trace --at 1");
        assert!(failed.err.starts_with("shmat(0, 0x1, 0) = -1 EINVAL (Invalid argument)\n"), "{failed:?}");
    });
}
