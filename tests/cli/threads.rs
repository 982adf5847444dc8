//! No thread is to be had: what threads would have done is done all the same.

use std::process::Stdio;

use crate::support::{Ended, Namespace, ended, in_namespace, shmadm_path};

/// Runs shmadm as a user who may have one process, this one. It holds for threads, too (getrlimit(2), `RLIMIT_NPROC`).
#[track_caller]
fn alone(ns: &Namespace, line: &str) -> Ended {
    let mut prlimit = ns.unprivileged("prlimit");
    prlimit.args(["--nproc=1", "--", shmadm_path()]);
    ended(prlimit.args(line.split(' ')).stdin(Stdio::null()))
}

#[test]
fn a_removal_of_many_removes_all_and_tells_each() {
    in_namespace(|ns| {
        let make = "for (1 .. 1000) { defined shmget(0, 1, 01600) or die }";
        assert_eq!(ended(ns.unprivileged("perl").args(["-e", make])).code, Some(0));
        // A thread is not to be had, indeed.
        let thread = ended(ns.unprivileged("prlimit").args(["--nproc=1", "--", "sh", "-c", "true | true"]));
        assert_ne!(thread.code, Some(0), "{thread:?}");
        let removed = alone(ns, "remove --mine --yes").ok();
        assert_eq!((removed.lines().count(), ns.table().len()), (1000, 0));
    });
}

#[test]
fn what_a_thread_would_undo_is_done() {
    in_namespace(|ns| {
        ns.open_to_all();
        ns.file("in", "contents");
        alone(ns, "create 1 --from in").ok();
        alone(ns, "write 2 --create 4K text").ok();
        alone(ns, "read 1 -o out").ok();
        assert_eq!(ns.run("cat", ["out"]), "contents");
        alone(ns, "list -o pids").ok();
        alone(ns, "remove 1 2").ok();
        assert!(ns.table().is_empty());
    });
}
