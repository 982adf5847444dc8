//! `stat`: all of one segment, from IPC_STAT and the kernel's table together, and what is said where one is missing.

use serde_json::{Value, json};

use crate::support::{Ended, Namespace, ended, in_namespace};

/// Runs `stat` with these words.
#[track_caller]
fn stat(ns: &Namespace, words: &str) -> Ended {
    ns.shmadm(["stat"].into_iter().chain(words.split(' ')))
}

/// Runs perl, which makes segments and ends.
#[track_caller]
fn perl(ns: &Namespace, program: &str) {
    ns.run("perl", ["-e", program]);
}

/// The value on the line of text that has this name.
#[track_caller]
fn field<'a>(text: &'a str, name: &str) -> &'a str {
    let named = |line: &'a str| line.trim_start().strip_prefix(name)?.strip_prefix("  ");
    text.lines().find_map(named).unwrap_or_else(|| panic!("no line {name:?} in {text}"))
}

/// The row of the kernel's table with the numbers where they are looked for: 3 size, 4 cpid, 5 lpid, 6 nattch, 7 uid,
/// 8 gid, 9 cuid, 10 cgid, 11 atime, 12 dtime, 13 ctime, 14 rss, 15 swap.
#[track_caller]
fn row(ns: &Namespace, id: i32) -> Vec<String> {
    ns.row(id).expect("a row")
}

/// What `ipcs -m -i` says, by its names.
fn ipcs(ns: &Namespace, id: i32) -> Value {
    let text = ns.run("ipcs", ["-m", "-i", &id.to_string()]);
    text.split_whitespace().filter_map(|word| word.split_once('=')).collect()
}

#[test]
fn text_has_every_field_of_the_kernel() {
    in_namespace(|ns| {
        ns.shmadm(["create", "0xd3b1ec01", "--size", "12345", "--mode", "640"]).ok();
        let holder = ns.hold(["write", "0xd3b1ec01", "some text", "--hold"]);
        let text = stat(ns, "0xd3b1ec01").ok();
        let row = row(ns, 0);
        let date = |column: usize| ns.run("date", ["-d", &format!("@{}", row[column]), "+%Y-%m-%dT%H:%M:%S%:z"]);
        for (name, value) in [
            ("key", "0xd3b1ec01".into()),
            ("id", "0".into()),
            ("size", "12345 bytes (12.1K)".into()),
            ("resident", format!("{} bytes (4K)", row[14])),
            ("swapped", format!("{} bytes", row[15])),
            ("owner", "root (uid 0), group root (gid 0)".into()),
            ("creator", "root (uid 0), group root (gid 0)".into()),
            ("created by", format!("process {} (exited)", row[4])),
            ("last used by", format!("process {}", holder.pid())),
            ("attachments", "1".into()),
            ("last detach", "never".into()),
        ] {
            assert_eq!(field(&text, name), value, "{name}: {text}");
        }
        for (name, column) in [("last attach", 11), ("last change", 13)] {
            let (time, ago) = field(&text, name).split_once(' ').expect("a time and an age");
            assert_eq!(time, date(column).trim_end(), "{name}");
            assert!(ago.starts_with('(') && ago.ends_with("s ago)"), "{name}: {ago}");
        }
        assert!(!text.contains("status") && !text.contains("denied"), "{text}");
        assert_eq!(text.lines().count(), 14, "{text}");
    });
}

#[test]
fn json_agrees_with_ipcs_and_list() {
    in_namespace(|ns| {
        ns.shmadm(["create", "7", "--size", "12345", "--mode", "640"]).ok();
        ns.shmadm(["write", "7", "some text"]).ok();
        let _holder = ns.hold(["read", "7", "--hold"]);
        let stat = stat(ns, "7 -f json").json();
        let mut expected = ns.shmadm(["list", "-f", "json"]).json()["segments"].take();
        expected[0]["denied"] = Value::Null;
        assert_eq!(stat, expected);
        let theirs = ipcs(ns, 0);
        for (ours, name) in [
            ("uid", "uid"),
            ("gid", "gid"),
            ("cuid", "cuid"),
            ("cgid", "cgid"),
            ("mode", "access_perms"),
            ("size", "bytes"),
            ("lpid", "lpid"),
            ("cpid", "cpid"),
            ("nattch", "nattch"),
        ] {
            assert_eq!(stat[0][ours].to_string().trim_matches('"'), theirs[name], "{ours}");
        }
        for (name, column) in [("rss", 14), ("swap", 15), ("size", 3), ("nattch", 6)] {
            assert_eq!(stat[0][name].to_string(), row(ns, 0)[column], "{name}");
        }
    });
}
