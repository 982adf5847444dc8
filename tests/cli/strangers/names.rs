//! Invalid names of users and groups, in /etc/passwd and /etc/group of a mount namespace.

use nix::unistd::geteuid;

use super::*;
use crate::support::{Ended, shmadm_path, with_input};

/// Returns names of users. One has terminal control sequences, changes the direction of text and is not UTF-8; one
/// ends labels, strings, fields and lines of shells; one is longer than most buffers.
fn names() -> [Vec<u8>; 3] {
    [
        b"e\x1b[2J\x1b]0;pwned\x07\xe2\x80\xae\xe2\x81\xa6\xc2\x9b31m\xff\r\x7f".to_vec(),
        br#"e"} 1,'{\n=\"$(id) `id`%s\\"#.to_vec(),
        [&b"e"[..], &[b'x'; 60_000]].concat(),
    ]
}

/// Gives the owner of segments here, and its group, this name.
fn call(ns: &Namespace, name: &[u8]) {
    let uid = if ns.is_root { geteuid().as_raw() } else { 0 };
    ns.file("passwd", [name, format!(":x:{uid}:0::/:/bin/sh\n").as_bytes()].concat());
    ns.file("group", [name, b":x:0:\n"].concat());
}

/// Returns a line of sh in which `$0` is shmadm and the users have those names.
fn named(ns: &Namespace, line: &str) -> Command {
    let mut sh = ns.program("unshare");
    sh.args(["--mount", "sh", "-c"]);
    sh.arg(format!("mount --bind passwd /etc/passwd && mount --bind group /etc/group && {line}"));
    sh.arg(shmadm_path()).stdin(Stdio::null());
    sh
}

/// Returns the result of such a line, which must succeed.
#[track_caller]
fn shown(ns: &Namespace, line: &str) -> Ended {
    let run = ended(&mut named(ns, line));
    assert!(run.code == Some(0), "{line}: {run:.2000?}");
    run
}

#[test]
fn no_name_steers_a_terminal_or_ends_a_line() {
    in_namespace(|ns| {
        ns.shmadm(["create", "1", "--size", "1"]).ok();
        for name in names() {
            call(ns, &name);
            for (line, lines) in FORMATS.into_iter().filter(|(line, _)| line.starts_with("list")).chain([("stat 1", 0)])
            {
                let line = line.replace("-o all", "-o owner,user,group,cuser,cgroup");
                let out = shown(ns, &format!("exec $0 {line}"));
                let expected = if lines == 0 { out.out.lines().count() } else { lines - 2 };
                plain(&line, &out.bytes, expected);
                match line.split_once("-f ").map_or("", |(_, format)| format) {
                    "json" => drop(serde_json::from_slice::<Value>(&out.bytes).expect("JSON")),
                    "csv" => {
                        let mut rows = csv::Reader::from_reader(&out.bytes[..]);
                        let row = rows.records().next().expect("a row").expect("a row");
                        let fields = row.iter().filter(|field| field.len() >= name.len()).count();
                        // OWNER, USER, GROUP, CUSER and CGROUP.
                        assert!(fields >= 5 && rows.records().next().is_none(), "{fields}");
                    }
                    _ => {}
                }
            }
            // The name in a line on standard error.
            let exists = ended(&mut named(ns, "exec $0 create 1 --size 1"));
            plain("create", exists.err.as_bytes(), 1);
            let message = exists.fails(1);
            let owner = message.split_once("owner e").and_then(|(_, rest)| rest.split_once("); use --exist-ok"));
            assert!(owner.is_some_and(|(rest, _)| rest.len() >= name.len() - 1), "{message:.2000}");
            // The error for an unknown name repeats the typed word, which may come from another program.
            let mut unknown = ns.command(["list", "--owner"]);
            let unknown = ended(unknown.arg(OsStr::from_bytes(&name)).stdin(Stdio::null()));
            assert_eq!(unknown.code, Some(2), "{unknown:.2000?}");
            plain("--owner", unknown.err.as_bytes(), unknown.err.lines().count());
        }
    });
}

#[test]
fn metrics_are_valid_for_every_name_of_an_owner() {
    in_namespace(|ns| {
        ns.shmadm(["create", "1", "--size", "1"]).ok();
        let lines = ns.shmadm(["metrics"]).ok().lines().count();
        for name in names() {
            call(ns, &name);
            let out = shown(ns, "exec $0 metrics");
            plain("metrics", &out.bytes, lines);
            let labels = out.out.lines().filter(|line| line.contains("=\"e")).count();
            assert!(labels >= 5, "{labels} of {lines}: {:.2000}", out.out);
            let checked = with_input(ns.program("promtool").args(["check", "metrics"]), &out.bytes);
            assert_eq!((checked.code, &*checked.out, &*checked.err), (Some(0), "", ""), "{:.2000}", out.out);
        }
    });
}

#[test]
fn each_watched_event_is_one_line() {
    in_namespace(|ns| {
        for name in names() {
            call(ns, &name);
            for format in ["text", "jsonl"] {
                // The segment is created, changed and removed, with several polls in between.
                let line = format!(
                    "$0 watch --source poll --for 2m --interval 10ms --count 3 -f {format} 2>err & until grep -q watching err; do sleep .01; done
                     $0 create 7 --size 1 -q >id; sleep .1; $0 set 7 --mode 640; sleep .1; $0 remove 7 -q; wait $!"
                );
                ns.file("err", "");
                let out = shown(ns, &line);
                plain(&line, &out.bytes, 3);
                if format == "jsonl" {
                    let events = out.out.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
                    let users = events.map(|event| event["segment"]["user"].to_string());
                    assert!(users.into_iter().all(|user| user.len() > name.len()), "{:.2000}", out.out);
                }
            }
        }
    });
}

#[test]
fn a_leak_is_reported_without_control_sequences() {
    const LEAK: &str = "perl -e 'shmget(7, 1, 01600) // die'";
    in_namespace(|ns| {
        for name in names() {
            call(ns, &name);
            for way in ["", "--shared"] {
                let line = format!("exec $0 guard {way} --remove --exit-code 0 --report report -- {LEAK}");
                let out = shown(ns, &line);
                plain(&line, out.err.as_bytes(), out.err.lines().count());
                let report = std::fs::read(ns.path("report")).expect("the report");
                plain(&line, &report, 1);
                let report: Value = serde_json::from_slice(&report).expect("JSON");
                let user = report["leaked"][0]["user"].to_string();
                assert!(user.len() > name.len() && user.starts_with("\"e"), "{line}: {user:.200}");
            }
        }
    });
}
