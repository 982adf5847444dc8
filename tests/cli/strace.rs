//! Compares `--trace` with strace(1) itself: both watch the same run, and must print the same calls in the same
//! notation.
//!
//! One difference is intended: shmadm always writes a key as 0x and eight digits, while strace omits leading zeros and
//! writes a key in a struct in decimal.

use std::process::Stdio;

use crate::support::{Ended, Namespace, Need, ended, in_namespace, needs, shmadm_path};

/// Runs shmadm under strace, as root or without privilege, and expects equal traces. Returns the calls.
#[track_caller]
fn compare(ns: &Namespace, words: &str, unprivileged: bool) -> Vec<String> {
    let log = ns.file("strace.log", "");
    ns.open_to_all();
    let mut strace = if unprivileged { ns.unprivileged("strace") } else { ns.program("strace") };
    strace.args(["-f", "-qq", "-e", "trace=shmget,shmat,shmdt,shmctl", "-e", "signal=none", "-o"]).arg(&log);
    strace.arg(shmadm_path()).arg("--trace").args(words.split(' '));
    let run = ended(strace.stdin(Stdio::null()));
    let log = std::fs::read_to_string(&log).expect("strace's log");
    let seen: Vec<_> = log.lines().filter(|line| !line.contains("+++ ")).map(normal).collect();
    let output: Vec<_> =
        run.err.lines().filter(|line| line.starts_with("shm") && !line.starts_with("shmadm")).collect();
    assert_eq!(output, seen, "{words}: --trace (left) and strace (right)\n{run:?}");
    seen
}

/// Returns a line of strace as shmadm writes it: without the pid and the spaces before the result, and with full keys.
fn normal(line: &str) -> String {
    let (pid, call) = line.split_once(' ').expect("a pid and a call");
    assert!(pid.parse::<u32>().is_ok(), "{line}");
    let (call, result) = call.rsplit_once(" = ").expect("a result");
    let mut call = call.trim().to_owned();
    if let Some((key, rest)) = call.strip_prefix("shmget(").and_then(|arguments| arguments.split_once(','))
        && let Some(digits) = key.strip_prefix("0x")
    {
        call = format!("shmget({:#010x},{rest}", u32::from_str_radix(digits, 16).expect("a key"));
    }
    if let Some((before, (key, rest))) = call.split_once(" key=").and_then(|(a, b)| Some((a, b.split_once(',')?))) {
        let key = match key.strip_prefix("0x") {
            Some(digits) => u32::from_str_radix(digits, 16).expect("a key"),
            // A key_t is signed.
            None => key.parse::<i64>().expect("a key") as u32,
        };
        call = format!("{before} key={key:#010x},{rest}");
    }
    format!("{call} = {result}")
}

#[test]
fn the_trace_equals_strace_call_by_call() {
    in_namespace(|ns| {
        needs(Need::Strace);
        // Each with its minimum number of calls, so that two empty traces do not pass.
        for (words, least) in [
            ("create 0x2a --size 64K --lock", 2),
            ("create 0x2a --size 64K", 1),
            ("create 0x2a --size 1 --exist-ok", 2),
            ("create -559038737 --size 1 --mode 7", 1),
            ("create private --size 4096 --no-reserve --mode 0", 1),
            ("create 3 --size 0", 1),
            ("create 3 --size 1G --huge=1G", 1),
            ("create 3 --size 9223372036854775807", 1),
            ("attach-write 0x2a hello", 3),
            ("attach-write 0x2a hello --at 0x700000000123 --round --remap", 4),
            ("attach-write 0x2a hello --at 0x123", 2),
            ("attach-write 7 hello --create 4K", 4),
            ("attach-write 7 hello --create 4K --mode 640 --hold=1ms", 3),
            ("read 0x2a", 3),
            ("read 0x2a --format hex --at 0x700000000000", 3),
            ("read 8", 1),
            ("read id:77", 1),
            ("stat 0x2a", 2),
            ("stat 0x2a id:77 -559038737", 4),
            ("set 0x2a --mode 0", 1),
            ("set 0x2a --mode 7 --unlock", 2),
            ("set 0x2a --mode 640 --owner 0 --group 0 --lock", 2),
            ("list", 0),
            ("list -f json", 0),
            ("limits", 2),
            ("remove -559038737", 2),
            ("remove 0x2a id:77 --dry-run", 2),
            ("remove --all --yes", 3),
        ] {
            let calls = compare(ns, words, false);
            assert!(calls.len() >= least, "{words}: {calls:?}");
        }
        assert!(ns.table().is_empty());
    });
}

#[test]
fn denials_and_marked_segments_are_traced_the_same() {
    in_namespace(|ns| {
        needs(Need::Strace);
        ns.shmadm(["create", "1", "--size", "4M", "--mode", "644"]).ok();
        ns.shmadm(["create", "2", "--size", "4K", "--mode", "0"]).ok();
        let holds = ns.hold(["attach-write", "1", "x", "--hold"]);
        for words in ["read 1", "attach-write 1 x", "read 2", "stat 2", "set 2 --mode 600", "remove 2"] {
            let calls = compare(ns, words, true);
            assert!(calls.len() >= 2, "{words}: {calls:?}");
        }
        let id = ns.table()[0].id.clone();
        // Without a key only the identifier finds it.
        for words in ["remove 1", &format!("stat id:{id}"), &format!("read id:{id} --length 1"), "list"] {
            compare(ns, words, false);
        }
        assert_eq!(ns.table()[0].mode, "1644");
        drop(holds);
    });
}

/// A security module such as SELinux can deny the inspection of one segment. `remove` must still select the same
/// segments as `list` with the same filters.
#[test]
fn a_segment_that_cannot_be_inspected_is_still_selected_for_removal() {
    in_namespace(|ns| {
        needs(Need::Strace);
        for key in ["1", "2", "3", "4"] {
            ns.shmadm(["create", key, "--size", "4K"]).ok();
        }
        ns.shmadm(["remove", "3"]).ok();
        for (errno, kept) in [("EACCES", "0\n1\n3\n"), ("EIDRM", "0\n3\n")] {
            let mut strace = ns.program("strace");
            // The calls: SHM_INFO, then the inspections of index 0 and index 1.
            strace
                .args(["-f", "-qq", "-o", "log", "-e", "trace=shmctl", "-e"])
                .arg(format!("inject=shmctl:error={errno}:when=3"));
            strace.args([shmadm_path(), "remove", "--unattached", "--dry-run", "--quiet", "-f", "json"]);
            let output = ended(strace.stdin(Stdio::null())).json();
            let removed = output["removed"].as_array().expect("an array");
            let ids: String = removed.iter().map(|removal| format!("{}\n", removal["id"])).collect();
            let log = std::fs::read_to_string(ns.path("log")).expect("strace's log");
            assert_eq!(ids, kept, "{errno}: {log}");
            assert!(log.contains("shmctl(1, SHM_STAT_ANY"), "{log}");
        }
    });
}

#[test]
fn the_text_of_an_error_is_that_of_strerror() {
    in_namespace(|ns| {
        // nix says "Out of memory".
        let refused: Ended = ns.shmadm(["--trace", "create", "1", "--size", "1G", "--huge=1G"]);
        let known = ["ENOMEM (Cannot allocate memory)", "EPERM (Operation not permitted)"];
        let call = refused.err.lines().find(|line| line.starts_with("shmget(")).expect("the call");
        assert!(call.ends_with(" = 0") || known.iter().any(|words| call.ends_with(words)), "{call}");
    });
}
