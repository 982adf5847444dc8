//! IPC namespaces without a process: a mount or an open file keeps them.

use super::*;

/// Creates a namespace with one segment of 8 KiB. Only the shell command `keep`, which has the namespace's file as $1,
/// keeps it.
pub(super) fn kept(ns: &Namespace, keep: &str) -> Running {
    let line = format!(r#"file=/proc/$$/ns/ipc; {keep}; "$SHMADM" create 9 --size 8K -q; echo ready"#);
    let script = format!("{line} > \"$1\"; exec nsenter --ipc=/proc/$PPID/ns/ipc sleep 1000");
    let (ready, mut command) = (ns.path("ready"), ns.program("unshare"));
    command.args(["--ipc", "--mount", "sh", "-ec", &script, "sh"]).arg(&ready).env("SHMADM", shmadm_path());
    let running = Running(command.spawn().expect("unshare"));
    let pid = running.pid();
    wait_until("it has left its namespace", || {
        ready.exists() && fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|comm| comm == "sleep\n")
    });
    running
}

/// Returns the only namespace that is kept in this way.
#[track_caller]
pub(super) fn only(list: &Value, how: &str) -> Value {
    let namespaces = list["namespaces"].as_array().expect("an array").iter();
    let found: Vec<_> =
        namespaces.filter(|one| one["kept_by"].as_str().is_some_and(|text| text.contains(how))).collect();
    let [one] = found[..] else { panic!("one kept by {how}: {list}") };
    one.clone()
}

#[test]
fn a_namespace_that_only_a_mount_or_a_descriptor_keeps_is_listed_and_entered() {
    in_namespace_as_root(|ns| {
        let mount = ns.file("ipc file", "");
        for (keep, how) in [
            (
                format!("mount --bind $file '{}'", mount.display()),
                format!("the mount {} that process", mount.display()),
            ),
            ("exec 7<$file".to_owned(), "descriptor 7 of process".to_owned()),
        ] {
            let keeper = kept(ns, &keep);
            let list = list_all(ns, &[]);
            let how = format!("{how} {}", keeper.pid());
            let one = only(&list, if keep.contains("mount") { &how } else { how.as_str() });
            let inode = one["ns"].as_u64().expect("a number");
            assert_eq!((&one["pid"], &one["segments"]), (&Value::Null, &1.into()), "{one}");
            assert_eq!(segments(&list, inode)[0]["size"], 8192);
            let table = ns.shmadm(["list", "--all-namespaces"]).ok();
            let heading = format!("IPC namespace {inode}, 1 segment, kept by {how}");
            assert!(table.lines().any(|line| line.starts_with(&heading)), "{heading} in {table}");
            // Its number enters it.
            let named = ns.shmadm(["--ns", &inode.to_string(), "list", "-o", "size,ns", "-f", "raw", "--no-headings"]);
            assert_eq!(named.ok(), format!("8192 {inode}\n"));
            drop(keeper);
            let error = ns.shmadm(["--ns", &inode.to_string(), "list"]).fails(1);
            assert!(error.contains("no process, mount or open file of it"), "{error}");
        }
    });
}

#[test]
fn a_namespace_is_entered_by_the_number_that_list_shows() {
    in_namespace(|ns| {
        let there = OtherNamespace::new(ns);
        ns.shmadm(["--ns", &there.inode.to_string(), "create", "9", "--size", "8K"]).ok();
        assert_eq!(there.table(ns).len(), 1);
        assert_eq!(ns.table().len(), 0);
        // The own namespace has a number, too.
        ns.shmadm(["--ns", &inode(gettid()).to_string(), "create", "9", "--size", "8K"]).ok();
        assert_eq!(ns.table().len(), 1);
    });
}

#[test]
fn a_heading_names_the_first_process_of_a_pid_namespace() {
    in_namespace_as_root(|ns| {
        // unshare, whose pid is lower, stays in the IPC namespace with its child, which is pid 1 of the pid namespace.
        let mut command = ns.program("unshare");
        command.args(["--ipc", "--pid", "--fork", "--kill-child", "--mount-proc", "sleep", "1000"]);
        let outer = Running(command.spawn().expect("unshare"));
        let pid = outer.pid();
        let first = || -> Option<String> {
            let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).ok()?;
            let first = children.split_whitespace().next()?.to_owned();
            fs::read_to_string(format!("/proc/{first}/comm")).is_ok_and(|comm| comm == "sleep\n").then_some(first)
        };
        wait_until("the first process of the pid namespace sleeps", || first().is_some());
        let list = list_all(ns, &[]);
        let one = namespace(&list, inode(pid));
        assert_eq!((one["pid"].to_string(), &one["command"]), (first().expect("a process"), &"sleep 1000".into()));
    });
}
