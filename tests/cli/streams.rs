//! Closed standard streams: /dev/null replaces them. So no file gets their numbers, and text for a stream is never
//! written to a file or a segment.

use std::path::PathBuf;
use std::process::Stdio;

use crate::support::{Ended, Namespace, Row, ended, in_namespace, shmadm_path};

/// Command lines and their exit statuses. Segment 42 and the file `in` exist.
const LINES: &[(&str, i32)] = &[
    ("--help", 0),
    ("--version", 0),
    ("nonsense", 2),
    ("create 43 --size 10", 0),
    ("create 43 --from in -f json", 0),
    ("create 42 --size 10", 1),
    ("write 42 hello -v --hold=1ms", 0),
    ("write 42 --file in", 0),
    ("write 42", 0),
    ("write 42 --file no-such-file", 1),
    ("read 42", 0),
    ("read 42 -f hex", 0),
    ("read 42 -o out", 0),
    ("read 43", 3),
    ("list", 0),
    ("list -f json", 0),
    ("list --all-namespaces", 0),
    ("stat 42", 0),
    ("stat 43 -f json", 3),
    ("set 42 --mode 644", 0),
    ("limits", 0),
    ("remove 42", 0),
    ("remove 43", 3),
    ("remove --all", 2),
    ("remove --all --yes", 0),
    ("guard --report out -- sh -c :", 0),
    ("guard --shared --report out -- sh -c :", 0),
    ("watch --for 1ms -f jsonl", 0),
    ("metrics", 0),
    ("metrics -o out", 0),
    ("demo", 0),
    ("ftok in", 0),
    ("completions bash", 0),
    ("--trace list --ns nowhere", 1),
    ("--trace stat 42", 0),
];

/// The state after a command: the segments with their modes and sizes, the contents of 42, and the two files.
#[derive(Debug, PartialEq)]
struct Left {
    segments: Vec<[String; 3]>,
    contents: Option<Vec<u8>>,
    files: [Option<String>; 2],
}

/// Runs a command line with these redirections of the shell, in the initial state.
#[track_caller]
fn run(ns: &Namespace, line: &str, streams: &str) -> (Ended, Left) {
    ns.shmadm(["remove", "--all", "--yes", "--quiet"]).ok();
    ns.shmadm(["create", "42", "--size", "4096"]).ok();
    ns.file("in", "what is in the file");
    let out = ns.path("out");
    // It may not exist.
    let _ = std::fs::remove_file(&out);
    let mut sh = ns.program("sh");
    sh.args(["-c", &format!(r#"exec "$@" {streams}"#), "sh", shmadm_path()]);
    let ended = ended(sh.args(line.split_whitespace()).stdin(Stdio::null()));
    let read = |path: PathBuf| std::fs::read_to_string(path).ok();
    let columns = |row: Row| [row.key, row.mode, row.size];
    let left = Left {
        segments: ns.table().into_iter().map(columns).collect(),
        contents: ns.shmadm(["list", "--key", "42", "-q"]).ok().lines().next().map(|_| ns.shmadm(["read", "42"]).bytes),
        files: [read(ns.path("in")), read(out).map(without_times)],
    };
    (ended, left)
}

/// Returns metrics without the line with their time, which differs between runs.
fn without_times(text: String) -> String {
    text.lines().filter(|line| !line.contains("time")).collect::<Vec<_>>().join("\n")
}

#[test]
fn dev_null_stands_in_for_a_closed_stream() {
    in_namespace(|ns| {
        for (line, status) in LINES {
            let (open, expected) = run(ns, line, "</dev/null");
            assert_eq!(open.code, Some(*status), "{line}: {open:?}");
            for streams in ["<&-", ">&-", "2>&-", "<&- >&-", "<&- >&- 2>&-"] {
                let (closed, left) = run(ns, line, streams);
                assert_eq!(closed.code, Some(*status), "{line} {streams}: {closed:?}");
                assert_eq!(left, expected, "{line} {streams}");
                let is_closed = |stream| streams.split(' ').any(|word| word == stream);
                let is_silent = [is_closed(">&-") || open.out.is_empty(), is_closed("2>&-") || open.err.is_empty()];
                assert_eq!([closed.out.is_empty(), closed.err.is_empty()], is_silent, "{line} {streams}: {closed:?}");
            }
        }
    });
}

#[test]
fn a_guarded_command_gets_dev_null_for_closed_streams() {
    in_namespace(|ns| {
        for shared in ["", "--shared"] {
            let line = format!("guard {shared} --report out -- sh -c readlink\t/proc/$$/fd/[012]\t>links");
            let mut sh = ns.program("sh");
            sh.args(["-c", r#"exec "$@" <&- >&- 2>&-"#, "sh", shmadm_path()]);
            let words = line.split(' ').filter(|word| !word.is_empty()).map(|word| word.replace('\t', " "));
            ended(sh.args(words).stdin(Stdio::null())).ok();
            let links = std::fs::read_to_string(ns.path("links")).expect("links");
            let links: Vec<_> = links.lines().collect();
            // The shell redirects its standard output to the file.
            assert_eq!((links[0], links[2]), ("/dev/null", "/dev/null"), "{shared}: {links:?}");
        }
    });
}
