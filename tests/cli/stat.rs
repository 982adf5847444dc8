//! `stat`: all fields of a segment, from IPC_STAT and the kernel's table, and the output if one of them is missing.

use std::os::unix::fs::MetadataExt;

use serde_json::{Value, json};

use crate::support::{
    Ended, Namespace, Row, Running, ended, in_namespace, line_of, on_terminal, shmadm_path, wait_until,
};

/// Runs `stat` with these words.
#[track_caller]
fn stat(ns: &Namespace, words: &str) -> Ended {
    ns.shmadm(["stat"].into_iter().chain(words.split(' ')))
}

/// Runs a perl program that creates segments and ends.
#[track_caller]
fn perl(ns: &Namespace, program: &str) {
    ns.run("perl", ["-e", program]);
}

/// Returns the value on the line of text that has this name.
#[track_caller]
fn field<'a>(text: &'a str, name: &str) -> &'a str {
    let named = |line: &'a str| line.trim_start().strip_prefix(name)?.strip_prefix("  ");
    text.lines().find_map(named).unwrap_or_else(|| panic!("no line {name:?} in {text}"))
}

/// Returns the row of the kernel's table.
#[track_caller]
fn row(ns: &Namespace, id: i32) -> Row {
    ns.row(id).expect("a row")
}

/// Returns the values of `ipcs -m -i`, by their names.
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
        let date = |time: &str| ns.run("date", ["-d", &format!("@{time}"), "+%Y-%m-%dT%H:%M:%S%:z"]);
        for (name, value) in [
            ("key", "0xd3b1ec01".into()),
            ("id", "0".into()),
            ("size", "12345 bytes (12.1K)".into()),
            ("owner", "root (uid 0), group root (gid 0)".into()),
            ("creator", "root (uid 0), group root (gid 0)".into()),
            ("created by", format!("process {} (exited)", row.cpid)),
            (
                "last used by",
                format!("process {} (alive): {} write 0xd3b1ec01 some text --hold", holder.pid(), shmadm_path()),
            ),
            ("attachments", "1".into()),
            ("last detach", "never".into()),
        ] {
            assert_eq!(field(&text, name), value, "{name}: {text}");
        }
        assert!(field(&text, "resident").starts_with(&format!("{} bytes (", row.rss)), "{text}");
        assert_eq!(field(&text, "swapped"), format!("{} bytes", row.swap));
        for (name, stamp) in [("last attach", &row.atime), ("last change", &row.ctime)] {
            let (time, ago) = field(&text, name).split_once(' ').expect("a time and an age");
            assert_eq!(time, date(stamp).trim_end(), "{name}");
            assert!(ago.starts_with('(') && ago.ends_with("s ago)"), "{name}: {ago}");
        }
        assert!(!text.contains("status") && !text.contains("denied"), "{text}");
        let units = text.lines().filter(|line| line.trim_start().starts_with("unit ")).count();
        assert_eq!(
            text.lines().count(),
            14 + 5 + 2 + units,
            "fields, titles of groups, the attachment and its titles: {text}"
        );
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
        expected[0]["charged"] = Value::Null;
        expected[0]["attachments_missing"] = 0.into();
        expected[0]["attachments"] = stat[0]["attachments"].clone();
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
        let row = row(ns, 0);
        for (name, value) in [("rss", row.rss), ("swap", row.swap), ("size", row.size), ("nattch", row.nattch)] {
            assert_eq!(stat[0][name].to_string(), value, "{name}");
        }
    });
}

#[test]
fn segments_are_shown_in_the_order_of_the_command_line() {
    in_namespace(|ns| {
        let file = ns.file("file", "").display().to_string();
        // As ftok(3) defines it.
        let found = std::fs::metadata(&file).expect("the file");
        let key = u64::from(b'A') << 24 | (found.dev() & 0xff) << 16 | (found.ino() & 0xffff);
        perl(ns, &format!("shmget($_, 1, 01600) // die for 42, 0, {key}"));
        let words = format!("ftok:A:{file} id:1 052 id:0");
        let text = stat(ns, &words).ok();
        let keys: Vec<&str> = text.split("\n\n").map(|one| field(one, "key")).collect();
        let expected = [&format!("{key:#010x}"), "0x00000000 (IPC_PRIVATE)", "0x0000002a", "0x0000002a"];
        assert_eq!(keys, expected);
        let json = stat(ns, &format!("{words} -f json")).json();
        let ids = json.as_array().expect("an array").iter().map(|segment| segment["id"].as_i64().expect("an id"));
        assert_eq!(ids.collect::<Vec<_>>(), [2, 1, 0, 0]);
    });
}

#[test]
fn a_missing_segment_is_exit_3_and_json_says_so_too() {
    in_namespace(|ns| {
        perl(ns, "shmget(42, 4096, 01600)");
        // A missing path is a failure and not a missing segment, because there is no key to look up.
        for (word, errno, code) in [
            ("0x99", "ENOENT", 3),
            ("id:1", "EINVAL", 3),
            ("ftok:A:/", "ENOENT", 3),
            ("ftok:A:/not/there", "ENOENT", 1),
        ] {
            let text = stat(ns, word);
            assert_eq!(text.out, "");
            let line = text.fails(code);
            let failed = stat(ns, &format!("{word} -f json"));
            let json: Value = serde_json::from_str(&failed.out).expect("JSON");
            assert_eq!(line, line_of(&json[0]["error"]));
            assert_eq!(json, json!([{ "segment": json[0]["segment"], "error": json[0]["error"] }]));
            assert_eq!(json[0]["error"]["errno"], errno);
            assert_eq!(failed.fails(code), line);

            // The other segment is shown.
            for words in [format!("42 {word}"), format!("{word} 42")] {
                let both = stat(ns, &words);
                assert_eq!(field(&both.out, "key"), "0x0000002a", "{words}");
                assert_eq!(both.fails(code), line, "{words}");
                let both = stat(ns, &format!("{words} -f json"));
                let json: Value = serde_json::from_str(&both.out).expect("JSON");
                assert!(json.as_array().expect("an array").iter().any(|found| found["size"] == 4096), "{json}");
                assert_eq!(both.fails(code), line, "{words}");
            }
        }
        // A failure takes precedence over a missing segment.
        assert_eq!(stat(ns, "0x99 ftok:A:/not/there 42").code, Some(1));
    });
}

#[test]
fn the_table_stands_in_where_ipc_stat_is_denied() {
    in_namespace(|ns| {
        perl(ns, "shmget(1, 4097, 01000); shmget(2, 1, 01444)");
        let text = ns.shmadm_unprivileged(["stat", "1"]).ok();
        assert!(field(&text, "denied").starts_with("IPC_STAT: permission denied"), "{text}");
        // All other fields are shown.
        let privileged = stat(ns, "1").ok();
        for name in ["key", "id", "status", "size", "resident", "swapped", "mode", "owner", "created by", "attachments"]
        {
            assert_eq!(field(&text, name), field(&privileged, name));
        }
        assert!(!privileged.contains("denied"));
        let both = ns.shmadm_unprivileged(["stat", "id:0", "id:1", "-f", "json"]).json();
        let mut expected = stat(ns, "id:0 id:1 -f json").json();
        assert!(both[0]["denied"].as_str().is_some_and(|why| why.contains("permission denied")), "{both}");
        expected[0]["denied"] = both[0]["denied"].clone();
        assert_eq!(both, expected);
    });
}

#[test]
fn the_status_is_explained() {
    in_namespace(|ns| {
        ns.shmadm(["create", "1", "--size", "4096", "--lock"]).ok();
        let text = stat(ns, "1").ok();
        assert!(field(&text, "status").starts_with("locked (") && text.contains("orphan ("), "{text}");
        let _holder = ns.hold(["read", "1", "--hold"]);
        ns.run("ipcrm", ["-m", "0"]);
        assert_eq!(row(ns, 0).mode, "3600", "the kernel's own flags");
        let text = stat(ns, "id:0").ok();
        assert!(field(&text, "status").starts_with("dest (") && text.contains("locked ("), "{text}");
        assert!(!text.contains("orphan"), "{text}");
        // It has lost its key and can be named only by its identifier.
        assert!(field(&text, "key").starts_with("0x00000000 ("), "{text}");
        stat(ns, "1").fails(3);
        assert_eq!(stat(ns, "id:0 -f json").json()[0]["status"], json!(["dest", "locked"]));
    });
}

#[test]
fn permissions_are_in_words() {
    in_namespace(|ns| {
        let modes = [
            ("0640", "owner read+write, group read, others none"),
            ("0777", "owner read+write, group read+write, others read+write"),
            ("0421", "owner read, group write, others none"),
            ("0006", "owner none, group none, others read+write"),
        ];
        for (id, (mode, words)) in modes.into_iter().enumerate() {
            perl(ns, &format!("shmget(0, 1, 01000 | {mode})"));
            assert_eq!(field(&stat(ns, &format!("id:{id}")).ok(), "mode"), format!("{mode} ({words})"));
        }
    });
}

#[test]
fn memory_and_sizes_are_exact() {
    in_namespace(|ns| {
        // SHM_NORESERVE, so that it fits on any machine. One byte makes the size too precise for a double.
        perl(ns, "shmget(1, (1 << 62) + 1, 011600) // die");
        assert!(stat(ns, "1 -f json").ok().contains("\"size\":4611686018427387905,"));
        assert_eq!(field(&stat(ns, "1").ok(), "size"), "4611686018427387905 bytes (4E)");
        perl(ns, "my $id = shmget(2, 1 << 20, 01600); shmwrite($id, 'x', 0, 1) || die");
        let resident = row(ns, 1).rss;
        assert_ne!(resident, "0");
        assert!(stat(ns, "2 -f json").ok().contains(&format!("\"rss\":{resident},\"swap\":0,")));
        let text = stat(ns, "2").ok();
        assert!(field(&text, "resident").starts_with(&format!("{resident} bytes (")), "{text}");
        assert_eq!(field(&text, "swapped"), "0 bytes");
    });
}

#[test]
fn trace_shows_the_calls() {
    in_namespace(|ns| {
        perl(ns, "shmget(0x2a, 4096, 01000)");
        let trace = stat(ns, "0x2a --trace").err;
        let calls: Vec<&str> = trace.lines().collect();
        assert!(calls.iter().any(|call| call.starts_with("shmget(0x0000002a, 0, 0") && call.ends_with(") = 0")));
        let stat = calls.iter().find(|call| call.starts_with("shmctl(0, IPC_STAT, {")).expect("the call");
        assert!(stat.contains("shm_segsz=4096, ") && stat.ends_with("}) = 0"), "{stat}");
        let trace = ns.shmadm_unprivileged(["stat", "0x2a", "--trace"]).err;
        let denied = trace.lines().find(|call| call.starts_with("shmctl(0, IPC_STAT, 0x")).expect("the call");
        assert!(denied.ends_with(") = -1 EACCES (Permission denied)"), "{denied}");
    });
}

#[test]
fn a_creators_command_cannot_forge_a_line() {
    in_namespace(|ns| {
        let script = r#"shmget(1, 1, 01600); print qx("$ARGV[0]" stat 1)"#;
        let shown = ["-e", script, shmadm_path(), "\x1b[2J\n  owner  nobody"];
        let text = ended(ns.program("perl").args(shown)).ok();
        assert!(field(&text, "created by").ends_with(r"\x1b[2J\x0a  owner  nobody"), "{text}");
        assert!(field(&text, "owner").starts_with("root (uid 0)"), "{text}");
    });
}

#[test]
fn on_a_terminal_no_line_is_too_wide_and_nothing_but_a_command_is_cut() {
    in_namespace(|ns| {
        // Characters with a width of two columns, and a very long command line.
        let named = |key: &str, name: &str| {
            let held = r#"exec -a "$0" "$1" write "$2" x --create 64K --hold"#;
            let mut shell = ns.program("bash");
            let shell = shell.args(["-c", held, name, shmadm_path(), key]);
            Running(shell.stderr(std::process::Stdio::null()).spawn().expect("bash"))
        };
        let (wide, long) = ("\u{6f22}\u{5b57}".repeat(60), "word ".repeat(700));
        let _held = [named("1", &wide), named("2", &long)];
        wait_until("both are attached", || {
            let table = ns.table();
            table.len() == 2 && table.iter().all(|row| row.nattch == "1")
        });
        let whole = stat(ns, "1 2").ok();
        assert!(whole.contains(&wide) && whole.contains(long.trim_end()), "a pipe has all of it");
        let squeezed = |text: &str| text.split_whitespace().collect::<String>();
        for columns in [40, 59, 60, 80, 200] {
            let shown = on_terminal(ns, &format!("rows 24 cols {columns}"), "$SHMADM --color never stat 1 2");
            let file = ns.file("shown", &shown);
            let measured = ended(ns.program("wc").arg("-L").arg(file).env("LC_ALL", "C.UTF-8")).ok();
            let widest: usize = measured.split(' ').next().and_then(|width| width.parse().ok()).expect("a width");
            assert!(widest <= columns, "{widest} of {columns} columns:\n{shown}");
            assert!(shown.matches('…').count() >= 3, "what is cut is marked:\n{shown}");
            assert!(shown.lines().count() < 80, "{shown}");
            let words = squeezed(&shown);
            for name in ["mode", "owner", "size", "last detach", "attachments"] {
                let expected = squeezed(&format!("{name}{}", field(&whole, name)));
                assert!(words.contains(&expected), "{expected} in {shown}");
            }
            // No line break within a time.
            assert!(shown.lines().filter(|line| line.contains("+00:00")).count() == 4, "{shown}");
            assert_eq!(shown.contains("[#.........]"), columns < 60, "{shown}");
        }
    });
}
