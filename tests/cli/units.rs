//! UNIT, HOLDERS and `--unit`: processes in cgroups that are named as systemd and the container runtimes name them.

use std::process::Stdio;

use serde_json::{Value, json};

use crate::support::{
    Cgroup, Namespace, Need, Running, ended, in_namespace, in_namespace_as_root, needs, shmadm_path, wait_until,
};

const ID: &str = "4f5a6b7c8d9e0f1a2b3c4d5e6f708192a3b4c5d6e7f8091a2b3c4d5e6f708192";

/// Starts a process in a cgroup that creates a segment with this key, attaches it and waits.
fn creator(ns: &Namespace, cgroup: &Cgroup, key: i32) -> Running {
    needs(Need::Program("perl"));
    let script = r#"echo $$ > "$1"; exec perl -e '
        my $id = shmget($ARGV[0], 4096, 01644) // die $!; shmread($id, my $bytes, 0, 1) or die $!; print "ready\n"; $| = 1;
        print ""; sleep 1000' "$2""#;
    let mut shell = ns.program("sh");
    shell.args(["-ec", script, "sh"]).arg(cgroup.procs()).arg(key.to_string()).stdout(Stdio::null());
    let running = Running(shell.spawn().expect("sh"));
    let key = key.to_string();
    // perl detaches after reading, which sets DTIME.
    wait_until("the segment was used", || ns.table().iter().any(|row| row.key == key && row.dtime != "0"));
    running
}

fn units(ns: &Namespace, words: &[&str]) -> Vec<(String, Value)> {
    let list = ns.shmadm([&["list", "-f", "json"], words].concat()).json();
    let segments = list["segments"].as_array().expect("an array").iter();
    segments.map(|one| (one["key"].as_str().expect("a key").to_owned(), one["unit"].clone())).collect()
}

#[test]
fn the_unit_of_a_living_process_is_shown_and_filtered() {
    in_namespace_as_root(|ns| {
        let parent = Cgroup::new("units");
        let docker = parent.below(&format!("docker-{ID}.scope"));
        let pod = parent.below("kubepods-burstable-pod2c48913c_b29f_11e7_9350_020968147796.slice");
        let container = pod.below(&format!("cri-containerd-{ID}.scope"));
        let (one, two) = (creator(ns, &docker, 1), creator(ns, &container, 2));
        ns.shmadm(["create", "3", "--size", "4K"]).ok();
        let (docker_name, pod_name) = ("docker:4f5a6b7c8d9e", "pod:burstable/2c48913c-b29f-11e7-9350-020968147796");
        let whole = format!("{pod_name}/containerd:4f5a6b7c8d9e");
        let (first, second) = (("0x00000001".to_owned(), json!(docker_name)), ("0x00000002".to_owned(), json!(whole)));
        // The creator of the third segment has exited, and nobody has used it.
        assert_eq!(units(ns, &[]), [first.clone(), second.clone(), ("0x00000003".to_owned(), Value::Null)]);
        let mut anyone = ns.shmadm_unprivileged(["list", "-f", "json"]).json();
        assert_eq!(anyone["segments"][0]["unit"].take(), docker_name, "{anyone}");
        for (words, expected) in [
            (&["--unit", docker_name][..], &[&first][..]),
            (&["--unit", &whole], &[&second]),
            (&["--unit", pod_name], &[&second]),
            (&["--unit", &ID[..20]], &[&first, &second]),
            (&["--unit", &docker.path], &[&first]),
            (&["--unit", docker_name, "--unit", pod_name], &[&first, &second]),
            (&["--unit", "docker:4f5a"], &[]),
            (&["--unit", "docker:4f5a", "--all-namespaces"], &[]),
        ] {
            assert_eq!(units(ns, words).iter().collect::<Vec<_>>(), expected, "{words:?}");
        }
        ns.shmadm(["list", "--unit", ""]).usage_error();
        let table = ns.shmadm(["list", "-o", "id,unit", "--sort", "unit", "-f", "raw", "--no-headings"]).ok();
        assert_eq!(table, format!("2 -\n0 {docker_name}\n1 {whole}\n"));
        let sums = ns.shmadm(["list", "--sum", "unit", "-f", "json"]).json();
        let mut sums: Vec<_> =
            sums["sums"].as_array().expect("an array").iter().map(|sum| sum["unit"].clone()).collect();
        sums.sort_by_key(ToString::to_string);
        assert_eq!(sums, [json!(docker_name), json!(whole), Value::Null]);
        let text = ns.shmadm(["stat", "1"]).ok();
        assert!(text.lines().any(|line| line.trim_start() == format!("unit  {docker_name}")), "{text}");
        // When the process ends, its unit is no longer shown. remove --unit selects the same segments as list --unit.
        drop(one);
        assert_eq!(units(ns, &["--unit", docker_name]), []);
        ns.shmadm(["remove", "--unit", pod_name, "--yes"]).ok();
        assert_eq!(units(ns, &[]).len(), 2);
        drop(two);
    });
}

#[test]
fn the_unit_of_a_later_process_with_the_pid_is_not_shown() {
    in_namespace_as_root(|ns| {
        let parent = Cgroup::new("units");
        let docker = parent.below(&format!("docker-{ID}.scope"));
        let holder = creator(ns, &docker, 1);
        // IPC_SET changes ctime. After that a later process with the pid cannot be distinguished from the creator.
        std::thread::sleep(std::time::Duration::from_millis(1100));
        ns.shmadm(["set", "1", "--mode", "600", "--owner", "12"]).ok();
        let list = ns.shmadm(["list", "-f", "json"]).json();
        assert_eq!(list["segments"][0]["creator"], "unknown");
        // The process was also the last user, which is certain.
        assert_eq!(list["segments"][0]["unit"], "docker:4f5a6b7c8d9e");
        ns.shmadm(["read", "1", "-o", "/dev/null"]).ok();
        assert_eq!(units(ns, &[])[0].1, Value::Null, "whoever used it last has exited");
        drop(holder);
    });
}

#[test]
fn holders_are_commands_with_their_number() {
    in_namespace(|ns| {
        ns.shmadm(["create", "1", "--size", "4K"]).ok();
        ns.shmadm(["create", "2", "--size", "4K"]).ok();
        let _two =
            [ns.hold(["read", "1", "--hold", "-o", "/dev/null"]), ns.hold(["read", "1", "--hold", "-o", "/dev/null"])];
        let other = ns.copy(shmadm_path(), "a b");
        let mut other = ns.program(other);
        let _third =
            Running(other.args(["read", "1", "--hold", "-o", "/dev/null"]).stderr(Stdio::null()).spawn().expect("it"));
        wait_until("three are attached", || ns.row(0).is_some_and(|row| row.nattch == "3"));
        let holders = |format: &str| ns.shmadm(["list", "-o", "id,holders", "--no-headings", "-f", format]).ok();
        let doubt = ns.doubt();
        assert_eq!(holders("csv"), format!("0,shmadm{doubt}(2) a b{doubt}\n1,\n"));
        assert_eq!(holders("raw"), format!("0 shmadm{doubt}(2)\\x20a\\x20b{doubt}\n1 -\n"));
    });
}

#[test]
fn attachments_have_their_units() {
    in_namespace_as_root(|ns| {
        let parent = Cgroup::new("units");
        let docker = parent.below(&format!("docker-{ID}.scope"));
        ns.shmadm(["create", "1", "--size", "4K"]).ok();
        let mut shell = ns.program("sh");
        let script = r#"echo $$ > "$1"; exec "$2" read 1 --hold -o /dev/null"#;
        shell.args(["-ec", script, "sh"]).arg(docker.procs()).arg(shmadm_path()).stderr(Stdio::null());
        let _holder = Running(shell.spawn().expect("sh"));
        wait_until("it is attached", || ns.row(0).is_some_and(|row| row.nattch == "1"));
        let stat = ns.shmadm(["stat", "1", "-f", "json"]).json();
        assert_eq!(stat[0]["attachments"][0]["unit"], "docker:4f5a6b7c8d9e");
        let text = ns.shmadm(["stat", "1"]).ok();
        assert!(text.contains("UNIT") && text.contains("docker:4f5a6b7c8d9e  "), "{text}");
    });
}

/// The control groups of a living process cannot be read: whether its segment is of a unit is unknown, not "no".
#[test]
fn a_unit_that_cannot_be_read_is_not_another_unit() {
    in_namespace_as_root(|ns| {
        needs(Need::Strace);
        let parent = Cgroup::new("units");
        let docker = parent.below(&format!("docker-{ID}.scope"));
        let holder = creator(ns, &docker, 1);
        ns.shmadm(["create", "3", "--size", "4K"]).ok();
        let path = format!("/proc/{}/cgroup", holder.pid());
        let name = "docker:4f5a6b7c8d9e";
        let told = "skipped 1 segment whose unit is unknown, because the creator or last user cannot be inspected";
        let skipped = ": whether it matches the filters is unknown";
        for (line, told) in [
            (&["list", "-q"][..], told),
            (&["list", "-q", "--unattached"], told),
            (&["remove", "--yes"], told),
            (&["save", "archive"], told),
            (&["remove", "1", "3"], skipped),
            (&["save", "archive", "1"], skipped),
        ] {
            let mut strace = ns.program("strace");
            let inject = "inject=openat:error=EACCES";
            strace.args(["-f", "-qq", "-o", "log", "-e", "trace=openat", "-e", inject, "-P", &path, "--"]);
            let run = ended(strace.arg(shmadm_path()).args(line).args(["--unit", name]));
            assert!(std::fs::read_to_string(ns.path("log")).expect("a log").contains("(INJECTED)"), "{run:?}");
            assert_eq!(run.err.matches(told).count(), 1, "{line:?}: {run:?}");
            assert_eq!((run.out.as_str(), ns.table().len(), ns.path("archive").exists()), ("", 2, false), "{run:?}");
        }
        // A segment whose users have exited has no unit, and a unit that was read is not unknown.
        let other = ns.shmadm(["list", "-q", "--unit", "docker:0123"]);
        assert_eq!((other.code, other.out.as_str(), other.err.as_str()), (Some(0), "", ""));
        ns.shmadm(["remove", "--yes", "--unit", name]).ok();
        assert_eq!(ns.table().len(), 1);
        drop(holder);
    });
}
