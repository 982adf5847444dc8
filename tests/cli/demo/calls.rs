//! Every call that a lesson shows was made by that process, with that result: strace(1) saw it. And `--trace`.

use std::collections::BTreeMap;
use std::process::{Command, Stdio};

use super::lessons;
use crate::support::{Namespace, Need, ended, in_namespace, needs, shmadm_path};

/// What strace saw of each process, in order: calls as shmadm writes them, and ends.
fn seen(log: &str) -> BTreeMap<&str, Vec<String>> {
    let mut seen: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for line in log.lines() {
        let (pid, line) = line.split_once(' ').expect("a pid");
        let line = line.trim();
        let line = match line.split_once('(') {
            // shmadm writes a key in full.
            Some(("shmget", arguments)) => match arguments.strip_prefix("0x").and_then(|rest| rest.split_once(',')) {
                Some((key, rest)) => {
                    let key = u32::from_str_radix(key, 16).expect("a key");
                    format!("shmget({key:#010x},{rest}")
                }
                None => line.to_owned(),
            },
            _ => line.to_owned(),
        };
        let words: Vec<_> = line.split(" = ").map(str::trim).collect();
        seen.entry(pid).or_default().push(words.join(" = "));
    }
    seen
}

/// Runs a lesson under strace, and expects each act that it shows in the log of its process, in this order. Returns the
/// number of calls.
#[track_caller]
fn compare(ns: &Namespace, mut strace: Command, lesson: &str) -> usize {
    let log = ns.file("log", "");
    ns.open_to_all();
    strace.args(["-f", "-q", "-e", "trace=shmget,shmat,shmdt,shmctl", "-o"]).arg(&log);
    strace.args([shmadm_path(), "demo", lesson]).env("LC_ALL", "C.UTF-8").stdin(Stdio::null());
    let run = ended(&mut strace).ok();
    let log = std::fs::read_to_string(&log).expect("strace's log");
    let seen = seen(&log);
    let pids: BTreeMap<&str, &str> = run
        .lines()
        .flat_map(|line| line.split("┌ process ").skip(1))
        .filter_map(|rest| rest.split_once(", "))
        .map(|(letter, rest)| (letter, rest.split(' ').next().expect("a pid")))
        .collect();
    let mut next: BTreeMap<&str, usize> = BTreeMap::new();
    let mut calls = 0;
    for line in run.lines() {
        let Some((letter, act)) = line.strip_prefix("  ").and_then(|line| line.split_once("  ")) else { continue };
        let Some(pid) = pids.get(letter) else { continue };
        let act = act.split("  (").next().expect("a call");
        let wanted = match act {
            _ if act.starts_with("shm") => act.to_owned(),
            "was killed by SIGKILL" => "+++ killed by SIGKILL +++".into(),
            "was killed by SIGSEGV" => "+++ killed by SIGSEGV +++".into(),
            "has exited" => "+++ exited with 0 +++".into(),
            _ => continue,
        };
        let of_process = seen.get(pid).map_or(&[][..], Vec::as_slice);
        let at = next.entry(letter).or_default();
        let found = of_process[*at..].iter().position(|line| *line == wanted);
        let found = found.unwrap_or_else(|| panic!("{lesson}: {letter} has not made {wanted}\n{of_process:#?}\n{run}"));
        *at += found + 1;
        calls += usize::from(wanted.starts_with("shm"));
    }
    calls
}

#[test]
fn each_call_was_made_with_this_result() {
    in_namespace(|ns| {
        needs(Need::Strace);
        for lesson in lessons(ns) {
            assert!(compare(ns, ns.program("strace"), &lesson) >= 3, "{lesson}");
            assert!(compare(ns, ns.unprivileged("strace"), &lesson) >= 3, "{lesson}");
        }
        assert_eq!(ns.table(), []);
    });
}

#[test]
fn trace_marks_the_calls_of_the_lesson() {
    in_namespace(|ns| {
        for lesson in lessons(ns) {
            let traced = ns.shmadm(["--trace", "demo", &lesson]);
            let err = traced.err.clone();
            let out = traced.ok();
            let marked = |line: &str| {
                line.chars().next().is_some_and(|mark| "-ABC".contains(mark)) && line[1..].starts_with(' ')
            };
            assert!(err.lines().all(marked), "{lesson}: {err}");
            // Those of the lesson are those that the steps show.
            let of_lesson: Vec<_> = err.lines().filter(|line| !line.starts_with('-')).map(without_pid).collect();
            let shown =
                out.lines().filter_map(|line| line.strip_prefix("  ").filter(|act| act[1..].starts_with("  shm")));
            let shown: Vec<_> =
                shown.map(|act| act.split("  (").next().expect("a call").replacen("  ", " ", 1)).collect();
            let named: Vec<_> = out.lines().filter(|line| line.contains("  shm")).collect();
            assert_eq!(of_lesson, shown, "{lesson}: {named:?}");
            assert!(of_lesson.iter().all(|call| !call.contains("STAT_ANY")), "{of_lesson:?}");
            assert!(err.lines().any(|line| line.starts_with("- [pid ") && line.contains("_STAT")), "{err}");
        }
    });
}

/// `A [pid 5] shmdt(…)` without the pid.
fn without_pid(line: &str) -> String {
    let (mark, rest) = line.split_once(" [pid ").expect("a pid");
    format!("{mark} {}", rest.split_once("] ").expect("a call").1)
}
