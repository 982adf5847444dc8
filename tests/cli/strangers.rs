//! Text chosen by other users: command lines, names of users, and the environment of shmadm.

mod names;
mod stuck;
mod words;

use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::io::{BufRead, BufReader};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::process::{Command, Stdio};

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::support::{Namespace, Running, ended, in_namespace, shmadm_path, wait_until};

/// A perl program that creates a segment with this key, says so, and waits.
const STAYS: &str = "shmget($ARGV[0], 1, 01600) // die; $| = 1; print qq(ready\n); <STDIN>";
/// Controls a terminal, ends a line, changes the direction of text, is not UTF-8, quotes, and has invisible characters:
/// zero-width ones, a tag, a soft hyphen, a variation selector, a filler and an unusual space.
const HOSTILE: &[u8] =
    b"\x1b[2J\x1b]0;pwned\x07\r\n\t\x00\x7f\xc2\x85\xc2\x9b31m\xe2\x80\xae\xe2\x81\xa6\xff\xc3\"',;\\\
      \xe2\x80\x8b\xef\xbb\xbf\xf3\xa0\x81\x81\xc2\xad\xef\xb8\x8f\xe3\x85\xa4\xc2\xa0";

/// Starts a process with these words in its command line, which creates a segment.
fn start(ns: &Namespace, key: i32, words: &[u8]) -> Running {
    let words = words.split(|byte| *byte == 0).map(OsStr::from_bytes);
    let mut perl: Command = ns.program("perl");
    perl.args(["-e", STAYS, &key.to_string()]).args(words).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = perl.spawn().expect("perl");
    let (output, mut line) = (child.stdout.take().expect("a pipe"), String::new());
    BufReader::new(output).read_line(&mut line).expect("its output");
    assert_eq!(line, "ready\n");
    Running(child)
}

/// Starts three processes: one with a hostile command line, one with the longest argument that the kernel accepts, and
/// one with an empty argument.
fn strangers(ns: &Namespace) -> [Running; 3] {
    [start(ns, 1, HOSTILE), start(ns, 2, &[b'x'; 131_071]), start(ns, 3, b"")]
}

/// Expects text without control characters, with this number of lines.
#[track_caller]
fn plain(what: &str, out: &[u8], lines: usize) {
    let text = str::from_utf8(out).unwrap_or_else(|error| panic!("{what}: {error}"));
    let is_line_end = |c: &char| *c == '\n';
    let invisible =
        regex::Regex::new(r"[\p{Default_Ignorable_Code_Point}\p{Cc}\p{Cf}\p{Zl}\p{Zp}]|\u{a0}").expect("a pattern");
    let bad = invisible.find_iter(text).flat_map(|found| found.as_str().chars()).find(|c| !is_line_end(c));
    assert_eq!(bad, None, "{what}");
    assert_eq!(text.lines().count(), lines, "{what}");
}

const FORMATS: [(&str, usize); 8] = [
    ("list", 4),
    ("list -o all", 4),
    ("list -f raw --no-headings", 3),
    ("list -f export", 3),
    ("list -f json", 5),
    ("list -f jsonl", 3),
    ("list -f csv", 4),
    ("stat 1 2 3 -f json", 1),
];

#[test]
fn no_command_line_steers_a_terminal_or_ends_a_line() {
    in_namespace(|ns| {
        let _strangers = strangers(ns);
        let columns = "key,id,command,creator,user";
        for (line, lines) in FORMATS {
            let columns = line.replace("-o all", &format!("-o {columns}"));
            let out = ns.shmadm(columns.split(' '));
            plain(line, &out.bytes, lines);
            match line.split_once("-f ").map_or("", |(_, format)| format) {
                "json" => drop(serde_json::from_slice::<Value>(&out.bytes).expect("JSON")),
                "jsonl" => out.out.lines().for_each(|line| drop(serde_json::from_str::<Value>(line).expect("JSON"))),
                "csv" => {
                    let mut reader = csv::Reader::from_reader(&out.bytes[..]);
                    let commands = reader.headers().expect("titles").iter().position(|title| title == "COMMAND");
                    let rows: Vec<_> = reader.records().map(|row| row.expect("a row")).collect();
                    let lengths: Vec<_> = rows.iter().map(|row| row[commands.expect("COMMAND")].len()).collect();
                    assert!(lengths.len() == 3 && (4096..4200).contains(&lengths[1]), "{lengths:?}");
                }
                _ => {}
            }
        }
        let stat = ns.shmadm(["stat", "1"]);
        plain("stat", &stat.bytes, stat.out.lines().count());
        assert!(stat.out.contains(r"\x1b[2J\x1b]0;pwned\x07\x0d\x0a\x09"), "{stat:?}");
        // On a terminal, with lines of its width.
        for line in ["list", "list -o command,key", "stat 1 2 3"] {
            let mut script = ns.program("script");
            let run = format!("stty cols 80; {} --color never {line}", shmadm_path());
            script.env("SHELL", "/bin/sh").stdin(Stdio::null());
            let out = ended(script.args(["-qec", &run, "/dev/null"])).ok().replace("\r\n", "\n");
            plain(line, out.as_bytes(), out.lines().count());
            // Three segments are described in about twenty lines each, and a long command in four more.
            assert!(out.lines().count() < 75, "{line}: {out}");
        }
    });
}

#[test]
fn each_watched_event_is_one_line() {
    in_namespace(|ns| {
        for format in ["text", "jsonl"] {
            let (log, err) = (ns.file("out", ""), ns.file("err", ""));
            let file = |path| std::fs::File::options().append(true).open(path).expect("a file");
            let mut watch =
                ns.command(["watch", "--source", "poll", "--for", "2m", "--interval", "10ms", "-f", format]);
            let watch = Running(watch.stdin(Stdio::null()).stdout(file(&log)).stderr(file(&err)).spawn().expect("it"));
            wait_until("it watches", || std::fs::read_to_string(&err).is_ok_and(|text| text.contains("watching")));
            let strangers = strangers(ns);
            let out = || std::fs::read(&log).expect("its output");
            wait_until("three are reported", || out().iter().filter(|byte| **byte == b'\n').count() == 3);
            plain(format, &out(), 3);
            watch.end(Signal::SIGTERM);
            drop(strangers);
            ns.shmadm(["remove", "--all", "--yes"]).ok();
        }
    });
}

#[test]
fn an_environment_variable_changes_only_its_own_setting() {
    in_namespace(|ns| {
        ns.shmadm(["create", "1", "--size", "4K"]).ok();
        ns.run("mkfifo", ["fifo"]);
        let fifo = ns.path("fifo");
        let long = "A".repeat(100_000);
        let zones = [
            "",
            ":",
            "/",
            ":/etc/passwd",
            "../../../etc/passwd",
            "XXX999999",
            "\x1b[31m",
            "/dev/zero",
            ":/dev/zero",
            "fifo",
            "/dev/stdin",
            &long,
            fifo.to_str().expect("a path"),
        ];
        let zones = zones.map(|zone| ("TZ", OsString::from(zone))).into_iter();
        let more = [
            ("TZ", OsString::from_vec(vec![0xff])),
            ("LANG", "xx_XX.nonsense".into()),
            ("LC_ALL", OsString::from_vec(vec![0xff, 0x1b])),
            ("COLUMNS", "0".into()),
            ("COLUMNS", "-1".into()),
            ("COLUMNS", "99999999999999999999".into()),
            ("NO_COLOR", OsString::from_vec(vec![0xff])),
            ("TERM", "\x1b".into()),
            ("PATH", "".into()),
            ("HOME", "/nowhere".into()),
            ("RUST_BACKTRACE", "full".into()),
        ];
        let lines = ["list -f json", "list -o id,key,ctime --time-format iso", "stat 1 -f json"];
        let lines = lines.map(|line| line.split(' ').collect::<Vec<_>>());
        let expected = lines.each_ref().map(|line| ns.shmadm(line).ok());
        for (name, value) in zones.chain(more) {
            for (line, expected) in lines.iter().zip(&expected) {
                let out = ended(ns.command(line).env(name, &value).stdin(Stdio::null()));
                assert_eq!((out.code, &out.out), (Some(0), expected), "{name}={value:?}: {line:?}: {out:?}");
            }
        }
        let bare = ended(ns.command(&lines[2]).env_clear().stdin(Stdio::null()));
        assert_eq!(bare.ok(), expected[2]);
        // If the command is not found, guard says so, as env(1) does.
        let guard = ["guard", "--shared", "--", "sh", "-c", ":"];
        assert_eq!(ended(ns.command(guard).env("PATH", "").stdin(Stdio::null())).code, Some(127));
        let colours: HashSet<_> = ["1", "yes", "\x1b"]
            .map(|value| ended(ns.command(["list"]).env("CLICOLOR_FORCE", value).stdin(Stdio::null())).ok())
            .into();
        assert!(colours.len() <= 2 && colours.iter().all(|out| out.contains("\x1b[")), "{colours:?}");
    });
}
