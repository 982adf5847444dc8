//! `list --all-namespaces`: every namespace once, with its segments.

use super::*;
use crate::support::{Need, needs, shmadm_path, skippable};

#[test]
fn foreign_namespaces_are_counted() {
    in_namespace_as_root(|ns| {
        ns.shmadm(["create", "42", "--size", "4096"]).ok();
        // A process of the user's own in a namespace of root's.
        let mut command = ns.program("unshare");
        command.args(["--ipc", "--", "setpriv", "--reuid", "1234", "--regid", "1234", "--clear-groups"]);
        let there = Elsewhere::start(command.args(["--", "sleep", "1000"]));
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
        assert_eq!(segments(&everything(ns, &[]), there.inode).len(), 1, "root sees it");
    });
}

#[test]
fn the_same_identifier_in_two_namespaces_is_two_segments() {
    in_namespace(|ns| {
        let (there, empty) = (Elsewhere::new(ns), Elsewhere::new(ns));
        ns.shmadm(["create", "42", "--size", "4096"]).ok();
        ns.shmadm(["--ns", &there.pid, "create", "42", "--size", "8192"]).ok();
        let here = inode(gettid());
        let list = everything(ns, &[]);
        for (inode, size) in [(here, 4096), (there.inode, 8192)] {
            let [segment] = segments(&list, inode)[..] else { panic!("one segment in {inode}: {list}") };
            assert_eq!(
                (&segment["id"], &segment["key"], &segment["size"]),
                (&0.into(), &"0x0000002a".into(), &size.into())
            );
            assert_eq!(namespace(&list, inode)["segments"], 1);
        }
        assert_eq!(namespace(&list, empty.inode)["segments"], 0);
        // Our own is first, the others are in the order of their inodes.
        let inodes: Vec<_> =
            list["namespaces"].as_array().expect("an array").iter().map(|known| known["ns"].as_u64()).collect();
        assert_eq!(inodes[0], Some(here));
        assert!(inodes[1..].is_sorted() && !inodes[1..].contains(&Some(here)), "{inodes:?}");
        // lsns has the same process in each; where there are several processes it may prefer another.
        let lsns = ns.run("lsns", ["-t", "ipc", "-n", "-o", "NS,PID"]);
        let lsns: Vec<Vec<&str>> = lsns.lines().map(|line| line.split_whitespace().collect()).collect();
        for other in [&there, &empty] {
            assert_eq!(namespace(&list, other.inode)["pid"].to_string(), other.pid);
            let line = [other.inode.to_string(), other.pid.clone()];
            assert!(lsns.iter().any(|known| *known == line), "{lsns:?}");
        }
        // Where one namespace is listed, JSON does not say which.
        assert!(!ns.shmadm(["list", "-f", "json"]).ok().contains("\"ns\""));
    });
}

#[test]
fn each_format_says_which_namespace() {
    in_namespace(|ns| {
        let (there, empty) = (Elsewhere::new(ns), Elsewhere::new(ns));
        ns.shmadm(["create", "1", "--size", "4096"]).ok();
        ns.shmadm(["create", "2", "--size", "64K"]).ok();
        ns.shmadm(["--ns", &there.pid, "create", "3", "--size", "8192"]).ok();
        let (here, there_inode) = (inode(gettid()).to_string(), there.inode.to_string());
        let everywhere = |words: &[&str]| ns.shmadm([&["list", "--all-namespaces"], words].concat()).ok();
        let ours = |line: &&str| line.contains(&here) || line.contains(&there_inode);
        let lines = |text: &str| -> Vec<String> { text.lines().filter(ours).map(str::to_owned).collect() };

        let raw = everywhere(&["-f", "raw", "--sort", "size", "--reverse"]);
        assert!(raw.starts_with("NS KEY ID "), "{raw}");
        let rows = lines(&raw);
        let first: Vec<Vec<&str>> = rows.iter().map(|line| line.split(' ').take(2).collect()).collect();
        let (one, two, three) = ("0x00000001", "0x00000002", "0x00000003");
        assert_eq!(first, [[here.as_str(), two], [&there_inode, three], [&here, one]]);
        let csv = everywhere(&["-f", "csv"]);
        assert!(csv.lines().next().is_some_and(|titles| titles.ends_with(",NS")), "{csv}");
        assert!(lines(&csv).iter().any(|line| line.starts_with(three) && line.ends_with(&format!(",{there_inode}"))));
        let jsonl = everywhere(&["-f", "jsonl"]);
        let records = jsonl.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
        let record = records.into_iter().find(|record| record["ns"] == there.inode).expect("its segment");
        assert_eq!(record["key"], three);

        // A table that is sorted goes across them.
        let sorted = everywhere(&["--sort", "size", "--reverse"]);
        assert!(sorted.contains(" NS  KEY ") && !sorted.contains("IPC namespace"), "{sorted}");
        let keys = lines(&sorted).into_iter().map(|line| line.split_whitespace().nth(1).expect("a key").to_owned());
        assert_eq!(keys.collect::<Vec<_>>(), [two, three, one]);
        // Else it has a heading for each, the empty ones too.
        let table = everywhere(&[]);
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
        // Filters choose among the namespaces, too.
        let table = everywhere(&["--key", "3"]);
        assert!(!table.contains(&here) && !table.contains(&empty.inode.to_string()), "{table}");
        assert_eq!(lines(&table).len(), 2, "{table}");
        let table = everywhere(&["--no-headings"]);
        assert!(!table.contains("IPC namespace") && lines(&table).len() == 3, "{table}");

        // In the list of one namespace the column says which that is.
        let named = ns.shmadm(["--ns", &there.pid, "list", "-o", "ns,key", "-f", "raw", "--no-headings"]).ok();
        assert_eq!(named, format!("{there_inode} {three}\n"));
        ns.shmadm(["list", "--all-namespaces", "-q"]).usage_error();
    });
}

#[test]
fn filters_know_the_namespace() {
    in_namespace(|ns| {
        let there = Elsewhere::new(ns);
        for named in [&[][..], &["--ns", &there.pid]] {
            ns.shmadm([named, &["create", "42", "--size", "8192"]].concat()).ok();
        }
        let here = inode(gettid());
        let count = |words: &[&str]| {
            let list = everything(ns, words);
            (segments(&list, here).len(), segments(&list, there.inode).len())
        };
        // Attached there; the same identifier here is another segment. Since then somebody else used it.
        let holder = ns.hold(["--ns", &there.pid, "read", "42", "--hold", "-o", "/dev/null"]);
        for named in [&[][..], &["--ns", &there.pid]] {
            ns.shmadm([named, &["read", "42", "-o", "/dev/null"]].concat()).ok();
        }
        assert_eq!(count(&["--pid", &holder.pid().to_string()]), (0, 1));
        assert_eq!(count(&["--pid", &there.pid]), (0, 0));

        let snapshot = |name: &str, list: &Value| ns.file(name, list.to_string()).to_str().expect("UTF-8").to_owned();
        let mut list = everything(ns, &[]);
        assert_eq!(count(&["--not-in", &snapshot("all", &list)]), (0, 0));
        // What was seen in another namespace is not what is here; a snapshot that does not say where is of any.
        for segment in list["segments"].as_array_mut().expect("an array") {
            segment["ns"] = there.inode.into();
        }
        assert_eq!(count(&["--not-in", &snapshot("there", &list)]), (1, 0));
        let own = ns.shmadm(["list", "-f", "json"]).json();
        assert_eq!(count(&["--not-in", &snapshot("own", &own)]), (0, 1));
    });
}

#[test]
fn a_table_that_was_not_copied_is_an_error_whichever_signal_it_was() {
    skippable(|| {
        needs_namespaces_of_users();
        needs(Need::Strace);
        let there = Elsewhere::start(ordinary("unshare").args(["--user", "--map-root-user", "--ipc", "sleep", "1000"]));
        for signal in [9, 34, 64] {
            // The second time, it is the child that copies the table.
            let inject = format!("inject=setns:signal={signal}:when=2");
            let mut list = ordinary("strace");
            list.args([
                "-f",
                "--quiet=all",
                "-o",
                "/dev/null",
                "-e",
                &inject,
                shmadm_path(),
                "list",
                "--all-namespaces",
            ]);
            let list = ended(&mut list);
            let line = format!("cannot list IPC namespace {} (process {}): Interrupted", there.inode, there.pid);
            assert!(list.code == Some(1) && list.err.contains(&line), "{list:?}");
        }
    });
}
