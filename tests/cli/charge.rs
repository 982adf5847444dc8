//! `stat --charge`: the memory cgroups that a segment's pages are charged to, against the kernel's own.

use serde_json::{Value, json};

use crate::support::{
    Cgroup, Ended, Namespace, Row, Running, ended, huge_pages, huge_segment, in_namespace, in_namespace_as_root,
    peak_kib, shmadm_path, skip, wait_until,
};

/// Writes bytes to a segment from within a cgroup.
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

/// Who is charged, without the unit: that of a test's own cgroups is none.
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
fn whoever_touched_a_page_first_is_charged_for_it_removed_or_not() {
    in_namespace_as_root(|ns| {
        let parent = Cgroup::new("charge");
        let (first, second) = (parent.below("first"), parent.below("docker-4f5a.scope"));
        ns.shmadm(["create", "7", "--size", "1M"]).ok();
        assert_eq!(charged(ns, "7"), [], "nobody has touched it");
        write(ns, &first, "7", 0, 10 * 4096);
        assert_eq!(charged(ns, "7"), [charge(&first, 40960)]);
        write(ns, &second, "7", 512 << 10, 2 * 4096);
        // A page that is there stays charged to whom it was.
        write(ns, &second, "7", 0, 4096);
        assert_eq!(charged(ns, "7"), [charge(&first, 40960), charge(&second, 8192)]);
        let text = stat(ns, &["7"]).ok();
        for words in [["40K", "40960", "-", &first.path], ["8K", "8192", "-", &second.path]] {
            assert!(text.lines().any(|line| line.split_whitespace().eq(words)), "{words:?} in {text}");
        }
        first.remove();
        // At first its inode is one that no directory has. Then the kernel names the cgroup above.
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
        // Nobody is attached: the attach moves ATIME, and nothing else.
        let before = ns.row(0).expect("a row");
        assert_eq!(charged(ns, "7").iter().map(|one| one.1.as_u64().expect("bytes")).sum::<u64>(), 4096);
        let after = ns.row(0).expect("a row");
        let Row { lpid, atime, dtime, .. } = after.clone();
        assert_eq!(after, Row { lpid, atime, dtime, ..before });
        // Somebody is: nothing at all changes.
        let _holder = ns.hold(["read", "7", "--hold"]);
        let before = ns.row(0).expect("a row");
        let end = std::time::Instant::now() + std::time::Duration::from_millis(1100);
        // Times are whole seconds: one of these falls into another second.
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
        // A huge sparse one takes no time.
        ns.shmadm(["create", "8", "--size", "64T", "--no-reserve"]).ok();
        ns.shmadm(["write", "8", "x", "--offset", "40T"]).ok();
        assert_eq!(charged(ns, "8").len(), 1);
    });
}

#[test]
fn a_segment_that_a_detach_would_destroy_is_not_attached() {
    in_namespace_as_root(|ns| {
        ns.shmadm(["create", "7", "--size", "4K"]).ok();
        ns.run("sh", ["-c", "echo 1 > /proc/sys/kernel/shm_rmid_forced"]);
        // A creator that lives keeps it from going at once; perl is that.
        let perl = "my $id = shmget(9, 4096, 01600) // die; system($ARGV[0], 'stat', '9', '--charge') >> 8 == 1 or die;
                    shmctl($id, 2, my $state = '') or die 'it is gone'; shmctl($id, 0, 0)";
        let told = ended(ns.program("perl").arg("-e").arg(perl).arg(shmadm_path()));
        assert_eq!(told.code, Some(0), "{told:?}");
        assert!(told.err.contains("shm_rmid_forced is 1") && told.out.contains("identity"), "{told:?}");
    });
}

#[test]
fn anyone_else_is_told_what_root_would_see() {
    in_namespace(|ns| {
        ns.shmadm(["create", "7", "--size", "4K", "--mode", "666"]).ok();
        ns.shmadm(["write", "7", "x"]).ok();
        let mut told = vec![ns.shmadm_unprivileged(["stat", "7", "--charge", "-f", "json"])];
        if !ns.is_root {
            told.push(stat(ns, &["7", "-f", "json"]));
        }
        for told in told {
            let stat: Value = serde_json::from_str(&told.out).expect("JSON");
            assert_eq!(stat[0]["charged"], Value::Null);
            assert_eq!(stat[0]["rss"], 4096);
            let line = told.fails(1);
            assert!(line.contains("only root may") && line.contains("4096 bytes"), "{line}");
        }
        // Not asked for.
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
fn huge_pages_are_charged_to_nobody_and_none_is_taken() {
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
fn a_segment_of_another_namespace_is_looked_into_there() {
    in_namespace_as_root(|ns| {
        let parent = Cgroup::new("charge");
        let cgroup = parent.below("there");
        let mut other = ns.program("unshare");
        let other = Running(other.args(["--ipc", "sleep", "1000"]).spawn().expect("unshare"));
        let pid = other.pid().to_string();
        let inode = |pid: &str| std::fs::read_link(format!("/proc/{pid}/ns/ipc")).expect("a process");
        wait_until("it is there", || inode(&pid) != inode("thread-self"));
        ns.shmadm(["--ns", &pid, "create", "7", "--size", "1M"]).ok();
        // One of the same key and identifier is here, and larger.
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
