//! Between the look-up of a segment and its use another process removes it, and others take its key and its place in
//! the kernel's table. A command then does its work, finds no such segment, or says that it changed; and never touches
//! another segment than the one that was named.

mod paused;
mod steps;

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::process::Stdio;

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::support::{Ended, Namespace, Running, ended, in_namespace, is_installed, shmadm_path, wait_until};

/// How often each command is run: there are some 600 rounds in all.
const ROUNDS: usize = 40;

/// What the racer said.
#[derive(Debug, Default)]
struct Log {
    /// The key and the mode of each segment that it made, by its identifier.
    made: HashMap<String, (String, String)>,
    /// What others did, and to which identifiers.
    touched: Vec<(String, String)>,
}

/// Runs something against the racer, and returns what that said.
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
                let again = log.made.insert(id.into(), (key.into(), format!("{mode:0>4}")));
                assert_eq!(again, None, "an identifier came back, and nothing can be told");
            }
            ["touched", id, "42", how] => log.touched.push((id.into(), how.into())),
            ["over"] => {}
            _ => panic!("not the one that was named: {line}"),
        }
    }
    assert!(log.made.len() > 2 * ROUNDS, "that was no race: {}", log.made.len());
    log
}

/// Runs shmadm; every second time strace holds it up before each of its calls, so that the racer gets between any two.
/// Where strace may not do that, it is run as it is.
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

/// Success, no such segment, or that it changed. A command that makes one knows of none that is missing: where the new
/// one is removed, that is a failure.
#[track_caller]
fn expect_fair(line: &[&str], ended: &Ended) {
    let makes = line[0] == "create" || line.contains(&"--create");
    let words: &[&str] = match ended.code {
        // A list, a look or a watch of what there is has nothing to say of what there is not any more.
        Some(0) => &["holding segment", "watching ", "since it was chosen", "skipped", "nothing to remove"],
        Some(3) if line[0] != "create" => &["there is no such segment"],
        Some(1) if makes => &["was removed by another process at once", "; the new segment is gone, too"],
        Some(1) => &["since it was chosen"],
        _ => panic!("{line:?}: {ended:?}"),
    };
    assert!(ended.code == Some(0) || !ended.err.is_empty(), "{line:?}: {ended:?}");
    for said in ended.err.lines() {
        assert!(words.iter().any(|words| said.contains(words)), "{line:?}: {ended:?}");
    }
}

/// Returns the identifier that has the key now.
fn current(ns: &Namespace) -> Option<String> {
    ns.table().into_iter().find(|row| row.key == "42").map(|row| row.id.clone())
}

#[test]
fn what_is_named_by_key_is_what_is_used() {
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
                        // Those of one segment, which may not have been written whole.
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
fn what_is_named_by_identifier_is_what_is_used() {
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
fn what_was_removed_is_what_is_said_to_be() {
    in_namespace(|ns| {
        ns.compile("racer");
        for line in [
            &["remove", "42", "-f", "json"][..],
            &["remove", "--key", "42", "--yes", "-f", "json"],
            &["remove", "--key", "42", "--unattached", "--yes", "-f", "json"],
        ] {
            let mut said = HashSet::new();
            let log = against_racer(ns, || {
                for round in 0..ROUNDS {
                    let ended = run(ns, round, line);
                    expect_fair(line, &ended);
                    let told: Value = serde_json::from_str(&ended.out).expect("JSON");
                    let removed = told["removed"].as_array().expect("an array").iter();
                    said.extend(
                        removed
                            .filter(|one| one["outcome"] == "removed" || one["outcome"] == "marked")
                            .map(|one| one["id"].to_string()),
                    );
                }
            });
            let gone = log.touched.iter().filter(|(_, how)| how == "removed").map(|(id, _)| id.clone());
            let gone: HashSet<_> = gone.collect();
            assert!(gone.is_subset(&said), "{line:?}: {gone:?} of {said:?}");
            assert!(!gone.is_empty(), "{line:?} removed none");
            // What it said had the key, even where the racer removed it first. (One that the racer was just writing to was
            // marked.)
            assert!(said.iter().all(|id| log.made[id].0 == "42"), "{line:?}: {said:?}");
        }
    });
}

#[test]
fn what_is_shown_is_of_one_segment() {
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
                let (key, mode) = &log.made[&row["id"].to_string()];
                assert_eq!(row["mode"], mode.as_str(), "{line:?}: {row}");
                assert_eq!(row["key"], format!("{:#010x}", key.parse::<u32>().expect("a key")), "{line:?}: {row}");
                seen += 1;
            }
            assert!(seen > 0, "{line:?} saw none");
            assert!(log.touched.is_empty(), "{line:?} only looks: {:?}", log.touched);
        }
    });
}

#[test]
fn create_makes_one_or_takes_what_is_there() {
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
fn each_way_of_a_command_is_fair() {
    in_namespace(|ns| {
        ns.compile("racer");
        ns.file("in", "ZZZZ");
        ns.file("before", r#"{"segments":[]}"#);
        // Each with what it may do to a segment that has the key.
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
                    // A segment has one letter, and the racer may not have come to write it.
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
