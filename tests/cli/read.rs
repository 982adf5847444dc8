//! `shmadm read`.

mod output_file;
mod swapped;
mod unnamed;
mod ways;

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Read as _;
use std::os::unix::fs::FileExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::support::{
    Ended, Namespace, Need, Running, ended, in_namespace, in_namespace_as_root, needs, shmadm_path, wait_until,
    writes_new_file,
};

const MIB: usize = 1 << 20;
const PAGE: usize = 4096;

/// Creates a segment of the size of the file `copyKEY`, with mode 0644. perl writes these parts of the file to it, each
/// an `(offset, length)`.
fn create(ns: &Namespace, key: i32, parts: &[(usize, usize)]) {
    const PERL: &str = r#"my ($key, @parts) = @ARGV;
        my $id = shmget($key, -s "copy$key", 01644) // die "shmget: $!";
        open my $file, '<:raw', "copy$key" or die "open: $!";
        while (my ($at, $length) = splice @parts, 0, 2) {
            seek $file, $at, 0;
            read $file, my $bytes, $length;
            shmwrite($id, $bytes, $at, $length) or die "shmwrite: $!";
        }"#;
    let numbers = parts.iter().flat_map(|(at, length)| [at.to_string(), length.to_string()]);
    ns.run("perl", ["-e", PERL, &key.to_string()].into_iter().map(str::to_owned).chain(numbers));
}

/// Creates a segment with these bytes, and the file `copyKEY` with the same bytes.
fn segment(ns: &Namespace, key: i32, bytes: &[u8]) {
    ns.file(&format!("copy{key}"), bytes);
    create(ns, key, &[(0, bytes.len())]);
}

/// Creates a segment in which only the pages at these offsets are allocated, and the file `copyKEY` with the same
/// bytes.
fn sparse_segment(ns: &Namespace, key: i32, size: usize, pages: &[usize]) {
    let file = File::create(ns.path(&format!("copy{key}"))).expect("a file");
    file.set_len(size as u64).expect("a sparse file");
    let parts: Vec<_> = pages.iter().map(|at| (*at, PAGE.min(size - at))).collect();
    parts.iter().for_each(|(at, length)| file.write_all_at(&random(*length), *at as u64).expect("data"));
    create(ns, key, &parts);
}

fn random(count: usize) -> Vec<u8> {
    std::iter::repeat_with(|| fastrand::u8(..)).take(count).collect()
}

/// Returns the bytes that a program prints. The program must succeed.
#[track_caller]
fn printed(command: &mut Command) -> Vec<u8> {
    let ended = ended(command);
    assert!(ended.code == Some(0) && ended.err.is_empty(), "{:?} {:?}", ended.code, ended.err);
    ended.bytes
}

/// Returns the bytes that `shmadm read` prints.
#[track_caller]
fn read<A: AsRef<OsStr>>(ns: &Namespace, args: impl IntoIterator<Item = A>) -> Vec<u8> {
    printed(ns.command(["read"]).args(args))
}

/// Returns the output of a shell script, in which `$0` is shmadm, in a new mount namespace. The first failure ends the
/// script.
#[track_caller]
fn script(ns: &Namespace, script: &str) -> String {
    String::from_utf8(printed(ns.program("unshare").args(["--mount", "sh", "-ec", script, shmadm_path()])))
        .expect("UTF-8")
}

/// Returns the bytes of a file in the test's directory.
#[track_caller]
fn contents(ns: &Namespace, name: &str) -> Vec<u8> {
    fs::read(ns.path(name)).expect("the file")
}

#[test]
fn text_written_by_c_is_shown() {
    in_namespace(|ns| {
        let writer = ns.compile("alphabet");
        ended(&mut ns.program(writer)).ok();
        assert_eq!(read(ns, ["5678", "-f", "string"]), b"abcdefghijklmnopqrstuvwxyz\n");
    });
}

#[test]
fn raw_bytes_are_those_that_another_program_reads() {
    const PERL: &str = "shmread($ARGV[0] + 0, $b, $ARGV[1], $ARGV[2]) or die $!; print $b";
    in_namespace(|ns| {
        // More bytes than shmadm copies at a time, and not a whole number of pages.
        let bytes = random(3 * MIB + 777);
        segment(ns, 1, &bytes);
        assert!(read(ns, ["1"]) == bytes);
        for (offset, start) in [("0", 0), ("1", 1), ("4K", 4096), ("0x1001", 4097), ("1MiB", MIB), ("1MB", 1_000_000)] {
            for (length, count) in [("0", "0"), ("1", "1"), ("4K", "4096"), ("1.5M", "1572864")] {
                let theirs = printed(ns.program("perl").args(["-e", PERL, "0", &start.to_string(), count]));
                let args = ["1", "--offset", offset, "--length", length];
                assert!(read(ns, args) == theirs, "{args:?}");
                read(ns, args.iter().chain(&["-o", "out"]));
                assert!(contents(ns, "out") == theirs, "{args:?}");
            }
            assert!(read(ns, ["1", "--offset", offset]) == bytes[start..], "{offset}");
        }
    });
}

#[test]
fn a_range_past_the_end_is_an_error_that_names_the_size() {
    in_namespace(|ns| {
        segment(ns, 1, &[b'x'; 100]);
        let most = "18446744073709551615";
        for (offset, length) in [("101", "0"), ("2M", "0"), ("100", "1"), ("0", "101"), ("15E", "15E"), (most, most)] {
            let failed = ns.shmadm(["read", "1", "--offset", offset, "--length", length]);
            assert_eq!(failed.out, "");
            assert!(failed.fails(1).contains("100 bytes"), "{offset} {length}");
        }
        for offset in ["101", most] {
            assert!(ns.shmadm(["read", "1", "--offset", offset]).fails(1).contains("100 bytes"), "{offset}");
        }
        assert_eq!(read(ns, ["1", "--offset", "100"]), b"");
        assert_eq!(read(ns, ["1", "--offset", "100", "--length", "0"]), b"");
        // This number has more than 64 bits.
        ns.shmadm(["read", "1", "--length", "16E"]).usage_error();
    });
}

#[test]
fn hex_equals_the_output_of_hexdump() {
    in_namespace(|ns| {
        segment(ns, 1, &random(1000));
        segment(ns, 2, &[0; 4096]);
        segment(ns, 3, &[0; 100]);
        segment(ns, 4, &[b"sixteen bytes...".repeat(5), b"another line....".repeat(2), b"anoth".to_vec()].concat());
        segment(ns, 5, b"x");
        segment(ns, 6, &(0..=255).collect::<Vec<u8>>());
        segment(ns, 7, &[b"data".as_slice(), &[0; 5000], b"data", &[0; 40]].concat());
        sparse_segment(ns, 8, MIB + 5, &[100 * PAGE]);
        sparse_segment(ns, 9, MIB + 5, &[]);
        for key in (1..=9).map(|key: i32| key.to_string()) {
            let copy = format!("copy{key}");
            let size = contents(ns, &copy).len();
            for offset in [0, 7, 16, 4100].into_iter().filter(|offset| *offset < size) {
                let offset = offset.to_string();
                let theirs = printed(ns.program("hexdump").args(["-C", "-s", &offset, &copy]));
                let ours = read(ns, [&key, "-f", "hex", "--offset", &offset]);
                assert_eq!(String::from_utf8_lossy(&ours), String::from_utf8_lossy(&theirs), "{copy} from {offset}");
            }
        }
        let theirs = printed(ns.program("hexdump").args(["-C", "-s", "3", "-n", "70", "copy1"]));
        assert_eq!(read(ns, ["1", "-f", "hex", "--offset", "3", "--length", "70", "-o", "out"]), b"");
        assert!(contents(ns, "out") == theirs);
    });
}

#[test]
fn a_string_ends_at_the_first_nul_and_gets_a_line_end() {
    in_namespace(|ns| {
        let long = "é".repeat(MIB);
        let table: [(&[u8], &[u8]); 7] = [
            (b"hello\0rest", b"hello\n"),
            (b"a line\n\0\0", b"a line\n"),
            (b"no nul", b"no nul\n"),
            (b"\0hidden", b""),
            (&[0; 5000], b""),
            // A pipe gets unchanged bytes.
            (b"\x1b[31m\xff\xfe\0", b"\x1b[31m\xff\xfe\n"),
            (long.as_bytes(), &[long.as_bytes(), b"\n"].concat()),
        ];
        for (key, (bytes, shown)) in (1..).zip(table) {
            segment(ns, key, bytes);
            assert!(read(ns, [&key.to_string(), "-f", "string"]) == shown, "{bytes:.50?}");
        }
        assert_eq!(read(ns, ["1", "-f", "string", "--offset", "2", "--length", "2"]), b"ll\n");
        assert_eq!(read(ns, ["1", "-f", "string", "--offset", "6"]), b"rest\n");
    });
}

#[test]
fn a_terminal_gets_text_or_hex_and_no_control_sequences() {
    in_namespace(|ns| {
        needs(Need::Program("script"));
        // Characters of two bytes at odd offsets: each copied piece ends within a character.
        let long = format!("x{}", "é".repeat(700_000));
        let steering = [b"a\x1b[2J", "\u{85}\u{202e}b\u{7f}\r\n\t".as_bytes(), b"\xff\0"].concat();
        let table: [(&[u8], &str, Option<&str>); 8] = [
            (b"hello\tworld\n\0\0", "auto", Some("hello\tworld\n")),
            ("schön, no nul".as_bytes(), "auto", Some("schön, no nul\n")),
            (long.as_bytes(), "auto", Some(&format!("{long}\n"))),
            (&steering, "string", Some("a\\x1b[2J\\xc2\\x85\\xe2\\x80\\xaeb\\x7f\\x0d\n\t\\xff\n")),
            // Everything except text is shown as a hexdump.
            (b"binary\x01\0", "auto", None),
            (b"text\0and more\0", "auto", None),
            (b"\x1b[2J\0", "auto", None),
            (&[0; 50], "auto", None),
        ];
        for (key, (bytes, format, text)) in (1..).zip(table) {
            segment(ns, key, bytes);
            let hexdump = ns.run("hexdump", ["-C", &format!("copy{key}")]);
            let shown = text.unwrap_or(&hexdump).replace('\n', "\r\n");
            let line = format!("'{}' read {key} -f {format}", shmadm_path());
            // Without -E, script(1) would show the end of its own input as ^D.
            let mut script = ns.program("script");
            script.args(["-qe", "-E", "never", "-c", &line, "/dev/null"]).env("SHELL", "/bin/sh").stdin(Stdio::null());
            let seen = String::from_utf8(printed(&mut script)).expect("UTF-8");
            assert!(seen == shown, "{bytes:.60?} is shown as {seen:.300?}");
            // A pipe gets the bytes unchanged.
            assert!(read(ns, [key.to_string()]) == bytes, "{bytes:.60?}");
        }
    });
}

#[test]
fn reading_a_sparse_segment_allocates_nothing() {
    const SIZE: usize = 256 * MIB - 100;
    in_namespace(|ns| {
        needs(Need::Program("hexdump"));
        for (key, pages) in [(1, &[128 * MIB][..]), (2, &[0, 100 * MIB, SIZE - SIZE % PAGE])] {
            sparse_segment(ns, key, SIZE, pages);
            ns.open_to_all();
            let privileged = || ns.program("sh");
            let unprivileged = || ns.unprivileged("sh");
            for sh in [&privileged as &dyn Fn() -> Command, &unprivileged] {
                for line in [
                    "$0 read $1 | cmp - copy$1",
                    "$0 read $1 -f hex > dump && hexdump -C copy$1 | cmp - dump && rm dump",
                    "$0 read $1 -o out && cmp out copy$1 && test $(stat -c %b out) -le 100 && rm out",
                ] {
                    assert_eq!(printed(sh().args(["-c", line, shmadm_path(), &key.to_string()])), b"", "{line}");
                    let row = ns.row(key - 1).expect("the segment");
                    assert_eq!(row.rss, (pages.len() * PAGE).to_string(), "{:?} {line}", sh());
                }
            }
        }
    });
}

#[test]
fn read_permission_suffices_and_without_it_the_status_is_1() {
    in_namespace(|ns| {
        ns.shmadm_unprivileged(["create", "1", "--size", "5", "--mode", "0400"]).ok();
        let read = ns.shmadm_unprivileged(["--trace", "read", "1"]);
        assert!(read.err.contains("shmat(0, NULL, SHM_RDONLY) = 0x"), "{}", read.err);
        assert_eq!(read.ok(), "\0\0\0\0\0");
        ns.shmadm(["create", "2", "--size", "5", "--mode", "000"]).ok();
        for name in ["2", "id:1"] {
            let denied = ns.shmadm_unprivileged(["read", name]);
            assert_eq!(denied.out, "");
            let error = denied.fails(1);
            // An owner gets the command that permits it.
            let hint = if ns.is_root { "shmadm stat id:1" } else { "you own it: `shmadm set id:1" };
            assert!(error.contains("permission denied") && error.contains(hint), "{error}");
        }
    });
}

#[test]
fn a_segment_that_is_not_there_is_exit_3() {
    in_namespace(|ns| {
        ns.file("file", "");
        for (name, code) in [("9", 3), ("id:7", 3), ("ftok:A:file", 3), ("ftok:A:missing", 1)] {
            let missing = ns.shmadm(["read", name]);
            assert_eq!(missing.out, "");
            missing.fails(code);
        }
    });
}

#[test]
fn a_marked_segment_can_be_read_by_its_id() {
    in_namespace(|ns| {
        segment(ns, 1, b"still here");
        let holder = ns.hold(["read", "1", "--hold"]);
        ns.run("ipcrm", ["-M", "1"]);
        assert_eq!(read(ns, ["id:0"]), b"still here");
        ns.shmadm(["read", "1"]).fails(3);
        holder.end(Signal::SIGTERM);
        ns.shmadm(["read", "id:0"]).fails(3);
    });
}

#[test]
fn hold_prints_first_and_stays_attached_until_a_signal() {
    in_namespace(|ns| {
        segment(ns, 1, b"contents");
        let attachments = || ns.row(0).expect("the segment").nattch.clone();
        for signal in [Signal::SIGTERM, Signal::SIGINT] {
            let out = File::create(ns.path("out")).expect("a file");
            let mut command = ns.command(["read", "1", "--hold"]);
            let holder = command.stdin(Stdio::null()).stdout(out).stderr(Stdio::null()).spawn();
            let holder = Running(holder.expect("shmadm"));
            wait_until("the bytes are out", || contents(ns, "out") == b"contents");
            assert_eq!(attachments(), "1");
            let maps = fs::read_to_string(format!("/proc/{}/maps", holder.pid())).expect("its maps");
            assert!(maps.lines().any(|line| line.contains(" r--s ") && line.contains("/SYSV00000001")), "{maps}");
            assert_eq!((holder.end(signal), attachments().as_str()), ((None, Some(signal as i32)), "0"));
        }
        let holder = ns.hold(["read", "1", "-o", "file", "--hold"]);
        assert_eq!((contents(ns, "file").as_slice(), attachments().as_str()), (&b"contents"[..], "1"));
        drop(holder);
        let start = Instant::now();
        assert_eq!(ns.shmadm(["read", "1", "--hold=100ms"]).ok(), "contents");
        assert!(start.elapsed() >= Duration::from_millis(100));
        assert_eq!(attachments(), "0");
    });
}

#[test]
fn it_attaches_at_the_given_address() {
    in_namespace(|ns| {
        segment(ns, 1, b"contents");
        let read = ns.shmadm(["--trace", "read", "1", "--at", "0x600000000000"]);
        assert!(read.err.contains("shmat(0, 0x600000000000, SHM_RDONLY) = 0x600000000000\n"), "{}", read.err);
        assert_eq!(read.ok(), "contents");
        let error = ns.shmadm(["read", "1", "--at", "0x600000000001"]).fails(1);
        // The error must not advise --round or --remap, which this command does not have.
        assert!(error.contains("0x600000000001") && !error.contains("--r"), "{error}");
        let error = ns.shmadm(["read", "id:7", "--at", "0x600000000000"]).fails(3);
        assert!(error.contains("no such segment"), "{error}");
    });
}
