//! Output that cannot be written: a full disk, and a closed pipe.

use std::fs::File;
use std::process::Stdio;

use crate::support::{Ended, Namespace, Need, ended, in_namespace, needs, shmadm_path};

/// Command lines that print something, and the keys of the segments left after each. Before, there are keys 1, 2 and 3.
/// A removal is not undone if its report fails, but a segment whose identifier cannot be printed is removed again.
const LINES: &[(&str, &[&str])] = &[
    ("--help", &["1", "2", "3"]),
    ("--version", &["1", "2", "3"]),
    ("list", &["1", "2", "3"]),
    ("list -q", &["1", "2", "3"]),
    ("list -f json", &["1", "2", "3"]),
    ("list -f raw", &["1", "2", "3"]),
    ("list --all-namespaces", &["1", "2", "3"]),
    ("stat 1", &["1", "2", "3"]),
    ("stat 1 2 -f json", &["1", "2", "3"]),
    ("read 1", &["1", "2", "3"]),
    ("read 1 -f hex", &["1", "2", "3"]),
    ("read 1 -f hex --length 100", &["1", "2", "3"]),
    ("create 4 --size 1", &["1", "2", "3"]),
    ("create 4 --size 1 -q", &["1", "2", "3"]),
    ("create 4 --size 1 -f json", &["1", "2", "3"]),
    ("create 1 --exist-ok", &["1", "2", "3"]),
    ("create 1 --exist-ok -f json", &["1", "2", "3"]),
    ("remove 1 2", &["3"]),
    ("remove 1 2 -f json", &["3"]),
    ("remove 1 9 --ignore-missing -f json", &["2", "3"]),
    ("remove --all --yes", &[]),
    ("remove --all --dry-run", &["1", "2", "3"]),
    ("remove 3 --wait", &["1", "2"]),
    ("limits", &["1", "2", "3"]),
    ("limits -f json", &["1", "2", "3"]),
    ("metrics", &["1", "2", "3"]),
    ("ftok file", &["1", "2", "3"]),
    ("ftok --find KEY .", &["1", "2", "3"]),
    ("demo", &["1", "2", "3"]),
];

/// Runs a line of [`LINES`] with this standard output, and checks the remaining segments.
#[track_caller]
fn run(ns: &Namespace, (line, left): (&str, &[&str]), out: impl Into<Stdio>) -> Ended {
    ns.file("file", "");
    ns.run(
        "sh",
        ["-ec", "$0 remove --all --yes -q; for key in 1 2 3; do $0 create $key --size 64K -q; done", shmadm_path()],
    );
    let key = ns.shmadm(["ftok", "file"]).ok();
    let words = line.split(' ').map(|word| if word == "KEY" { key.trim() } else { word });
    let ended = ns.command(words).stdin(Stdio::null()).stdout(out).stderr(Stdio::piped()).output();
    let keys: Vec<_> = ns.table().into_iter().map(|row| row.key.clone()).collect();
    // In the order of the kernel's table.
    assert_eq!(keys.len(), left.len(), "{line}: {keys:?}");
    assert!(keys.iter().all(|key| left.contains(&&**key)), "{line}: {keys:?}");
    ended.expect("shmadm").into()
}

fn dev_full() -> File {
    File::options().write(true).open("/dev/full").expect("/dev/full")
}

#[test]
fn a_full_disk_is_exit_1_with_a_message() {
    in_namespace(|ns| {
        for line in LINES {
            let error = run(ns, *line, dev_full()).fails(1);
            let reported = error.strip_prefix("shmadm: cannot write standard output: No space left on device");
            let more = if line.0.contains("create 4") { "; the new segment was removed again\n" } else { "\n" };
            assert_eq!(reported, Some(more), "{line:?}: {error}");
        }
        // A command without output is not affected.
        for line in ["set 1 --mode 640", "remove 2 -q", "write 1 x", "guard -- sh -c :", "guard -- sh -c exit"] {
            let words = line.splitn(5, ' ').collect::<Vec<_>>();
            let quiet = ns.command(words).stdin(Stdio::null()).stdout(dev_full()).stderr(Stdio::piped()).output();
            assert_eq!((Ended::from(quiet.expect("shmadm")).ok()), "", "{line}");
        }
    });
}

#[test]
fn a_closed_pipe_ends_it_quietly() {
    in_namespace(|ns| {
        for line in LINES {
            let (reader, writer) = std::io::pipe().expect("a pipe");
            drop(reader);
            let gone = run(ns, *line, writer);
            assert_eq!((gone.signal, gone.err.as_str()), (Some(13), ""), "{line:?}");
        }
    });
}

#[test]
fn a_pipe_that_is_closed_later_ends_it_quietly() {
    in_namespace(|ns| {
        let make = "for my $key (1 .. 250) { shmget($key, 1, 01600) // die $! }";
        ns.run("perl", ["-e", make]);
        let all = (1..=250).map(|key| key.to_string()).collect::<Vec<_>>().join(" ");
        for (line, fits) in [
            ("list -f json", false),
            ("stat ALL", false),
            ("stat ALL -f json", false),
            // The output fits into a pipe, so the command may finish before the pipe is closed.
            ("remove ALL", true),
        ] {
            let line = format!("($0 {}; echo $? >&2) | head -c 1 >/dev/null", line.replace("ALL", &all));
            let ended = ended(ns.program("sh").args(["-c", &line, shmadm_path()]));
            assert!(
                ended.code == Some(0) && (ended.err == "141\n" || fits && ended.err == "0\n"),
                "{line:.30} {ended:?}"
            );
        }
    });
}

#[test]
fn an_unwritable_report_is_exit_1_if_the_command_succeeded() {
    const LEAK: &str = "shmget(1, 1, 01600) // die";
    in_namespace(|ns| {
        for way in [&[][..], &["--shared"]] {
            for (more, command, status, lines) in [
                (&[][..], &["true"][..], 1, 1),
                (&["--exit-code=9"], &["true"], 1, 1),
                (&[], &["sh", "-c", "exit 7"], 7, 1),
                (&[], &["sh", "-c", "kill -9 $$"], 137, 1),
                (&[], &["./none"], 127, 2),
                (&["--remove", "--exit-code=9"], &["perl", "-e", LEAK], 9, 4),
                // The leak itself does not change the status, but the report failed.
                (&["--remove", "--exit-code=0"], &["perl", "-e", LEAK], 1, 4),
            ] {
                let words = [&["guard", "--report", "/dev/full"], way, more, &["--"], command].concat();
                let ended = ns.shmadm(&words);
                // Indented lines say how a leak came about.
                let reported = ended.err.lines().filter(|line| !line.starts_with("shmadm:    ")).count();
                assert_eq!((ended.code, reported), (Some(status), lines), "{words:?}: {ended:?}");
                let last = ended.err.lines().last();
                assert_eq!(last, Some("shmadm: cannot write /dev/full: No space left on device"), "{words:?}");
                assert!(ns.table().is_empty(), "{words:?}");
            }
        }
    });
}

#[test]
fn a_full_disk_keeps_the_old_file() {
    in_namespace(|ns| {
        ns.shmadm(["create", "1", "--size", "1"]).ok();
        // The old file takes one page and a filler the other, so there is room for a new name, but for no byte.
        let script = "mkdir full; mount -t tmpfs -o size=8k none full; echo old > full/old; echo x > full/fills
             for file in full/old full/new; do
                 $0 metrics -o $file || echo $?
                 $0 guard --report $file -- true || echo $?
                 $0 guard --report $file -- sh -c 'exit 7' || echo $?
                 $0 guard --shared --report $file -- true || echo $?
             done 2>&1; ls -A full; cat full/old; rm full/fills; $0 metrics -o full/old; $0 metrics | cmp - full/old";
        let seen = ns.run("unshare", ["--mount", "sh", "-ec", script, shmadm_path()]);
        let mut expected = String::new();
        for file in ["full/old", "full/new"] {
            for status in [1, 1, 7, 1] {
                expected += &format!("shmadm: cannot write {file}: No space left on device\n{status}\n");
            }
        }
        assert_eq!(seen, expected + "fills\nold\nold\n");
    });
}

#[test]
fn output_that_failed_is_not_printed_at_exit() {
    in_namespace(|ns| {
        needs(Need::Strace);
        // The disk is full only for a moment. The buffer must not be written again at exit.
        for line in ["create 42 --size 4096", "list", "list -f json"] {
            let mut strace = ns.program("strace");
            strace.args(["-qq", "-o", "log", "-e", "trace=write", "-e", "inject=write:error=ENOSPC:when=1", "--"]);
            let failed = ended(strace.arg(shmadm_path()).args(line.split(' ')));
            assert_eq!((failed.code, failed.out.contains("create")), (Some(1), false), "{line}: {failed:?}");
            assert!(failed.err.contains("cannot write standard output"), "{line}: {failed:?}");
            assert!(ns.table().is_empty(), "{line}");
        }
    });
}
