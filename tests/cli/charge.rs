//! `stat --charge`: the memory cgroups that a segment's pages are charged to, compared with the kernel's own count.

use std::process::Stdio;

use serde_json::{Value, json};

use crate::support::{
    Cgroup, Ended, Namespace, Need, Row, Running, ended, huge_pages, huge_segment, in_namespace, in_namespace_as_root,
    needs, peak_kib, shmadm_path, skip, wait_until,
};

/// Writes bytes to a segment from a process in a cgroup.
#[track_caller]
fn write(ns: &Namespace, cgroup: &Cgroup, segment: &str, offset: u64, length: usize) {
    let line = r#"echo $$ > "$1"; head -c "$2" /dev/zero | "$3" write "$4" --offset "$5""#;
    let mut shell = ns.program("sh");
    shell.args(["-ec", line, "sh"]).arg(cgroup.procs()).arg(length.to_string()).arg(shmadm_path());
    ended(shell.args([segment, &offset.to_string()])).ok();
}

fn stat(ns: &Namespace, words: &[&str]) -> Ended {
    ns.shmadm(["stat", "--charge"].iter().chain(words))
}

/// Returns the charged cgroups without their units, as a test's own cgroups have none.
#[track_caller]
fn charged(ns: &Namespace, segment: &str) -> Vec<(Value, Value, Value)> {
    let mut stat = stat(ns, &[segment, "-f", "json"]).json();
    let charges = stat[0]["charged"].take();
    charges
        .as_array()
        .expect("an array")
        .iter()
        .map(|one| (one["cgroup"].clone(), one["bytes"].clone(), one["removed"].clone()))
        .collect()
}

fn charge(cgroup: &Cgroup, bytes: u64) -> (Value, Value, Value) {
    (json!(cgroup.path), json!(bytes), json!(false))
}

#[test]
fn a_directory_that_cannot_be_listed_does_not_mean_that_a_cgroup_was_removed() {
    in_namespace_as_root(|ns| {
        needs(Need::Strace);
        let cgroup = Cgroup::new("unlisted");
        ns.shmadm(["create", "7", "--size", "1M"]).ok();
        write(ns, &cgroup, "7", 0, 4096);
        assert_eq!(charged(ns, "7"), [charge(&cgroup, 4096)]);
        let mut strace = ns.program("strace");
        strace.args(["-f", "-qq", "-o", "log", "-e", "trace=getdents64", "-e", "inject=getdents64:error=EACCES"]);
        let run = ended(strace.args([shmadm_path(), "stat", "--charge", "7", "-f", "json"])).json();
        let charges = &run[0]["charged"];
        assert_eq!((&charges[0]["cgroup"], &charges[0]["removed"]), (&Value::Null, &Value::Null), "{charges}");
    });
}

#[test]
fn no_cgroup_is_named_if_its_hierarchy_is_unknown() {
    in_namespace_as_root(|ns| {
        needs(Need::Strace);
        let cgroup = Cgroup::new("unknown");
        ns.shmadm(["create", "7", "--size", "1M"]).ok();
        write(ns, &cgroup, "7", 0, 4096);
        assert_eq!(charged(ns, "7"), [charge(&cgroup, 4096)]);
        for file in ["/proc/cgroups", "/proc/self/mountinfo"] {
            let mut strace = ns.program("strace");
            strace.args(["-f", "-qq", "-o", "log", "-P", file, "-e", "inject=open,openat:error=EACCES"]);
            let run = ended(strace.args([shmadm_path(), "stat", "--charge", "7", "-f", "json"])).json();
            let charges = &run[0]["charged"];
            let expected = (&Value::Null, &Value::Null, &json!(4096));
            assert_eq!(
                (&charges[0]["cgroup"], &charges[0]["removed"], &charges[0]["bytes"]),
                expected,
                "{file}: {charges}"
            );
        }
    });
}

#[test]
fn the_first_cgroup_to_touch_a_page_is_charged_even_after_its_removal() {
    in_namespace_as_root(|ns| {
        let parent = Cgroup::new("charge");
        let (first, second) = (parent.below("first"), parent.below("docker-4f5a.scope"));
        ns.shmadm(["create", "7", "--size", "1M"]).ok();
        assert_eq!(charged(ns, "7"), [], "nobody has touched it");
        assert_eq!(ns.table()[0].lpid, "0", "it was not attached, so that nobody is replaced as its last user");
        write(ns, &first, "7", 0, 10 * 4096);
        assert_eq!(charged(ns, "7"), [charge(&first, 40960)]);
        write(ns, &second, "7", 512 << 10, 2 * 4096);
        // An existing page stays charged to its first cgroup.
        write(ns, &second, "7", 0, 4096);
        assert_eq!(charged(ns, "7"), [charge(&first, 40960), charge(&second, 8192)]);
        let text = stat(ns, &["7"]).ok();
        for words in [["40K", "40960", "-", &first.path], ["8K", "8192", "-", &second.path]] {
            assert!(text.lines().any(|line| line.split_whitespace().eq(words)), "{words:?} in {text}");
        }
        first.remove();
        // First its inode belongs to no directory; then the kernel reports the parent cgroup.
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
        loop {
            let now = charged(ns, "7");
            assert_eq!(now.len(), 2, "{now:?}");
            assert_eq!((&now[0].1, &now[0].2), (&json!(40960), &json!(true)), "{now:?}");
            assert_eq!(now[1], charge(&second, 8192));
            assert!(std::time::Instant::now() < deadline, "the kernel does not name the cgroup above: {now:?}");
            if now[0].0 == json!(parent.path) {
                break;
            }
        }
        let text = stat(ns, &["7"]).ok();
        assert!(text.contains(&format!("{} (for a cgroup below it that was removed)", parent.path)), "{text}");
        ns.shmadm(["remove", "7"]).ok();
    });
}

#[test]
fn nothing_is_allocated_and_an_attached_segment_keeps_its_times() {
    in_namespace_as_root(|ns| {
        ns.shmadm(["create", "7", "--size", "64M"]).ok();
        ns.shmadm(["write", "7", "x", "--offset", "32M"]).ok();
        // Without other attachments our attach changes ATIME and nothing else.
        let before = ns.row(0).expect("a row");
        assert_eq!(charged(ns, "7").iter().map(|one| one.1.as_u64().expect("bytes")).sum::<u64>(), 4096);
        let after = ns.row(0).expect("a row");
        let Row { lpid, atime, dtime, .. } = after.clone();
        assert_eq!(after, Row { lpid, atime, dtime, ..before });
        // With another attachment nothing changes at all.
        let _holder = ns.hold(["read", "7", "--hold"]);
        let before = ns.row(0).expect("a row");
        let end = std::time::Instant::now() + std::time::Duration::from_millis(1100);
        // The kernel's times have seconds. Trying for longer than a second makes a change visible.
        while std::time::Instant::now() < end {
            assert_eq!(charged(ns, "7").len(), 1);
        }
        assert_eq!(ns.row(0).expect("a row"), before);
    });
}

#[test]
fn memory_use_does_not_grow_with_the_segment() {
    in_namespace_as_root(|ns| {
        ns.shmadm(["create", "7", "--size", "256M"]).ok();
        ns.shmadm(["write", "7", "--fill", "1", ""]).ok();
        let measure = ns.compile("measure");
        let measured = ended(ns.program(measure).arg(shmadm_path()).args(["stat", "7", "--charge", "-f", "json"]));
        assert!(peak_kib(&measured) < 32 << 10, "{measured:?}");
        let found: Value = serde_json::from_str(&measured.out).expect("JSON");
        let bytes = |one: &Value| one["bytes"].as_u64().expect("bytes");
        assert_eq!(found[0]["charged"].as_array().expect("an array").iter().map(bytes).sum::<u64>(), 256 << 20);
        // A huge sparse segment takes no time.
        ns.shmadm(["create", "8", "--size", "64T", "--no-reserve"]).ok();
        ns.shmadm(["write", "8", "x", "--offset", "40T"]).ok();
        assert_eq!(charged(ns, "8").len(), 1);
    });
}

#[test]
fn a_segment_that_a_detach_would_destroy_is_not_attached() {
    in_namespace_as_root(|ns| {
        // The kernel keeps it while its creator, this perl, lives.
        let perl = "my $id = shmget(9, 4096, 01600) // die; shmwrite($id, 'x', 0, 1) or die;
                    open my $forced, '>', '/proc/sys/kernel/shm_rmid_forced' or die; print $forced 1; close $forced;
                    system($ARGV[0], 'stat', '9', '--charge') >> 8 == 1 or die;
                    shmctl($id, 2, my $state = '') or die 'it is gone'; shmctl($id, 0, 0)";
        let perl = ended(ns.program("perl").arg("-e").arg(perl).arg(shmadm_path()));
        assert_eq!(perl.code, Some(0), "{perl:?}");
        assert!(perl.err.contains("shm_rmid_forced is 1") && perl.out.contains("identity"), "{perl:?}");
    });
}

#[test]
fn without_privilege_a_note_says_what_root_would_see() {
    in_namespace(|ns| {
        ns.shmadm(["create", "7", "--size", "4K", "--mode", "666"]).ok();
        ns.shmadm(["write", "7", "x"]).ok();
        let mut stats = vec![ns.shmadm_unprivileged(["stat", "7", "--charge", "-f", "json"])];
        if !ns.is_root {
            stats.push(stat(ns, &["7", "-f", "json"]));
        }
        for ended in stats {
            let stat: Value = serde_json::from_str(&ended.out).expect("JSON");
            assert_eq!(stat[0]["charged"], Value::Null);
            assert_eq!(stat[0]["rss"], 4096);
            let line = ended.fails(1);
            assert!(line.contains("only root may") && line.contains("4096 bytes"), "{line}");
        }
        // Without --charge there is no error.
        assert_eq!(ns.shmadm(["stat", "7", "-f", "json"]).json()[0]["charged"], Value::Null);
    });
}

#[test]
fn a_container_is_named() {
    in_namespace_as_root(|ns| {
        let id = "4f5a6b7c8d9e0f1a2b3c4d5e6f708192a3b4c5d6e7f8091a2b3c4d5e6f708192";
        let parent = Cgroup::new("charge");
        let container = parent.below(&format!("docker-{id}.scope"));
        ns.shmadm(["create", "7", "--size", "4K"]).ok();
        write(ns, &container, "7", 0, 10);
        let found = stat(ns, &["7", "-f", "json"]).json();
        assert_eq!(found[0]["charged"][0]["unit"], "docker:4f5a6b7c8d9e", "{found}");
        assert!(stat(ns, &["7"]).ok().contains("docker:4f5a6b7c8d9e"));
    });
}

#[test]
fn huge_pages_are_charged_to_nobody_and_none_is_allocated() {
    in_namespace_as_root(|ns| {
        if let Err(reason) = huge_segment(ns, 7) {
            skip(reason);
        }
        assert_eq!(charged(ns, "7"), [], "nobody has touched it");
        if huge_pages() == Some(true) {
            ns.shmadm(["write", "7", "x"]).ok();
            assert_eq!(charged(ns, "7"), [(Value::Null, json!(2 << 20), json!(false))]);
            assert!(stat(ns, &["7"]).ok().contains("no memory cgroup is charged"));
        }
    });
}

#[test]
fn a_segment_of_another_namespace_is_inspected_there() {
    in_namespace_as_root(|ns| {
        let parent = Cgroup::new("charge");
        let cgroup = parent.below("there");
        let mut other = ns.program("unshare");
        let other = Running(other.args(["--ipc", "sleep", "1000"]).spawn().expect("unshare"));
        let pid = other.pid().to_string();
        let inode = |pid: &str| std::fs::read_link(format!("/proc/{pid}/ns/ipc")).expect("a process");
        wait_until("it is there", || inode(&pid) != inode("thread-self"));
        ns.shmadm(["--ns", &pid, "create", "7", "--size", "1M"]).ok();
        // This namespace has a larger segment with the same key and identifier.
        ns.shmadm(["create", "7", "--size", "2M"]).ok();
        ns.shmadm(["write", "7", "--offset", "4K", "x"]).ok();
        let line = r#"echo $$ > "$1"; head -c 20000 /dev/zero | "$2" --ns "$3" write 7"#;
        let mut shell = ns.program("sh");
        ended(shell.args(["-ec", line, "sh"]).arg(cgroup.procs()).args([shmadm_path(), &pid])).ok();
        let found = ns.shmadm(["--ns", &pid, "stat", "7", "--charge", "-f", "json"]).json();
        assert_eq!(
            found[0]["charged"],
            json!([{"cgroup": cgroup.path, "unit": null, "bytes": 20480, "removed": false}])
        );
    });
}

#[test]
fn a_topmost_directory_that_is_missing_does_not_mean_that_all_cgroups_were_removed() {
    in_namespace_as_root(|ns| {
        needs(Need::Strace);
        let cgroup = Cgroup::new("unmounted");
        ns.shmadm(["create", "7", "--size", "1M"]).ok();
        write(ns, &cgroup, "7", 0, 4096);
        let procs = cgroup.procs();
        let root = procs.ancestors().nth(2).expect("the root").display();
        let mut strace = ns.program("strace");
        strace.args(["-f", "-qq", "-o", "log", "-e", "trace=openat", "-e", "inject=openat:error=ENOENT"]);
        strace.args(["-P", &format!("{root}"), "-P", &format!("{root}/")]);
        let run = ended(strace.args([shmadm_path(), "stat", "--charge", "7", "-f", "json"])).json();
        assert!(std::fs::read_to_string(ns.path("log")).expect("a log").contains("(INJECTED)"), "{run:?}");
        let charges = &run[0]["charged"];
        assert_eq!((&charges[0]["cgroup"], &charges[0]["removed"]), (&Value::Null, &Value::Null), "{charges}");
    });
}

#[test]
fn a_limit_of_descriptors_is_the_reason_if_it_is_reached() {
    in_namespace_as_root(|ns| {
        let holder = ns.hold(["attach-write", "7", "text", "--create", "1M", "--hold"]);
        let (mut refused, mut done) = (0, 0);
        for limit in 5..13 {
            let script = format!("ulimit -n {limit}; exec $0 stat --charge 7");
            let stat = ended(ns.program("sh").args(["-c", &script, shmadm_path()]).stdin(Stdio::null()));
            match stat.code {
                Some(0) => done += 1,
                // With fewer descriptors the program cannot even start.
                Some(127) => {}
                _ => {
                    refused += 1;
                    assert!(stat.err.contains("Too many open files"), "{limit}: {stat:?}");
                    assert!(!stat.err.contains("no process can be seen"), "{limit}: {stat:?}");
                }
            }
        }
        assert!(refused >= 2 && done >= 1, "{refused} {done}");
        drop(holder);
    });
}
