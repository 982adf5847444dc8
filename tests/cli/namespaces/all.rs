//! `list --all-namespaces`: every namespace once, with its segments.

use super::*;
use crate::support::{Need, needs, shmadm_path, skippable};

#[test]
fn foreign_namespaces_are_counted() {
    in_namespace_as_root(|ns| {
        ns.shmadm(["create", "42", "--size", "4096"]).ok();
        // A process of this user in a namespace of root.
        let mut command = ns.program("unshare");
        command.args(["--ipc", "--", "setpriv", "--reuid", "1234", "--regid", "1234", "--clear-groups"]);
        let there = OtherNamespace::start(command.args(["--", "sleep", "1000"]));
        ns.shmadm(["--ns", &there.pid, "create", "42", "--size", "8192"]).ok();
        let list = ns.shmadm_unprivileged(["list", "--all-namespaces", "-f", "json"]);
        let notes = list.err.clone();
        assert!(notes.lines().count() == 1 && notes.contains("cannot be entered"), "{notes}");
        assert!(notes.contains("cannot be inspected") && notes.contains("root sees all"), "{notes}");
        let list = list.json();
        assert_eq!(namespace(&list, there.inode)["segments"], Value::Null);
        assert!(segments(&list, there.inode).is_empty());
        assert_eq!(segments(&list, inode(gettid())).len(), 1);
        let table = ns.shmadm_unprivileged(["list", "--all-namespaces"]).ok();
        let heading = format!("IPC namespace {}, cannot be entered, ", there.inode);
        let ends = format!("process {}: sleep 1000", there.pid);
        assert!(table.lines().any(|line| line.starts_with(&heading) && line.ends_with(&ends)), "{table}");
        assert_eq!(segments(&list_all(ns, &[]), there.inode).len(), 1, "root sees it");
    });
}

#[test]
fn the_same_identifier_in_two_namespaces_is_two_segments() {
    in_namespace(|ns| {
        let (there, empty) = (OtherNamespace::new(ns), OtherNamespace::new(ns));
        ns.shmadm(["create", "42", "--size", "4096"]).ok();
        ns.shmadm(["--ns", &there.pid, "create", "42", "--size", "8192"]).ok();
        let here = inode(gettid());
        let list = list_all(ns, &[]);
        for (inode, size) in [(here, 4096), (there.inode, 8192)] {
            let [segment] = segments(&list, inode)[..] else { panic!("one segment in {inode}: {list}") };
            assert_eq!(
                (&segment["id"], &segment["key"], &segment["size"]),
                (&0.into(), &"0x0000002a".into(), &size.into())
            );
            assert_eq!(namespace(&list, inode)["segments"], 1);
        }
        assert_eq!(namespace(&list, empty.inode)["segments"], 0);
        // The own namespace is first, then the others in the order of their inodes.
        let inodes: Vec<_> =
            list["namespaces"].as_array().expect("an array").iter().map(|known| known["ns"].as_u64()).collect();
        assert_eq!(inodes[0], Some(here));
        assert!(inodes[1..].is_sorted() && !inodes[1..].contains(&Some(here)), "{inodes:?}");
        // lsns shows the same process for each. For a namespace with several processes it may show another one.
        let lsns = ns.run("lsns", ["-t", "ipc", "-n", "-o", "NS,PID"]);
        let lsns: Vec<Vec<&str>> = lsns.lines().map(|line| line.split_whitespace().collect()).collect();
        for other in [&there, &empty] {
            assert_eq!(namespace(&list, other.inode)["pid"].to_string(), other.pid);
            let line = [other.inode.to_string(), other.pid.clone()];
            assert!(lsns.iter().any(|known| *known == line), "{lsns:?}");
        }
        // A list of a single namespace has no "ns" in JSON.
        assert!(!ns.shmadm(["list", "-f", "json"]).ok().contains("\"ns\""));
    });
}

#[test]
fn each_format_shows_the_namespace() {
    in_namespace(|ns| {
        let (there, empty) = (OtherNamespace::new(ns), OtherNamespace::new(ns));
        ns.shmadm(["create", "1", "--size", "4096"]).ok();
        ns.shmadm(["create", "2", "--size", "64K"]).ok();
        ns.shmadm(["--ns", &there.pid, "create", "3", "--size", "8192"]).ok();
        let (here, there_inode) = (inode(gettid()).to_string(), there.inode.to_string());
        let list_as = |words: &[&str]| ns.shmadm([&["list", "--all-namespaces"], words].concat()).ok();
        let ours = |line: &&str| line.contains(&here) || line.contains(&there_inode);
        let lines = |text: &str| -> Vec<String> { text.lines().filter(ours).map(str::to_owned).collect() };

        let raw = list_as(&["-f", "raw", "--sort", "size", "--reverse"]);
        assert!(raw.starts_with("NS KEY ID "), "{raw}");
        let rows = lines(&raw);
        let first: Vec<Vec<&str>> = rows.iter().map(|line| line.split(' ').take(2).collect()).collect();
        let (one, two, three) = ("0x00000001", "0x00000002", "0x00000003");
        assert_eq!(first, [[here.as_str(), two], [&there_inode, three], [&here, one]]);
        let csv = list_as(&["-f", "csv"]);
        assert!(csv.lines().next().is_some_and(|titles| titles.ends_with(",NS")), "{csv}");
        assert!(lines(&csv).iter().any(|line| line.starts_with(three) && line.ends_with(&format!(",{there_inode}"))));
        let jsonl = list_as(&["-f", "jsonl"]);
        let records = jsonl.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
        let record = records.into_iter().find(|record| record["ns"] == there.inode).expect("its segment");
        assert_eq!(record["key"], three);

        // A sorted table mixes the namespaces.
        let sorted = list_as(&["--sort", "size", "--reverse"]);
        assert!(sorted.contains(" NS  KEY ") && !sorted.contains("IPC namespace"), "{sorted}");
        let keys = lines(&sorted).into_iter().map(|line| line.split_whitespace().nth(1).expect("a key").to_owned());
        assert_eq!(keys.collect::<Vec<_>>(), [two, three, one]);
        // Otherwise each namespace, even an empty one, has a heading.
        let table = list_as(&[]);
        let heading = |inode: u64, rest: &str| format!("IPC namespace {inode}{rest}");
        let rows: Vec<&str> = table.lines().collect();
        assert!(rows[1].starts_with(&heading(inode(gettid()), " (this one), 2 segments")), "{table}");
        assert!(rows[2].contains(one) && rows[3].contains(two) && rows[2].starts_with(&here), "{table}");
        let place = rows.iter().position(|line| line.starts_with(&heading(there.inode, ", 1 segment, "))).expect("it");
        assert!(
            rows[place].ends_with(&format!("{}: sleep 1000", there.pid)) && rows[place + 1].contains(three),
            "{table}"
        );
        assert!(rows.iter().any(|line| line.starts_with(&heading(empty.inode, ", no segments, "))), "{table}");
        // With a filter, namespaces without matching segments are left out.
        let table = list_as(&["--key", "3"]);
        assert!(!table.contains(&here) && !table.contains(&empty.inode.to_string()), "{table}");
        assert_eq!(lines(&table).len(), 2, "{table}");
        let table = list_as(&["--no-headings"]);
        assert!(!table.contains("IPC namespace") && lines(&table).len() == 3, "{table}");

        // In the list of a single namespace the column NS names it.
        let named = ns.shmadm(["--ns", &there.pid, "list", "-o", "ns,key", "-f", "raw", "--no-headings"]).ok();
        assert_eq!(named, format!("{there_inode} {three}\n"));
        ns.shmadm(["list", "--all-namespaces", "-q"]).usage_error();
    });
}

#[test]
fn many_namespaces_are_not_mixed_up() {
    in_namespace(|ns| {
        // Several processes are in this namespace, too.
        let _here: Vec<_> =
            (0..3).map(|_| Running(ns.program("sleep").arg("1000").spawn().expect("a program"))).collect();
        let others: Vec<_> = (1..=20).map(|size| (OtherNamespace::new(ns), size * 4096)).collect();
        for (there, size) in &others {
            ns.shmadm(["--ns", &there.pid, "create", "42", "--size", &size.to_string()]).ok();
        }
        ns.shmadm(["create", "42", "--size", "1"]).ok();
        let list = list_all(ns, &[]);
        let limits = ns.shmadm(["limits", "--all-namespaces", "-f", "json"]).json();
        let largest = |inode: u64| {
            let limits = namespace(&limits, inode)["limits"].as_array().expect("an array");
            limits.iter().find(|limit| limit["name"] == "SHMMAX").expect("a limit")["used"].clone()
        };
        let others = others.iter().map(|(there, size)| (there.inode, *size));
        for (inode, size) in others.chain([(inode(gettid()), 1)]) {
            let [segment] = segments(&list, inode)[..] else { panic!("one segment in {inode}: {list}") };
            assert_eq!((&segment["size"], &largest(inode)), (&size.into(), &size.into()), "{inode}");
        }
    });
}

#[test]
fn filters_respect_the_namespace() {
    in_namespace(|ns| {
        let there = OtherNamespace::new(ns);
        for named in [&[][..], &["--ns", &there.pid]] {
            ns.shmadm([named, &["create", "42", "--size", "8192"]].concat()).ok();
        }
        let here = inode(gettid());
        let count = |words: &[&str]| {
            let list = list_all(ns, words);
            (segments(&list, here).len(), segments(&list, there.inode).len())
        };
        // Attached there, and used by another process after that. The same identifier here is another segment.
        let holder = ns.hold(["--ns", &there.pid, "read", "42", "--hold", "-o", "/dev/null"]);
        for named in [&[][..], &["--ns", &there.pid]] {
            ns.shmadm([named, &["read", "42", "-o", "/dev/null"]].concat()).ok();
        }
        assert_eq!(count(&["--pid", &holder.pid().to_string()]), (0, 1));
        assert_eq!(count(&["--pid", &there.pid]), (0, 0));

        let snapshot = |name: &str, list: &Value| ns.file(name, list.to_string()).to_str().expect("UTF-8").to_owned();
        let mut list = list_all(ns, &[]);
        assert_eq!(count(&["--not-in", &snapshot("all", &list)]), (0, 0));
        // A snapshot of another namespace says nothing about segments here. A snapshot without a namespace applies to
        // every one.
        for segment in list["segments"].as_array_mut().expect("an array") {
            segment["ns"] = there.inode.into();
        }
        assert_eq!(count(&["--not-in", &snapshot("there", &list)]), (1, 0));
        let own = ns.shmadm(["list", "-f", "json"]).json();
        assert_eq!(count(&["--not-in", &snapshot("own", &own)]), (0, 1));
    });
}

#[test]
fn a_failed_copy_of_a_table_is_an_error_for_every_signal() {
    skippable(|| {
        needs_namespaces_of_users();
        needs(Need::Strace);
        // No other namespace is in sight, because strace counts the calls of each thread: the second setns(2) of one is in
        // the child that copies the table.
        let script = r#"unshare --user --map-root-user --ipc sleep 1000 & there=$!
            namespace() { readlink /proc/$1/ns/ipc; }
            until [ "$(namespace $there)" != "$(namespace self)" ]; do sleep 0.01; done
            echo "$(namespace $there) $there"
            strace -f --quiet=all -o /dev/null -e inject=setns:signal=$1:when=2 "$2" list --all-namespaces"#;
        for signal in ["9", "34", "64"] {
            let alone = ["--user", "--map-current-user", "--pid", "--fork", "--kill-child", "--mount-proc"];
            let mut list = ordinary("unshare");
            let list = ended(list.args(alone).args(["sh", "-c", script, "sh", signal, shmadm_path()]));
            let there = list.out.lines().next().and_then(|line| line.strip_prefix("ipc:[")?.split_once("] "));
            let (inode, pid) = there.expect("a namespace");
            let line = format!("cannot list IPC namespace {inode} (process {pid}): Interrupted");
            assert!(list.code == Some(1) && list.err.contains(&line), "{list:?}");
        }
    });
}

#[test]
fn a_namespace_that_cannot_be_read_for_a_while_has_lost_no_segment() {
    in_namespace_as_root(|ns| {
        needs(Need::Strace);
        let there = OtherNamespace::new(ns);
        ns.shmadm(["--ns", &there.pid, "create", "3", "--size", "8192"]).ok();
        let output = |name: &str| std::fs::File::create(ns.path(name)).expect("a file");
        let read = |name: &str| std::fs::read_to_string(ns.path(name)).unwrap_or_default();
        let mut watch = ns.command(["watch", "--all-namespaces", "--source", "poll", "-f", "jsonl"]);
        watch.args(["--interval", "10ms", "--for", "1m"]).stdout(output("out")).stderr(output("err"));
        let watch = Running(watch.spawn().expect("shmadm"));
        wait_until("it watches", || read("err").contains("watching"));
        // From now on no namespace can be entered.
        let mut strace = ns.program("strace");
        strace.args(["-f", "-qq", "-o", "log", "-e", "trace=setns", "-e", "inject=setns:error=EPERM"]);
        let strace = Running(strace.args(["-p", &watch.pid().to_string()]).spawn().expect("strace"));
        wait_until("it cannot enter it", || read("log").matches("(INJECTED)").count() > 20);
        drop(watch);
        drop(strace);
        let ns_field = format!("\"ns\":{}", there.inode);
        assert!(read("out").lines().all(|line| !line.contains(&ns_field)), "{}", read("out"));
    });
}

#[test]
fn processes_whose_namespace_cannot_be_read_are_counted() {
    in_namespace_as_root(|ns| {
        needs(Need::Strace);
        let there = OtherNamespace::new(ns);
        ns.shmadm(["--ns", &there.pid, "create", "3", "--size", "8192"]).ok();
        // stat(2) fails for the namespace of a process, and for its directory in /proc, which exists nevertheless.
        let mut strace = ns.program("strace");
        strace.args(["-f", "-qq", "-o", "log", "-e", "trace=statx", "-e", "inject=statx:error=EACCES:when=5+"]);
        let list = ended(strace.args([shmadm_path(), "list", "--all-namespaces"]));
        assert!(list.code != Some(0) || list.err.contains("there may be more segments"), "{list:?}");
    });
}

/// Runs `list --all-namespaces` while calls fail, as [`with_errors`] does. At least one call must fail.
#[track_caller]
fn list_with_errors(ns: &Namespace, inject: &str) -> Ended {
    let list = with_errors(ns, inject, "list --all-namespaces");
    let log = fs::read_to_string(ns.path("log")).expect("a log");
    assert!(log.contains("(INJECTED)"), "{inject}: {list:?}");
    list
}

/// Runs a command while calls fail, in a new pid namespace, where no other processes come and go. There, process 2 is in
/// another IPC namespace, which has one segment.
#[track_caller]
fn with_errors(ns: &Namespace, inject: &str, line: &str) -> Ended {
    needs(Need::Strace);
    let script = r#"unshare --ipc sh -c '"$0" create 3 --size 8K -q >there && exec sleep 100' "$0" &
                    while [ ! -s there ]; do sleep 0.01; done
                    strace -f -qq -o log $1 -- "$0" $2; exit $?"#;
    ns.run("rm", ["-f", "there", "log"]);
    let mut unshare = ns.program("unshare");
    unshare.args(["--pid", "--fork", "--mount-proc", "--kill-child", "sh", "-c", script, shmadm_path(), inject, line]);
    ended(&mut unshare)
}

#[test]
fn a_namespace_that_cannot_be_read_is_not_empty() {
    in_namespace_as_root(|ns| {
        ns.shmadm(["create", "3", "--size", "8192"]).ok();
        for error in ["ENOENT", "EACCES", "ENOMEM"] {
            // It cannot be seen which namespace is ours.
            let path = "-P /proc/thread-self/ns/ipc";
            let list = list_with_errors(ns, &format!("-e trace=statx -e inject=statx:error={error} {path}"));
            assert_eq!((list.code, &*list.out), (Some(1), ""), "{error}: {list:?}");
        }
        for (error, code, why) in [("ENOMEM", 1, "cannot be read"), ("EPERM", 0, "cannot be entered")] {
            let list = list_with_errors(ns, &format!("-e trace=setns -e inject=setns:error={error}"));
            assert_eq!(list.code, Some(code), "{list:?}");
            assert!(list.out.contains(&format!(", {why}, process 2: ")), "{list:?}");
        }
    });
}

#[test]
fn a_process_whose_files_cannot_be_read_may_keep_a_namespace() {
    in_namespace_as_root(|ns| {
        let list = |error: &str| {
            let ended = list_with_errors(ns, &format!("-e trace=openat -e inject=openat:error={error} -P /proc/2/fd"));
            (ended.code, ended.err)
        };
        let says = "shmadm: 1 process cannot be inspected: there may be more segments\n";
        assert_eq!(list("EACCES"), (Some(0), says.to_owned()));
        // As of a process that has ended.
        assert_eq!(list("ESRCH"), (Some(0), String::new()));
    });
}

#[test]
fn segments_of_a_namespace_that_could_not_be_read_at_first_were_not_created_now() {
    in_namespace_as_root(|ns| {
        for source in ["poll", "kernel"] {
            let mut unread = 0;
            // A new thread enters the namespace. The kernel source starts more threads before its last reading.
            for last in [4, 8, 12, 16, 20, 24, 28] {
                let inject = format!("-e trace=clone3 -e inject=clone3:error=EAGAIN:when=1..{last}");
                let line = format!("watch --all-namespaces --source {source} --interval 20ms --for 500ms");
                let watch = with_errors(ns, &inject, &line);
                assert!(!watch.out.contains("created"), "{source}, {last}: {watch:?}");
                unread += u32::from(watch.err.contains("shmadm: 1 IPC namespace cannot be read: "));
            }
            assert!(unread > 0, "{source}");
        }
    });
}
