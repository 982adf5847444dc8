//! `--pid`: what a process created, used last, or has attached.

use nix::sys::signal::Signal;

use super::{create, create_and_stay, number};
use crate::support::{Namespace, Need, ended, in_namespace, needs, shmadm_path};

#[track_caller]
fn listed(ns: &Namespace, pid: i32) -> Vec<i32> {
    let listed = ns.shmadm(["list", "-q", "--pid", &pid.to_string()]).ok();
    listed.lines().map(number).collect()
}

#[test]
fn pid_selects_what_a_process_created_used_last_or_has_attached() {
    in_namespace(|ns| {
        let attached = create(ns, "1 -s 8K");
        let used = create(ns, "2 -s 8K");
        create(ns, "3 -s 8K");
        let (created, creator) = create_and_stay(ns, "MAKE; sleep 100;");
        let holder = ns.hold(["read", "1", "--hold", "-o", "/dev/null"]);
        let user = ns.hold(["read", "2", "--hold", "-o", "/dev/null"]);
        let (holder_pid, user_pid) = (holder.pid().as_raw(), user.pid().as_raw());
        assert_eq!(listed(ns, creator.pid().as_raw()), [created]);
        assert_eq!(listed(ns, user_pid), [used]);
        user.end(Signal::SIGTERM);
        assert_eq!(listed(ns, user_pid), [used], "it was the last to use it, and has exited");

        // Another process has used it since, so only the memory map of the attached process shows it.
        ns.shmadm(["read", "1"]).ok();
        assert_ne!(ns.row(attached).expect("its row").lpid, holder_pid.to_string());
        assert_eq!(listed(ns, holder_pid), [attached]);
    });
}

#[test]
fn the_same_identifier_in_another_namespace_is_another_segment() {
    in_namespace(|ns| {
        create(ns, "1 -s 8K");
        let shmadm = shmadm_path();
        let script =
            format!("{shmadm} create 1 -s 8K -q && {shmadm} read 1 -o /dev/null && exec {shmadm} list --pid $1 -q");
        let holder = ns.hold(["read", "1", "--hold", "-o", "/dev/null"]);
        let pid = holder.pid().to_string();
        // The segment there has identifier 0, like ours, to which the process is attached.
        let other = ns.run("unshare", ["--ipc", "sh", "-c", &script, "sh", &pid]);
        assert_eq!(other, "id:0\n", "that is what create printed, and nothing is listed");
        assert_eq!(listed(ns, holder.pid().as_raw()), [0]);
    });
}

#[test]
fn attachments_that_cannot_be_read_are_not_missing() {
    in_namespace(|ns| {
        needs(Need::Strace);
        let attached = create(ns, "1 -s 8K");
        let holder = ns.hold(["read", "1", "--hold", "-o", "/dev/null"]);
        ns.shmadm(["read", "1"]).ok();
        let list = |call: &str, path: &str, line: &str| {
            let mut strace = ns.program("strace");
            let inject = format!("inject={call}:error=EACCES");
            strace.args(["-f", "-qq", "-o", "log", "-e", &format!("trace={call}"), "-e", &inject, "-P", path]);
            let list = ended(strace.args(["--", shmadm_path(), "list"]).args(line.split(' ')));
            assert!(std::fs::read_to_string(ns.path("log")).expect("a log").contains("(INJECTED)"), "{list:?}");
            list
        };
        // The namespace of shmadm, without which an attachment means nothing.
        let of_holder = format!("-q --pid {}", holder.pid());
        assert_eq!(ns.shmadm(format!("list {of_holder}").split(' ')).ok(), format!("id:{attached}\n"));
        let unknown = list("statx", "/proc/thread-self/ns/ipc", &of_holder);
        let why = format!("cannot see what process {} has attached: ", holder.pid());
        assert!(unknown.out.is_empty() && unknown.err.contains(&why), "{unknown:?}");
        // The list of processes.
        let unknown = list("getdents64", "/proc", "-o key,nattch,pids -f raw --no-headings");
        assert_eq!(unknown.out, "0x00000001 1 -\n", "{unknown:?}");
        assert!(unknown.err.contains("cannot find the attachments: "), "{unknown:?}");
    });
}

#[test]
fn a_segment_of_an_uncertain_creator_is_skipped_and_counted() {
    in_namespace(|ns| {
        let (created, creator) =
            create_and_stay(ns, "$| = 1; print shmget($ARGV[0], $ARGV[1], 01600) . qq(\\n); sleep 100;");
        let pid = creator.pid().to_string();
        assert_eq!(listed(ns, creator.pid().as_raw()), [created]);
        ns.shmadm(["read", &format!("id:{created}"), "-o", "/dev/null"]).ok();
        // IPC_SET changes ctime. After that, a later process with the pid cannot be distinguished from the creator.
        std::thread::sleep(std::time::Duration::from_millis(1100));
        ns.shmadm(["set", &format!("id:{created}"), "--mode", "600"]).ok();
        let told = "skipped 1 segment: it is unknown whether the process of --pid created or used it";
        for line in ["list -q", "remove --yes", "remove --yes --include-attached"] {
            let run = ns.shmadm(line.split(' ').chain(["--pid", &pid]));
            assert!(run.out.is_empty() && run.err.contains(told) && run.code == Some(0), "{line}: {run:?}");
        }
        assert_eq!(ns.shmadm(["list", "-q", "--pid", "2147483646"]).err, "");
        assert_eq!(ns.table().len(), 1);
        drop(creator);
    });
}
