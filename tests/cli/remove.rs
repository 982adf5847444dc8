//! `shmadm remove`.

mod interrupted;

use std::fs::{self, File};
use std::process::Stdio;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::support::{Ended, Namespace, Running, ended, in_namespace, in_namespace_as_root, line_of, wait_until};

/// Creates segments with these keys in perl, each of 100 bytes and with mode 0600. Their identifiers are 0, 1, 2 and so
/// on.
fn create(ns: &Namespace, keys: impl IntoIterator<Item = i32>) {
    let words = keys.into_iter().map(|key| key.to_string());
    let args = ["-e", "shmget($_, 100, 01600) // die $! for @ARGV", "--"].map(str::to_owned);
    ns.run("perl", args.into_iter().chain(words));
}

/// Returns the keys in the kernel's table.
fn keys(ns: &Namespace) -> Vec<String> {
    ns.table().into_iter().map(|row| row.key.clone()).collect()
}

/// Parses the output of `-f json`.
#[track_caller]
fn report(ended: &Ended) -> Value {
    serde_json::from_str(&ended.out).unwrap_or_else(|error| panic!("{error}: {ended:?}"))
}

#[test]
fn every_notation_names_its_segment() {
    in_namespace(|ns| {
        let program = ns.compile("maker");
        ns.file("file", "");
        for name in ["42", "0x2a", "052", "ftok:A:file", "ftok:65:file"] {
            create(ns, [42]);
            ended(&mut ns.program(&program)).ok();
            ns.shmadm(["remove", name]).ok();
            let left = keys(ns);
            assert_eq!((left.len(), left.contains(&"42".to_owned())), (1, name.starts_with("ftok")), "{name}");
            ns.run("ipcrm", ["--all=shm"]);
        }
        // The kernel's table shows keys from 0x80000000 on as negative numbers.
        for name in ["-743314431", "0xd3b1ec01", "3551652865"] {
            create(ns, [-743_314_431]);
            ns.shmadm(["remove", name]).ok();
            assert_eq!(keys(ns), [""; 0], "{name}");
        }
    });
}

#[test]
fn segments_that_other_tools_created_or_removed() {
    in_namespace(|ns| {
        // The first identifier of a namespace is 0. The key from ipcmk is 0 or random.
        assert_eq!(ns.run("ipcmk", ["-M", "4096"]), "Shared memory id: 0\n");
        ns.shmadm(["remove", "id:0"]).ok();
        assert_eq!(keys(ns), [""; 0]);
        create(ns, [42]);
        ns.run("ipcrm", ["-M", "42"]);
        ns.shmadm(["remove", "42"]).fails(3);
    });
}

#[test]
fn each_removed_segment_is_a_line() {
    in_namespace(|ns| {
        create(ns, [1, 2, 3, 4, 5, 6]);
        assert_eq!(
            ns.shmadm(["remove", "3", "id:0", "0x2"]).ok(),
            "removed segment 0x00000003 (id 2, 100 bytes)\n\
             removed segment 0x00000001 (id 0, 100 bytes)\n\
             removed segment 0x00000002 (id 1, 100 bytes)\n"
        );
        assert_eq!(ns.shmadm(["rm", "4"]).ok(), "removed segment 0x00000004 (id 3, 100 bytes)\n");
        assert_eq!(ns.shmadm(["remove", "-q", "5"]).ok(), "");
        assert_eq!(keys(ns), ["6"]);
    });
}

#[test]
fn a_missing_one_is_exit_3_and_the_rest_is_removed() {
    in_namespace(|ns| {
        create(ns, [1, 2, 3, 4]);
        let missing = ns.shmadm(["remove", "1", "9", "id:4", "2"]);
        assert_eq!((missing.code, missing.out.lines().count()), (Some(3), 2), "{missing:?}");
        let lines: Vec<_> = missing.err.lines().collect();
        assert!(lines.len() == 2 && lines.iter().all(|line| line.starts_with("shmadm: ")), "{lines:?}");
        assert!(lines[0].contains("0x00000009") && lines[1].contains("id:4"), "{lines:?}");
        assert_eq!(keys(ns), ["3", "4"]);

        let ignored = ns.shmadm(["remove", "9", "3", "id:5", "--ignore-missing"]);
        assert_eq!(ignored.err, "");
        assert_eq!(ignored.ok(), "removed segment 0x00000003 (id 2, 100 bytes)\n");
        // Another failure takes precedence over a missing segment. --ignore-missing applies to segments, not to the
        // paths of keys.
        ns.shmadm(["remove", "ftok:A:missing", "--ignore-missing"]).fails(1);
        assert_eq!(ns.shmadm(["remove", "9", "ftok:A:missing", "4"]).code, Some(1));
        assert_eq!(keys(ns), [""; 0]);
    });
}

#[test]
fn a_segment_named_twice_is_removed_once() {
    in_namespace(|ns| {
        create(ns, [42]);
        let removed = ns.shmadm(["remove", "42", "id:0", "0x2a", "42"]);
        assert_eq!(removed.err, "");
        assert_eq!(removed.ok(), "removed segment 0x0000002a (id 0, 100 bytes)\n");
    });
}

#[test]
fn a_dry_run_says_what_it_would_do_and_does_nothing() {
    in_namespace(|ns| {
        create(ns, [1, 2]);
        let holder = ns.hold(["read", "2", "--hold"]);
        let before = ns.table();
        for option in ["-n", "--dry-run"] {
            let lines = ns.shmadm(["remove", "1", "2", option]).ok();
            let lines: Vec<_> = lines.lines().collect();
            assert!(lines[0].starts_with("KEY ") && lines[0].ends_with(" IDLE  COMMAND"), "{lines:?}");
            assert!(lines[1].starts_with("0x00000001") && lines[2].starts_with("0x00000002"), "{lines:?}");
            assert!(lines[4].starts_with("OWNER ") && lines[4].ends_with(" ATTACHED  ORPHANS"), "{lines:?}");
            assert!(lines[5].split_whitespace().skip(1).eq(["2", "200", "0", "0", "1", "1"]), "{lines:?}");
            assert_eq!(lines[7..], ["would remove 2 segments (200 bytes), 1 of them attached"]);
            assert_eq!(ns.shmadm(["remove", "1", "2", option, "-q"]).ok(), "");
        }
        let one = ns.shmadm(["remove", "--attached", "--include-attached", "-n"]).ok();
        assert!(one.ends_with("\nwould remove 1 segment (100 bytes), which is attached\n"), "{one}");
        // A dry run does not wait either, and reports missing segments.
        ns.shmadm(["remove", "2", "--dry-run", "--wait"]).ok();
        ns.shmadm(["remove", "9", "--dry-run"]).fails(3);
        assert_eq!(ns.table(), before);
        drop(holder);
    });
}

#[test]
fn json_reports_the_outcome_for_each() {
    in_namespace(|ns| {
        create(ns, [1, 2, 3]);
        let _holder = ns.hold(["read", "2", "--hold"]);
        let segment = |key: &str, id: Value, size: Value, outcome: &str| json!({"key": key, "id": id, "size": size, "outcome": outcome, "error": null});
        let dry = ns.shmadm(["remove", "1", "-n", "-f", "json"]).json();
        assert_eq!(dry, json!({"removed": [segment("0x00000001", 0.into(), 100.into(), "would-remove")]}));

        let removed = ns.shmadm(["remove", "1", "2", "9", "id:7", "-f", "json"]);
        assert_eq!((removed.code, removed.err.lines().count()), (Some(3), 2), "{removed:?}");
        let mut list = report(&removed);
        // The errors are those of standard error, with the errno of the call that failed.
        for (entry, (line, errno)) in [2, 3].into_iter().zip(removed.err.lines().zip(["ENOENT", "EINVAL"])) {
            let error = list["removed"][entry]["error"].take();
            assert_eq!(format!("{line}\n"), line_of(&error));
            assert_eq!(error["errno"], errno);
        }
        let by_id = json!({"key": null, "id": 7, "size": null, "outcome": "missing", "error": null});
        let expected = json!({"removed": [
            segment("0x00000001", 0.into(), 100.into(), "removed"),
            segment("0x00000002", 1.into(), 100.into(), "marked"),
            segment("0x00000009", Value::Null, Value::Null, "missing"),
            by_id,
        ]});
        assert_eq!(list, expected);

        let failed = ns.shmadm(["remove", "ftok:A:missing", "-f", "json"]);
        let list = report(&failed);
        assert_eq!((failed.code, &list["removed"][0]["outcome"]), (Some(1), &json!("failed")), "{list}");
        assert_eq!(list["removed"][0]["error"]["errno"], "ENOENT");
    });
}

#[test]
fn an_attached_one_is_marked_and_its_key_is_free() {
    in_namespace(|ns| {
        create(ns, [42]);
        let holders = [ns.hold(["read", "42", "--hold"]), ns.hold(["attach-write", "42", "x", "--hold"])];
        let marked = ns.shmadm(["remove", "42"]).ok();
        assert!(marked.starts_with("marked for destruction: segment 0x0000002a (id 0, 100 bytes)"), "{marked}");
        assert!(marked.ends_with(&format!(", 2 attachments left: shmadm{}(2)\n", ns.doubt())), "{marked}");
        let row = ns.row(0).expect("the segment");
        assert_eq!((row.key.as_str(), row.mode.as_str()), ("0", "1600"));
        ns.shmadm(["remove", "42"]).fails(3);
        ns.shmadm(["create", "42", "--size", "1"]).ok();
        // Removed again by its identifier, the only name left.
        let [first, last] = holders;
        first.end(Signal::SIGTERM);
        let marked = ns.shmadm(["remove", "id:0"]).ok();
        assert!(marked.starts_with("marked") && marked.contains("1 attachment left"), "{marked}");
        last.end(Signal::SIGTERM);
        ns.shmadm(["remove", "id:0"]).fails(3);
        assert_eq!(keys(ns), ["42"]);
    });
}

#[test]
fn wait_returns_with_the_last_detach() {
    in_namespace(|ns| {
        create(ns, [1, 2]);
        let holder = ns.hold(["read", "2", "--hold"]);
        let out = File::create(ns.path("out")).expect("a file");
        let waiter = ns.command(["remove", "1", "2", "--wait"]).stdin(Stdio::null()).stdout(out).spawn();
        let mut waiter = Running(waiter.expect("shmadm"));
        wait_until("it is marked", || ns.row(1).is_some_and(|row| row.mode == "1600"));
        assert_eq!(waiter.0.try_wait().expect("its state"), None);
        holder.end(Signal::SIGTERM);
        wait_until("it returns", || waiter.0.try_wait().expect("its state").is_some());
        assert!(waiter.0.wait().expect("its exit status").success());
        let lines = "removed segment 0x00000001 (id 0, 100 bytes)\nremoved segment 0x00000002 (id 1, 100 bytes)\n";
        assert_eq!(fs::read_to_string(ns.path("out")).expect("its lines"), lines);
        assert_eq!(keys(ns), [""; 0]);
    });
}

#[test]
fn a_timed_out_wait_is_exit_1_and_names_the_remaining_segments() {
    in_namespace(|ns| {
        create(ns, [1]);
        let _holder = ns.hold(["read", "1", "--hold"]);
        let start = Instant::now();
        let error = ns.shmadm(["remove", "1", "--wait=100ms"]).fails(1);
        assert!(start.elapsed() >= Duration::from_millis(100));
        assert!(
            error.contains("id:0") && error.contains("1 attachment ") && !error.contains("1 attachments"),
            "{error}"
        );
        let waited = ns.shmadm(["remove", "id:0", "--wait=0s", "-f", "json"]);
        let entry = &report(&waited)["removed"][0];
        assert_eq!((waited.code, &entry["outcome"]), (Some(1), &json!("marked")), "{entry}");
        assert!(entry["error"]["message"].is_string(), "{entry}");
    });
}

#[test]
fn segments_of_others_stay_and_own_ones_are_removed() {
    in_namespace_as_root(|ns| {
        create(ns, [1]);
        // The permission to remove does not depend on the mode.
        ns.shmadm_unprivileged(["create", "2", "--size", "100", "--mode", "000"]).ok();
        ns.shmadm_unprivileged(["create", "3", "--size", "100"]).ok();
        let denied = ns.shmadm_unprivileged(["remove", "2", "1", "3", "-f", "json"]);
        assert_eq!(keys(ns), ["1"]);
        let list = report(&denied);
        assert!(denied.fails(1).contains("segment 0x00000001 (id 0)"));
        let outcomes: Vec<_> = (0..3).map(|n| list["removed"][n]["outcome"].clone()).collect();
        assert_eq!(outcomes, ["removed", "failed", "removed"]);
        assert_eq!(list["removed"][1]["error"]["errno"], "EPERM");
        // --ignore-missing does not hide this error. The creator may remove a segment with another owner.
        ns.shmadm_unprivileged(["remove", "1", "--ignore-missing"]).fails(1);
        ns.shmadm(["create", "4", "--size", "1", "--owner", "1234"]).ok();
        ns.shmadm_unprivileged(["remove", "4"]).ok();
    });
}

#[test]
fn two_at_once_leave_nothing_and_do_not_fail() {
    in_namespace(|ns| {
        create(ns, 1..=500);
        let names = || (1..=500).map(|key: i32| key.to_string());
        let removers = [(), ()].map(|()| {
            let mut command = ns.command(["remove".to_owned()].into_iter().chain(names()));
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("shmadm")
        });
        for remover in removers {
            let ended = Ended::from(remover.wait_with_output().expect("its exit status"));
            assert!(matches!(ended.code, Some(0 | 3)), "{ended:?}");
        }
        assert_eq!(keys(ns), [""; 0]);
    });
}

#[test]
fn thousands_are_removed_by_one_command() {
    in_namespace(|ns| {
        create(ns, 1..=2000);
        let names = ns.table().into_iter().map(|row| format!("id:{}", row.id));
        let removed = ns.shmadm(["remove".to_owned()].into_iter().chain(names)).ok();
        assert_eq!(removed.lines().count(), 2000);
        assert_eq!(keys(ns), [""; 0]);
    });
}

#[test]
fn a_bad_word_among_good_ones_removes_nothing() {
    in_namespace(|ns| {
        create(ns, [1, 2]);
        // ipcrm accepts some of these as id 0 or key 1.
        for word in ["", "0x100000001", "id:", "0", "1x"] {
            ns.shmadm(["remove", "1", word, "2"]).usage_error();
        }
        assert_eq!(keys(ns), ["1", "2"]);
    });
}
