//! Which processes have a segment attached. For every user and every mapping, found and missing attachments add up to
//! the kernel's count.

mod forged;
mod other_namespaces;
mod ways;

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::support::{
    Namespace, Running, children, ended, in_namespace, in_namespace_as_root, shmadm_path, wait_until,
};

/// The start of a perl program that attaches segments, prints `ready`, and runs until it is ended.
const STAY: &str = "use IPC::SysV qw(shmat shmdt SHM_RDONLY); $| = 1; ";

/// Starts a program and waits until it prints `ready`.
#[track_caller]
fn ready(command: &mut Command) -> Running {
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().expect("a program");
    let mut running = Running(child);
    let mut line = String::new();
    BufReader::new(running.0.stdout.take().expect("a pipe")).read_line(&mut line).expect("a line");
    assert_eq!(line, "ready\n", "{command:?}");
    running
}

/// Starts perl with a program after [`STAY`], and waits until it is ready.
#[track_caller]
fn perl(ns: &Namespace, program: &str) -> Running {
    ready(ns.program("perl").args(["-e", &format!("{STAY}{program} print qq(ready\\n); sleep 1000")]))
}

/// Returns the output of `stat -f json` for the segment with this identifier.
#[track_caller]
fn stat(ns: &Namespace, id: i32) -> Value {
    ns.shmadm(["stat", &format!("id:{id}"), "-f", "json"]).json()[0].take()
}

/// Returns each attachment as `pid address access`.
#[track_caller]
fn attachments(stat: &Value) -> BTreeSet<String> {
    let text = |one: &Value, name: &str| one[name].as_str().unwrap_or_else(|| panic!("{name} of {one}")).to_owned();
    let attachments = stat["attachments"].as_array().expect("an array").iter();
    attachments.map(|one| format!("{} {} {}", one["pid"], text(one, "address"), text(one, "access"))).collect()
}

/// Returns the same attachments as grep and awk find them in the maps of these processes.
fn by_grep(ns: &Namespace, pids: &[i32]) -> BTreeSet<String> {
    let awk = r#"{ split($1, range, "-"); access = $2; gsub(/[-sp]/, "", access);
                   print pid, "0x" range[1], access == "" ? "none" : access }"#;
    let script = format!("for pid in $@; do grep /SYSV /proc/$pid/maps | awk -v pid=$pid '{awk}'; done");
    let words: Vec<String> = pids.iter().map(i32::to_string).collect();
    let mut args = vec!["-c", &script, "sh"];
    args.extend(words.iter().map(String::as_str));
    ns.run("sh", args).lines().map(str::to_owned).collect()
}

fn nattch(ns: &Namespace, id: i32) -> u64 {
    ns.row(id).expect("its row").nattch.parse().expect("a number")
}

/// The first child of a process. Dropping this kills it.
struct Child(i32);

impl Child {
    #[track_caller]
    fn of(parent: &Running) -> Child {
        wait_until("it has a child", || !children(parent.pid()).is_empty());
        Child(children(parent.pid())[0].as_raw())
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = kill(Pid::from_raw(self.0), Signal::SIGKILL);
    }
}

#[test]
fn every_attachment_is_found_with_its_access() {
    in_namespace(|ns| {
        ns.shmadm(["create", "0x2a", "-s", "64K", "-m", "666"]).ok();
        // Two attachments, one of them read-only, and a forked child that inherits both.
        let forked = perl(ns, "shmat(0, undef, 0); shmat(0, undef, SHM_RDONLY); unless (fork) { sleep 1000 }");
        let child = Child::of(&forked);
        let reader = ns.hold(["read", "0x2a", "--hold"]);
        let pids = [forked.pid().as_raw(), child.0, reader.pid().as_raw()];
        let found = stat(ns, 0);
        assert_eq!(attachments(&found), by_grep(ns, &pids));
        assert_eq!((attachments(&found).len(), nattch(ns, 0)), (5, 5));
        assert_eq!((&found["attachments_missing"], &found["nattch"]), (&0.into(), &5.into()));
        let accesses: Vec<_> =
            found["attachments"].as_array().expect("an array").iter().map(|a| &a["access"]).collect();
        assert_eq!(accesses.iter().filter(|access| **access == "r").count(), 3, "{accesses:?}");
        for one in found["attachments"].as_array().expect("an array") {
            assert_eq!(one["user"], "root");
            let command = fs::read_to_string(format!("/proc/{}/cmdline", one["pid"])).expect("a process");
            assert_eq!(one["command"], command.trim_end_matches('\0').replace('\0', " "), "{one}");
        }
        let text = ns.shmadm(["stat", "0x2a"]).ok();
        for line in attachments(&found) {
            let [pid, address, access] = line.split(' ').collect::<Vec<_>>()[..] else { panic!("{line}") };
            let row = text.lines().map(|row| row.split_whitespace().collect::<Vec<_>>());
            let pid = &*format!("{pid}{}", ns.doubt());
            assert!(row.into_iter().any(|row| row.starts_with(&[pid, "root", access, address])), "{line} in {text}");
        }
        let listed = ns.shmadm(["list", "-o", "pids", "--no-headings", "-f", "raw"]).ok();
        let mut expected = pids.to_vec();
        expected.sort_unstable();
        assert_eq!(
            listed.trim_end(),
            expected.iter().map(|pid| format!("{pid}{}", ns.doubt())).collect::<Vec<_>>().join(",")
        );
    });
}

#[test]
fn an_ordinary_user_sees_own_processes_and_the_count_of_the_others() {
    in_namespace_as_root(|ns| {
        ns.open_to_all();
        ns.shmadm(["create", "0x2a", "-s", "64K", "-m", "666"]).ok();
        let _roots = perl(ns, "shmat(0, undef, 0); shmat(0, undef, 0);");
        let program = format!("{STAY} shmat(0, undef, SHM_RDONLY); print qq(ready\\n); sleep 1000");
        let his = ready(ns.unprivileged("perl").args(["-e", &program]));
        let his_pid = his.pid().as_raw();
        let seen = ns.shmadm_unprivileged(["stat", "0x2a", "-f", "json"]).json()[0].take();
        assert_eq!(attachments(&seen), by_grep(ns, &[his_pid]));
        assert_eq!((&seen["attachments_missing"], nattch(ns, 0)), (&2.into(), 3));
        let text = ns.shmadm_unprivileged(["stat", "0x2a"]).ok();
        let not_found = text.lines().find(|line| line.contains("not found")).expect("a line");
        assert!(not_found.contains("2 of 3: ") && not_found.contains("cannot be inspected; run as root"), "{text}");
        // Root sees all processes and their users.
        let all = stat(ns, 0);
        assert_eq!((attachments(&all).len(), &all["attachments_missing"]), (3, &0.into()));
        let of_his = all["attachments"].as_array().expect("an array").iter().find(|one| one["pid"] == his_pid);
        assert_eq!(of_his.expect("his attachment")["uid"], 1234);
    });
}

#[test]
fn root_without_the_privilege_is_not_told_to_become_root() {
    in_namespace_as_root(|ns| {
        ns.shmadm(["create", "1", "-s", "4K"]).ok();
        let _holder = perl(ns, "shmat(0, undef, 0);");
        let without = ["--bounding-set", "-sys_ptrace", "--inh-caps", "-sys_ptrace", "--", shmadm_path()];
        let text = ended(ns.program("setpriv").args(without).args(["stat", "1"])).ok();
        assert!(text.contains("not found  1 of 1: "), "{text}");
        assert!(text.contains("even root is not permitted here") && !text.contains("as root"), "{text}");
        let list = ended(ns.program("setpriv").args(without).args(["list", "-o", "pids"]));
        assert!(!list.err.contains("as root"), "{list:?}");
    });
}

#[test]
fn a_marked_segment_shows_its_original_key() {
    in_namespace(|ns| {
        ns.shmadm(["create", "0xd3b1ec01", "-s", "4K"]).ok();
        ns.shmadm(["create", "private", "-s", "4K"]).ok();
        ns.shmadm(["create", "5", "-s", "4K"]).ok();
        let _holder = perl(ns, "shmat(0, undef, 0); shmat(1, undef, 0); shmat(2, undef, 0);");
        ns.shmadm(["remove", "id:0", "id:1"]).ok();
        let keys = |list: &Value| {
            let segments = list["segments"].as_array().expect("an array").iter();
            segments.map(|one| (one["key"].clone(), one["original_key"].clone())).collect::<Vec<_>>()
        };
        let none = "0x00000000";
        // The name of an attachment has the key, but only root can verify it.
        let was = |key: &str| if ns.is_root { Value::from(key) } else { Value::Null };
        assert_eq!(
            keys(&ns.shmadm(["list", "-f", "json"]).json()),
            [(none.into(), was("0xd3b1ec01")), (none.into(), was(none)), ("0x00000005".into(), Value::Null)]
        );
        let column = ns.shmadm(["list", "-o", "origkey", "-f", "raw", "--no-headings"]).ok();
        let doubt = ns.doubt();
        assert_eq!(column, format!("0xd3b1ec01{doubt}\n0x00000000{doubt}\n-\n"));
        let text = ns.shmadm(["stat", "id:0"]).ok();
        let key = "key  0x00000000 (it was 0xd3b1ec01 until it was removed)\n";
        assert_eq!(text.contains(key), ns.is_root, "{text}");
        // Its key is free, and a new segment with this key is another one.
        ns.shmadm(["create", "0xd3b1ec01", "-s", "4K"]).ok();
        assert_eq!(stat(ns, 3)["attachments"], Value::Array(Vec::new()));
        assert_eq!(attachments(&stat(ns, 0)).len(), 1);
    });
}

#[test]
fn the_same_identifier_in_another_namespace_is_another_segment() {
    in_namespace(|ns| {
        ns.shmadm(["create", "7", "-s", "4K"]).ok();
        let here = perl(ns, "shmat(0, undef, 0);");
        let program = format!("{STAY} shmget(7, 4096, 01600); shmat(0, undef, 0); print qq(ready\\n); sleep 1000");
        let other = ready(ns.program("unshare").args(["--ipc", "perl", "-e", &program]));
        let (here, there) = (here.pid().as_raw(), other.pid().as_raw());
        assert_eq!(attachments(&stat(ns, 0)), by_grep(ns, &[here]));
        // The lines differ only in the address, so only the namespace distinguishes the segments.
        let keys = |pid| ns.run("sh", ["-c", &format!("grep -o '/SYSV.*' /proc/{pid}/maps")]);
        assert_eq!(keys(here), keys(there));
        let there_ns = format!("{there}");
        let other = ns.shmadm(["--ns", &there_ns, "stat", "7", "-f", "json"]).json()[0].take();
        assert_eq!(attachments(&other), by_grep(ns, &[there]));
        let list = ns.shmadm(["list", "--all-namespaces", "-f", "raw", "--no-headings", "-o", "ns,id,pids"]).ok();
        for pid in [here, there] {
            use std::os::unix::fs::MetadataExt;
            let inode = fs::metadata(format!("/proc/{pid}/ns/ipc")).expect("a process").ino();
            assert!(list.lines().any(|line| line == format!("{inode} 0 {pid}{}", ns.doubt())), "{inode} {pid}: {list}");
        }
        for (pid, ids) in [(here, "id:0\n"), (there, "")] {
            assert_eq!(ns.shmadm(["list", "-q", "--pid", &pid.to_string()]).ok(), ids);
        }
    });
}

#[test]
fn an_attachment_from_another_namespace_is_recognised_by_its_key() {
    in_namespace(|ns| {
        ns.shmadm(["create", "7", "-s", "4K"]).ok();
        let program = ns.compile("mover");
        let mover = ready(&mut ns.program(program));
        // Of its two mappings with this identifier one is of our segment, which is not in its namespace.
        let there = ns.shmadm(["--ns", &mover.pid().to_string(), "stat", "id:0", "-f", "json"]).json()[0].take();
        assert_eq!(by_grep(ns, &[mover.pid().as_raw()]).len(), 2);
        assert_eq!((&there["key"], attachments(&there).len()), (&"0x00000008".into(), 1));
        assert_eq!(there["attachments_missing"], 0);
        let here = stat(ns, 0);
        assert_eq!((&here["nattch"], &here["attachments_missing"]), (&1.into(), &1.into()));
        let text = ns.shmadm(["stat", "7"]).ok();
        assert!(text.contains("not found  1 of 1: "), "{text}");
    });
}

#[test]
fn parts_of_an_attachment_are_counted_as_the_kernel_counts_them() {
    in_namespace(|ns| {
        ns.shmadm(["create", "1", "-s", "12K"]).ok();
        let program = ns.compile("protect");
        let holder = ready(&mut ns.program(program));
        let found = stat(ns, 0);
        assert_eq!(attachments(&found), by_grep(ns, &[holder.pid().as_raw()]));
        assert_eq!((nattch(ns, 0), &found["attachments_missing"]), (3, &0.into()));
        assert_eq!(found["attachments"][1]["access"], "none");
    });
}

#[test]
fn two_processes_with_one_address_space_count_once() {
    in_namespace(|ns| {
        ns.shmadm(["create", "1", "-s", "4K"]).ok();
        let program = ns.compile("vfork");
        let parent = ready(&mut ns.program(program));
        let child = Child::of(&parent);
        assert_eq!(by_grep(ns, &[parent.pid().as_raw(), child.0]).len(), 2, "both show it");
        let found = stat(ns, 0);
        assert_eq!((attachments(&found).len(), nattch(ns, 0)), (1, 1));
        assert_eq!(found["attachments_missing"], 0);
    });
}

#[test]
fn a_process_whose_first_thread_has_ended_is_still_found() {
    in_namespace(|ns| {
        ns.shmadm(["create", "1", "-s", "4K"]).ok();
        let program = ns.compile("headless");
        let holder = ready(&mut ns.program(program));
        let pid = holder.pid().as_raw();
        let state = fs::read_to_string(format!("/proc/{pid}/stat")).expect("a process");
        assert!(state.contains(") Z "), "its first thread is a zombie: {state}");
        assert_eq!(by_grep(ns, &[]).len(), 0);
        let found = stat(ns, 0);
        assert_eq!((attachments(&found).len(), nattch(ns, 0)), (1, 1));
        assert_eq!(found["attachments"][0]["pid"], pid);
        assert_eq!(ns.shmadm(["list", "-q", "--pid", &pid.to_string()]).ok(), "id:0\n");
    });
}

#[test]
fn processes_that_come_and_go_cause_no_error() {
    in_namespace(|ns| {
        ns.shmadm(["create", "1", "-s", "4K"]).ok();
        let _steady = perl(ns, "shmat(0, undef, 0);");
        // It ends by itself if this program is killed.
        let churn = "alarm 60; while (1) { unless (fork) { shmat(0, undef, 0); exit } wait; }";
        let _churn = ready(ns.program("perl").args(["-e", &format!("{STAY}print qq(ready\\n); {churn}")]));
        for _ in 0..100 {
            let found = stat(ns, 0);
            let (count, missing) = (attachments(&found).len() as u64, found["attachments_missing"].as_u64());
            // Processes that attach and end between the two counts are in one of them or in neither.
            assert!(count >= 1 && missing.expect("a number") <= 2, "{found}");
        }
    });
}

/// A segment of huge pages is on another mount of the kernel. It is found even if no huge page is free.
#[test]
fn a_segment_of_huge_pages_is_found_too() {
    in_namespace_as_root(|ns| {
        ns.shmadm(["create", "1", "-s", "2M", "--huge", "--no-reserve"]).ok();
        let holder = ns.hold(["read", "1", "--length", "0", "--hold"]);
        assert_eq!(attachments(&stat(ns, 0)), by_grep(ns, &[holder.pid().as_raw()]));
        assert_eq!(nattch(ns, 0), 1);
        let unprivileged = ended(ns.unprivileged(shmadm_path()).args(["stat", "id:0"])).ok();
        assert!(unprivileged.contains("not found  1 of 1"), "{unprivileged}");
    });
}
