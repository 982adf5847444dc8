//! Another process removes a segment between its look-up and its use, and new segments reuse its key and its index in
//! the kernel's table. A command then succeeds, finds no such segment, or reports that it changed. It never touches a
//! segment that was not named.

mod paused;
mod steps;

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::process::Stdio;

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::support::{Ended, Namespace, Running, ended, in_namespace, is_installed, shmadm_path, wait_until};

/// How often each command is run. There are about 600 rounds in all.
const ROUNDS: usize = 40;

/// The output of the racer.
#[derive(Debug, Default)]
struct Log {
    /// The key and the mode of each segment that it created, by identifier.
    created: HashMap<String, (String, String)>,
    /// Changes by other processes, each with its identifier.
    touched: Vec<(String, String)>,
}

/// Runs an action against the racer. Returns the racer's output.
fn against_racer(ns: &Namespace, act: impl FnOnce()) -> Log {
    let path = ns.path("log");
    let log = File::create(&path).expect("a file");
    let racer = Running(ns.program(ns.path("racer")).stdout(log).spawn().expect("the racer"));
    wait_until("the racer runs", || !ns.table().is_empty());
    act();
    assert_eq!(racer.end(Signal::SIGTERM), (Some(0), None));
    let mut log = Log::default();
    let text = std::fs::read_to_string(path).expect("the log");
    assert!(text.ends_with("over\n"));
    for line in text.lines() {
        match line.split(' ').collect::<Vec<_>>()[..] {
            ["made", id, key, mode] => {
                let again = log.created.insert(id.into(), (key.into(), format!("{mode:0>4}")));
                assert_eq!(again, None, "an identifier was reused, so the log is ambiguous");
            }
            ["touched", id, "42", how] => log.touched.push((id.into(), how.into())),
            ["over"] => {}
            _ => panic!("not the one that was named: {line}"),
        }
    }
    assert!(log.created.len() > 2 * ROUNDS, "that was no race: {}", log.created.len());
    log
}

/// Runs shmadm. In every second round strace delays each of its calls, so that the racer runs between any two. Without
/// permission for strace, shmadm runs without delays.
#[track_caller]
fn run(ns: &Namespace, round: usize, line: &[&str]) -> Ended {
    let held_up = || {
        let mut strace = ns.program("strace");
        strace.args(["-f", "-qq", "-o", "/dev/null", "-e", "trace=shmget,shmat,shmctl"]);
        strace.args(["-e", "inject=shmget,shmat,shmctl:delay_enter=300", shmadm_path()]);
        strace.args(line).stdin(Stdio::null());
        let ended = ended(&mut strace);
        (!ended.err.contains("strace:")).then_some(ended)
    };
    (round % 2 == 1 && is_installed("strace")).then(held_up).flatten().unwrap_or_else(|| ns.shmadm(line))
}

/// Expects success, a missing segment, or a changed one. For a command that creates a segment, the removal of the new
/// segment is an error.
#[track_caller]
fn expect_fair(line: &[&str], ended: &Ended) {
    let makes = line[0] == "create" || line.contains(&"--create");
    let words: &[&str] = match ended.code {
        // Commands that show several segments may leave out a removed one without a message.
        Some(0) => &[
            "holding segment",
            "watching ",
            "since it was chosen",
            "skipped",
            "nothing to remove",
            // A container may hide its first process even from root.
            "cannot find all attachments: ",
        ],
        Some(3) if line[0] != "create" => &["there is no such segment"],
        Some(1) if makes => &["was removed by another process at once", "; the new segment is gone, too"],
        Some(1) => &["since it was chosen"],
        _ => panic!("{line:?}: {ended:?}"),
    };
    assert!(ended.code == Some(0) || !ended.err.is_empty(), "{line:?}: {ended:?}");
    for reported in ended.err.lines() {
        assert!(words.iter().any(|words| reported.contains(words)), "{line:?}: {ended:?}");
    }
}

/// Returns the identifier that has the key now.
fn current(ns: &Namespace) -> Option<String> {
    ns.table().into_iter().find(|row| row.key == "42").map(|row| row.id.clone())
}

#[test]
fn a_command_uses_the_segment_named_by_key() {
    in_namespace(|ns| {
        ns.compile("racer");
        for line in [
            &["read", "42"][..],
            &["read", "42", "-o", "out"],
            &["write", "42", "ZZZZ"],
            &["set", "42", "--mode", "7"],
            &["list"],
        ] {
            let mut done = 0;
            let log = against_racer(ns, || {
                for round in 0..ROUNDS {
                    let ended = run(ns, round, line);
                    expect_fair(line, &ended);
                    done += usize::from(ended.code == Some(0));
                    if line == ["read", "42"] && ended.code == Some(0) {
                        // All letters of one segment are equal. It may not have been filled completely.
                        let letters: HashSet<_> = ended.bytes.iter().filter(|byte| **byte != 0).collect();
                        assert!(letters.len() <= 1 && ended.bytes.len() == 64, "{ended:?}");
                    }
                }
            });
            let touched: HashSet<_> = log.touched.iter().map(|(id, _)| id).collect();
            assert!(touched.len() <= done, "{line:?}: {done} were done, but {:?}", log.touched);
            let how = log.touched.iter().map(|(_, how)| how.as_str());
            let may = if line[0] == "set" { "mode" } else { "attached" };
            assert!(how.into_iter().all(|how| how == may && line[0] != "list"), "{line:?}: {:?}", log.touched);
        }
    });
}

#[test]
fn a_command_uses_the_segment_named_by_identifier() {
    in_namespace(|ns| {
        ns.compile("racer");
        for line in [&["read"][..], &["write", "--file", "in"], &["set", "--mode", "7"], &["stat"], &["remove"]] {
            ns.file("in", "ZZZZ");
            let mut named = HashSet::new();
            let log = against_racer(ns, || {
                while named.len() < ROUNDS / 2 {
                    let Some(id) = current(ns) else { continue };
                    let word = format!("id:{id}");
                    let line = [line, &[&word]].concat();
                    expect_fair(&line, &run(ns, named.len(), &line));
                    named.insert(id);
                }
            });
            let others: Vec<_> = log.touched.iter().filter(|(id, _)| !named.contains(id)).collect();
            assert!(others.is_empty(), "{line:?}: {others:?} were not named");
        }
    });
}

#[test]
fn exactly_the_removed_segments_are_reported() {
    in_namespace(|ns| {
        ns.compile("racer");
        for line in [
            &["remove", "42", "-f", "json"][..],
            &["remove", "--key", "42", "--yes", "-f", "json"],
            &["remove", "--key", "42", "--unattached", "--yes", "-f", "json"],
        ] {
            let mut reported = HashSet::new();
            let log = against_racer(ns, || {
                for round in 0..ROUNDS {
                    let ended = run(ns, round, line);
                    expect_fair(line, &ended);
                    let report: Value = serde_json::from_str(&ended.out).expect("JSON");
                    let removed = report["removed"].as_array().expect("an array").iter();
                    reported.extend(
                        removed
                            .filter(|one| one["outcome"] == "removed" || one["outcome"] == "marked")
                            .map(|one| one["id"].to_string()),
                    );
                }
            });
            let gone = log.touched.iter().filter(|(_, how)| how == "removed").map(|(id, _)| id.clone());
            let gone: HashSet<_> = gone.collect();
            assert!(gone.is_subset(&reported), "{line:?}: {gone:?} of {reported:?}");
            assert!(!gone.is_empty(), "{line:?} removed none");
            // Every reported segment had the key, also if the racer removed it first. A segment that the racer was
            // writing to was marked.
            assert!(reported.iter().all(|id| log.created[id].0 == "42"), "{line:?}: {reported:?}");
        }
    });
}

#[test]
fn all_shown_values_are_of_one_segment() {
    in_namespace(|ns| {
        ns.compile("racer");
        for line in [&["stat", "42", "-f", "json"][..], &["list", "-f", "jsonl"]] {
            let mut shown = Vec::new();
            let log = against_racer(ns, || {
                for round in 0..ROUNDS {
                    let ended = run(ns, round, line);
                    expect_fair(line, &ended);
                    for line in ended.out.lines().filter(|_| ended.code == Some(0)) {
                        shown.push(serde_json::from_str::<Value>(line).expect("JSON"));
                    }
                }
            });
            let rows = shown.iter().map(|value| if value.is_array() { &value[0] } else { value });
            let mut seen = 0;
            for row in rows {
                let (key, mode) = &log.created[&row["id"].to_string()];
                assert_eq!(row["mode"], mode.as_str(), "{line:?}: {row}");
                assert_eq!(row["key"], format!("{:#010x}", key.parse::<u32>().expect("a key")), "{line:?}: {row}");
                seen += 1;
            }
            assert!(seen > 0, "{line:?} saw none");
            assert!(log.touched.is_empty(), "{line:?} must not change anything: {:?}", log.touched);
        }
    });
}

#[test]
fn create_creates_a_segment_or_uses_the_existing_one() {
    in_namespace(|ns| {
        ns.compile("racer");
        for line in [&["create", "42", "--size", "64", "--exist-ok"][..], &["write", "42", "ZZZZ", "--create", "64"]] {
            let log = against_racer(ns, || {
                for round in 0..ROUNDS {
                    expect_fair(line, &run(ns, round, line));
                }
            });
            assert!(log.touched.iter().all(|(_, how)| how == "attached"), "{line:?}: {:?}", log.touched);
        }
    });
}

#[test]
fn every_variant_of_a_command_is_fair() {
    in_namespace(|ns| {
        ns.compile("racer");
        ns.file("in", "ZZZZ");
        ns.file("before", r#"{"segments":[]}"#);
        // Each with the changes that it may make to a segment with the key.
        for (line, may) in [
            ("write 42 ZZZZ --fill 7", "attached"),
            ("write 42 --file in --zero", "attached"),
            ("write 42 ZZZZ --hold=1ms", "attached"),
            ("read 42 -f hex", "attached"),
            ("read 42 -f string", "attached"),
            ("read 42 --hold=1ms", "attached"),
            ("set 42 --lock", "mode"),
            ("remove 42 --wait", "removed"),
            ("remove --key 42 --not-in before --yes", "removed"),
            ("list -o pids,origkey", ""),
            ("watch --source poll --for 10ms --interval 10ms", ""),
            ("limits", ""),
            ("metrics", ""),
            ("completions bash --words-before 2 -- shmadm read ", ""),
        ] {
            let words: Vec<_> = line.split(' ').collect();
            let mut done = 0;
            let log = against_racer(ns, || {
                for round in 0..ROUNDS / 2 {
                    let ended = run(ns, round, &words);
                    expect_fair(&words, &ended);
                    done += usize::from(ended.code == Some(0));
                    // A segment has one letter, or none if the racer has not yet written it.
                    let letters: HashSet<_> = ended.bytes.iter().filter(|byte| byte.is_ascii_lowercase()).collect();
                    assert!(line != "read 42 -f string" || letters.len() <= 1, "{ended:?}");
                }
            });
            let touched: HashSet<_> = log.touched.iter().map(|(id, _)| id).collect();
            assert!(touched.len() <= done, "{line}: {done} were done, but {:?}", log.touched);
            assert!(log.touched.iter().all(|(_, how)| how == may), "{line}: {:?}", log.touched);
        }
    });
}
