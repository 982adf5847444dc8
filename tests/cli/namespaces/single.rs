//! A kernel without IPC namespaces has no /proc/PID/ns/ipc: all processes are in one.

use super::OtherNamespace;
use crate::support::{Ended, Namespace, Need, ended, in_namespace, in_namespace_as_root, needs, shmadm_path};

/// Runs shmadm as if these processes had no namespace file.
#[track_caller]
fn shmadm(ns: &Namespace, pids: &[String], line: &str) -> Ended {
    let mut strace = ns.program("strace");
    strace.args(["-f", "-qq", "-o", "log", "-e", "trace=%file", "-e", "inject=%file:error=ENOENT"]);
    for pid in ["self", "thread-self"].into_iter().chain(pids.iter().map(String::as_str)) {
        strace.args(["-P", &format!("/proc/{pid}/ns/ipc")]);
    }
    // Removes strace's messages about resolved paths.
    let mut run = ended(strace.args(["--", shmadm_path()]).args(line.split(' ')));
    run.err = run.err.lines().filter(|line| !line.contains("Requested path")).map(|line| format!("{line}\n")).collect();
    run
}

#[test]
fn attachments_are_found_and_every_process_is_in_the_namespace() {
    in_namespace(|ns| {
        needs(Need::Strace);
        ns.shmadm(["create", "5", "--size", "5000"]).ok();
        let holder = ns.hold(["read", "5", "--hold"]);
        let holder = holder.pid().to_string();
        let pids = ["1".to_owned(), holder.clone()];
        let stat = shmadm(ns, &pids, "stat 5 -f json").json();
        let attachments = stat["segments"][0]["attachments"].as_array().or(stat[0]["attachments"].as_array());
        let found: Vec<_> = attachments.expect("attachments").iter().map(|one| one["pid"].to_string()).collect();
        assert_eq!(found, [&*holder], "{stat}");
        for pid in &pids {
            assert_eq!(shmadm(ns, &pids, &format!("list -q --ns {pid}")).ok(), "id:0\n", "{pid}");
        }
        let missing = shmadm(ns, &pids, "list -q --ns 2147483646");
        assert!(missing.code == Some(1) || missing.code == Some(2), "{missing:?}");
        assert_eq!(shmadm(ns, &pids, "list -o ID,NS --no-headings").ok().trim(), "0");
    });
}

#[test]
fn an_unreadable_namespace_file_does_not_mean_that_there_is_only_one() {
    in_namespace_as_root(|ns| {
        needs(Need::Strace);
        ns.shmadm(["create", "5", "--size", "5000"]).ok();
        let there = OtherNamespace::new(ns);
        let mut strace = ns.program("strace");
        strace.args(["-f", "-qq", "-o", "log", "-e", "trace=%file", "-e", "inject=%file:error=EACCES"]);
        let list = ended(strace.args(["-P", "/proc/self/ns/ipc", shmadm_path(), "list", "-q", "--ns", &there.pid]));
        let log = std::fs::read_to_string(ns.path("log")).expect("a log");
        assert!(log.contains("(INJECTED)"), "{list:?}");
        assert_eq!(list.out, "", "the segment of this namespace: {list:?}");
    });
}
