//! Removal by filter with other users, concurrent removals, processes that attach, and unusable files.

use std::io::{Read, Write};

use super::*;
use crate::support::{Need, needs};

/// Changes a segment by IPC_SET, at least a second after its last change.
#[track_caller]
fn move_ctime(ns: &Namespace, id: i32) {
    let ctime = || ns.row(id).expect("a row").ctime.clone();
    let (program, old) = (ns.compile("ipc_set"), ctime());
    wait_until("its ctime has moved", || {
        assert_eq!(ended(ns.program(&program).arg(id.to_string())).code, Some(0));
        ctime() != old
    });
}

#[test]
fn a_named_segment_that_the_filters_do_not_match_is_skipped() {
    in_namespace(|ns| {
        let [small, large, other] = ["1 -s 1", "2 -s 8K", "3 -s 8K"].map(|words| create(ns, words));
        let skipped = run(ns, "remove 1 2 --min-size 8K -f json");
        assert_eq!((skipped.err.lines().count(), skipped.err.starts_with("shmadm: ")), (1, true), "{skipped:?}");
        assert!(skipped.err.contains("0x00000001"), "{skipped:?}");
        let expected = [(small, "skipped".to_owned()), (large, "removed".to_owned())].into();
        assert_eq!(outcomes(&skipped.ok()), expected);
        assert_eq!(existing(ns), [small, other]);
        // A named segment is not skipped if it is attached. A missing one still gives exit status 3.
        let _holder = hold(ns, other);
        let gone = run(ns, "remove 9 3 1 --min-size 8K");
        assert!(gone.code == Some(3) && gone.err.lines().count() == 2, "{gone:?}");
        assert!(is_marked(ns, other) && existing(ns) == [small, other]);
    });
}

#[test]
fn changes_during_the_question_are_seen_before_the_removal() {
    in_namespace(|ns| {
        let [used, set, gone, idle] = ["1 -s 1", "2 -s 1", "3 -s 1", "4 -s 1"].map(|words| create(ns, words));
        let line = format!("{} remove --unattached -f json 2>/dev/tty", shmadm_path());
        let mut script = ns.program("script");
        script.args(["-qec", &line, "/dev/null"]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut script = Running(script.spawn().expect("script"));
        let mut terminal = script.0.stdout.take().expect("a pipe");
        let (mut shown, mut byte) = (Vec::new(), [0]);
        while !shown.ends_with(b"[y/N] ") {
            terminal.read_exact(&mut byte).expect("the question");
            shown.push(byte[0]);
        }

        let _holder = hold(ns, used);
        move_ctime(ns, set);
        ns.run("ipcrm", ["-m", &gone.to_string()]);
        // Created after the question, so it must stay.
        let new = create(ns, "5 -s 1");
        script.0.stdin.take().expect("a pipe").write_all(b"y\n").expect("the terminal");
        let mut rest = String::new();
        terminal.read_to_string(&mut rest).expect("what it says");
        assert!(script.0.wait().expect("its exit status").success(), "{rest}");
        let json = rest.lines().find(|line| line.starts_with('{')).expect("JSON");
        let mut expected = all(&[used, set], "changed");
        expected.append(&mut all(&[gone, idle], "removed"));
        assert_eq!(outcomes(json), expected);
        assert_eq!(existing(ns), sorted([used, set, new]));
        assert!(!is_marked(ns, used));
    });
}

#[test]
fn the_question_shows_twenty_rows_and_the_sums() {
    in_namespace(|ns| {
        ns.run("sh", ["-c", "for i in $(seq 500); do $0 create private -s 4K -q; done", shmadm_path()]);
        let mut script = ns.program("script");
        let line = format!("stty cols 80; {} --color never remove --orphaned", shmadm_path());
        let mut script = Running(
            script
                .args(["-qec", &line, "/dev/null"])
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()
                .expect("script"),
        );
        let mut stdin = script.0.stdin.take().expect("a pipe");
        stdin.write_all(b"n\n").expect("the terminal");
        let mut shown = String::new();
        script.0.stdout.take().expect("a pipe").read_to_string(&mut shown).expect("what it says");
        assert_eq!(script.0.wait().expect("its exit status").code(), Some(1), "{shown}");
        drop(stdin);
        let lines: Vec<_> = shown.lines().map(str::trim_end).collect();
        let titles = lines.iter().position(|line| line.starts_with("KEY ")).expect("the titles");
        assert!(["OWNER", "SIZE", "IDLE", "COMMAND"].iter().all(|title| lines[titles].contains(title)), "{shown}");
        assert_eq!(lines.iter().filter(|line| line.starts_with("0x")).count(), 20, "{shown}");
        assert!(lines.contains(&"and 480 more; --dry-run shows all"), "{shown}");
        let sums = lines.iter().position(|line| line.starts_with("OWNER ")).expect("the sums");
        assert!(lines[sums + 1].split_whitespace().skip(1).eq(["500", "2M", "0", "0", "0", "500"]), "{shown}");
        assert!(shown.contains("remove 500 segments (2M)? [y/N] "), "{shown}");
        assert!(lines.iter().all(|line| line.chars().count() <= 80), "{shown}");
        assert_eq!(existing(ns).len(), 500);
    });
}

#[test]
fn not_in_selects_only_new_segments() {
    in_namespace(|ns| {
        let [set, marked, kept] = ["1 -s 1", "2 -s 2", "3 -s 3"].map(|words| create(ns, words));
        let _holder = hold(ns, marked);
        let snapshot = run(ns, "list -f json").ok();
        ns.file("before", snapshot);
        assert_eq!(listed(ns, "--not-in before"), NONE);

        move_ctime(ns, set);
        ns.run("ipcrm", ["-m", &marked.to_string()]);
        assert!(is_marked(ns, marked));
        let new = [create(ns, "2 -s 2"), create(ns, "private -s 3")];
        assert_eq!(listed(ns, "--not-in before"), new);
        let removed = run(ns, "remove --not-in before --include-attached -y -f json").ok();
        assert_eq!(outcomes(&removed), all(&new, "removed"));
        assert_eq!(existing(ns), [set, marked, kept]);
    });
}

#[test]
fn a_malformed_snapshot_removes_nothing() {
    in_namespace(|ns| {
        let id = create(ns, "1 -s 1");
        let whole = run(ns, "list -f json").ok();
        let jsonl = run(ns, "list -f jsonl").ok();
        let cut = &whole[..whole.len() / 2];
        let twice = format!("{whole}{whole}");
        let no_id = r#"{"segments":[{"key":"0x00000001","size":1}]}"#;
        let failed = r#"{"error":{"errno":null,"message":"cannot list","hint":null}}"#;
        let bad = ["", "nonsense", "{}", "[]", "[[]]", "null", r#"{"segments":null}"#, no_id, failed, cut, &twice];
        for contents in bad.into_iter().chain([jsonl.as_str()]) {
            ns.file("bad", contents);
            for words in ["remove --not-in bad -y", "list --not-in bad", "remove 1 --not-in bad"] {
                let error = run(ns, words).fails(1);
                assert!(error.contains("bad"), "{contents:?}: {error}");
            }
            assert_eq!(existing(ns), [id], "{contents:?}");
        }
        for words in ["remove --not-in missing -y", "remove --not-in . -y", "remove --all --not-in missing -y"] {
            run(ns, words).fails(1);
            assert_eq!(existing(ns), [id], "{words}");
        }
    });
}

#[test]
fn an_unknown_user_or_a_bad_word_removes_nothing() {
    in_namespace(|ns| {
        let id = create(ns, "1 -s 1");
        for words in [
            "--owner no-such-user",
            "--owner=",
            "--owner -1",
            "--owner 4294967295",
            "--creator-user no-such-user",
            "--group no-such-group",
            "--key 2-1",
            "--key=",
            "--key 0x100000001",
            "--min-size x",
            "--max-size -1",
            "--older-than 1x",
            "--idle=",
        ] {
            for good in ["--unattached --mine -y", "1", "id:0", "--all -y", "-n --all"] {
                run(ns, &format!("remove {good} {words}")).usage_error();
            }
            run(ns, &format!("list {words}")).usage_error();
        }
        for words in ["remove 1 --all", "remove 1 --include-attached", "remove -y --attached --unattached"] {
            run(ns, words).usage_error();
        }
        assert_eq!(existing(ns), [id]);
    });
}

#[test]
fn two_removers_of_the_same_two_thousand_both_succeed() {
    in_namespace(|ns| {
        ns.run("perl", ["-e", "for (1 .. 2000) { defined shmget(0, 1, 01600) or die $! }"]);
        assert_eq!(ns.table().len(), 2000);
        let start = |_| {
            let mut command = ns.command(["remove", "--all", "-y", "-f", "json"]);
            command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("shmadm")
        };
        let removers: Vec<_> = (0..2).map(start).collect();
        let ends: Vec<Ended> =
            removers.into_iter().map(|one| one.wait_with_output().expect("its exit status").into()).collect();
        for end in ends {
            // On a loaded machine, the second may begin when nothing is left.
            let is_late = end.err == "shmadm: no segment matches: nothing to remove\n";
            assert!(end.code == Some(0) && (end.err.is_empty() || is_late), "{end:?}");
            assert!(outcomes(&end.out).values().all(|outcome| outcome == "removed"), "{end:?}");
        }
        assert_eq!(existing(ns), NONE);
    });
}

#[test]
fn attached_segments_survive_and_the_report_on_flickering_ones_is_true() {
    in_namespace(|ns| {
        let mut command = ns.program(ns.compile("flicker"));
        let mut flicker = Running(command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("flicker"));
        let mut lines = BufReader::new(flicker.0.stdout.take().expect("a pipe")).lines();
        let (mut held, mut loose) = (Vec::new(), Vec::new());
        for line in lines.by_ref().map(|line| line.expect("a line")).take_while(|line| line != "ready") {
            let (stays, flickers) = line.split_once(' ').expect("two identifiers");
            held.push(stays.parse::<i32>().expect("an identifier"));
            loose.push(flickers.parse::<i32>().expect("an identifier"));
        }
        assert_eq!((held.len(), loose.len()), (40, 40));

        let mut reported = BTreeMap::new();
        for _ in 0..3 {
            let removed = run(ns, "remove --all -y -f json").ok();
            reported.extend(outcomes(&removed));
        }
        assert!(reported.keys().all(|id| loose.contains(id)), "{reported:?}");
        assert!(
            reported.values().all(|outcome| ["removed", "marked", "changed"].contains(&outcome.as_str())),
            "{reported:?}"
        );
        assert!(reported.values().any(|outcome| outcome != "changed"), "{reported:?}");
        assert!(held.iter().all(|id| ns.row(*id).is_some_and(|row| row.nattch == "1") && !is_marked(ns, *id)));

        drop(flicker.0.stdin.take());
        assert!(flicker.0.wait().expect("its exit status").success());
        let is_left = |id: &i32| reported.get(id).is_none_or(|outcome| outcome == "changed");
        let left = sorted(held.into_iter().chain(loose.into_iter().filter(is_left)));
        assert_eq!(existing(ns), left);
        assert!(!left.iter().any(|id| is_marked(ns, *id)));
    });
}

#[test]
fn segments_of_others_fail_and_the_rest_is_removed() {
    in_namespace_as_root(|ns| {
        let not_theirs = [create(ns, "1 -s 1 -m 666"), create(ns, "2 -s 1 -m 0")];
        let theirs = [create_as_other(ns, "3", "1"), create_as_other(ns, "4", "1")];
        let before = existing(ns);
        let dry = ns.shmadm_unprivileged(["remove", "--all", "-n", "-f", "json"]).ok();
        assert_eq!((outcomes(&dry).len(), existing(ns)), (4, before));
        let removed = ns.shmadm_unprivileged(["remove", "--all", "-y", "-f", "json"]);
        assert_eq!(removed.code, Some(1), "{removed:?}");
        assert_eq!(removed.err.lines().filter(|line| line.starts_with("shmadm: ")).count(), 2, "{removed:?}");
        assert_eq!(removed.err.lines().count(), 2, "{removed:?}");
        let mut expected = all(&not_theirs, "failed");
        expected.append(&mut all(&theirs, "removed"));
        assert_eq!(outcomes(&removed.out), expected);
        let json: Value = serde_json::from_str(&removed.out).expect("JSON");
        assert_eq!(json["removed"][0]["error"]["errno"], "EPERM");
        assert_eq!(existing(ns), not_theirs);
    });
}

#[test]
fn an_orphan_whose_state_becomes_unknown_is_left_for_that_reason() {
    in_namespace(|ns| {
        needs(Need::Strace);
        ended(ns.program("perl").args(["-e", "shmget(1, 1, 01600) // die"])).ok();
        // Without /proc/self it is unknown which processes /proc shows. The second time is right before the removal.
        for filters in ["--orphaned", "--creator-exited"] {
            let inject = "inject=readlink,readlinkat:error=EACCES:when=2";
            let mut strace = ns.program("strace");
            strace.args(["-f", "-qq", "-o", "log", "-P", "/proc/self", "-e", inject, shmadm_path()]);
            let removal = ended(strace.args(["remove", "-y", filters]));
            let told = "alone: whether it still matches the filters is unknown now";
            assert!(removal.code == Some(0) && removal.err.contains(told), "{filters}: {removal:?}");
            assert_eq!(ns.table().len(), 1, "{filters}");
        }
    });
}
