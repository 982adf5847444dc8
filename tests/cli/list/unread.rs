//! Attachments that cannot be read: every part of the output that shows them says so.

use crate::support::{Namespace, Need, ended, in_namespace, needs, shmadm_path};

/// Runs a list while a call on a path fails, and returns what it printed and what it complained about.
#[track_caller]
fn list(ns: &Namespace, call: &str, path: &str, line: &str) -> (String, String) {
    let mut strace = ns.program("strace");
    let inject = format!("inject={call}:error=EACCES");
    strace.args(["-f", "-qq", "-o", "log", "-e", &format!("trace={call}"), "-e", &inject, "-P", path, "--"]);
    let list = ended(strace.arg(shmadm_path()).args(line.split(' ')));
    assert!(std::fs::read_to_string(ns.path("log")).expect("a log").contains("(INJECTED)"), "{line}: {list:?}");
    assert_eq!(list.code, Some(0), "{line}: {list:?}");
    (list.out, list.err)
}

#[test]
fn holders_and_former_keys_that_cannot_be_found_are_reported() {
    in_namespace(|ns| {
        needs(Need::Strace);
        ns.shmadm(["create", "1", "--size", "4K"]).ok();
        let holder = ns.hold(["read", "1", "--hold", "-o", "/dev/null"]);
        ns.shmadm(["remove", "1"]).ok();
        let maps = format!("/proc/{}/maps", holder.pid());
        for line in ["list -o id,pids", "list -o id,holders", "list -o id,origkey", "list -f json"] {
            assert_eq!(ns.shmadm(line.split(' ')).err, "", "{line}");
            let (_, err) = list(ns, "getdents64", "/proc", line);
            assert!(err.contains("shmadm: cannot find the attachments: /proc shows no processes: "), "{line}: {err}");
            let (_, err) = list(ns, "statx", "/proc/thread-self/ns/ipc", line);
            assert!(err.contains("cannot find the attachments: /proc does not show our own IPC namespace: "), "{err}");
            let (_, err) = list(ns, "openat", &maps, line);
            assert!(err.contains("shmadm: cannot find all attachments: "), "{line}: {err}");
            assert!(err.contains(" cannot be inspected"), "{line}: {err}");
        }
        // Nothing of this is shown here.
        for line in ["list", "list -q", "list -o id,nattch"] {
            let strace = "strace -f -qq -o log -P /proc -e inject=getdents64:error=EACCES";
            let mut strace = strace.split(' ');
            let mut program = ns.program(strace.next().expect("strace"));
            let run = ended(program.args(strace).arg(shmadm_path()).args(line.split(' ')));
            assert_eq!((run.code, run.err.as_str()), (Some(0), ""), "{line}");
        }
        drop(holder);
    });
}
