//! `--pid`: what a process created, used last, or has attached.

use nix::sys::signal::Signal;

use super::{make, make_and_stay, number};
use crate::support::{Namespace, in_namespace, shmadm_path};

#[track_caller]
fn listed(ns: &Namespace, pid: i32) -> Vec<i32> {
    let listed = ns.shmadm(["list", "-q", "--pid", &pid.to_string()]).ok();
    listed.lines().map(number).collect()
}

#[test]
fn a_process_is_told_by_what_it_made_used_last_or_has_attached() {
    in_namespace(|ns| {
        let attached = make(ns, "1 -s 8K");
        let used = make(ns, "2 -s 8K");
        make(ns, "3 -s 8K");
        let (made, maker) = make_and_stay(ns, "MAKE; sleep 100;");
        let holder = ns.hold(["read", "1", "--hold", "-o", "/dev/null"]);
        let user = ns.hold(["read", "2", "--hold", "-o", "/dev/null"]);
        let (holder_pid, user_pid) = (holder.pid().as_raw(), user.pid().as_raw());
        assert_eq!(listed(ns, maker.pid().as_raw()), [made]);
        assert_eq!(listed(ns, user_pid), [used]);
        user.end(Signal::SIGTERM);
        assert_eq!(listed(ns, user_pid), [used], "it was the last to use it, and has exited");

        // Another process uses it since: only the holder's memory map still tells.
        ns.shmadm(["read", "1"]).ok();
        assert_ne!(ns.row(attached).expect("its row").lpid, holder_pid.to_string());
        assert_eq!(listed(ns, holder_pid), [attached]);
    });
}

#[test]
fn the_same_identifier_in_another_namespace_is_another_segment() {
    in_namespace(|ns| {
        make(ns, "1 -s 8K");
        let shmadm = shmadm_path();
        let script =
            format!("{shmadm} create 1 -s 8K -q && {shmadm} read 1 -o /dev/null && exec {shmadm} list --pid $1 -q");
        let holder = ns.hold(["read", "1", "--hold", "-o", "/dev/null"]);
        let pid = holder.pid().to_string();
        // There, the segment has identifier 0 as here, and the process that is looked for is attached to ours.
        let elsewhere = ns.run("unshare", ["--ipc", "sh", "-c", &script, "sh", &pid]);
        assert_eq!(elsewhere, "id:0\n", "that is what create printed, and nothing is listed");
        assert_eq!(listed(ns, holder.pid().as_raw()), [0]);
    });
}
