//! If no thread can be created, commands do their work without it.

use std::process::Stdio;

use crate::support::{Ended, Namespace, ended, in_namespace, shmadm_path};

/// Runs shmadm as a user who may have only one process. The limit counts threads, too (getrlimit(2), `RLIMIT_NPROC`).
#[track_caller]
fn alone(ns: &Namespace, line: &str) -> Ended {
    let mut prlimit = ns.unprivileged("prlimit");
    prlimit.args(["--nproc=1", "--", shmadm_path()]);
    ended(prlimit.args(line.split(' ')).stdin(Stdio::null()))
}

#[test]
fn a_large_removal_removes_and_reports_all() {
    in_namespace(|ns| {
        let make = "for (1 .. 1000) { defined shmget(0, 1, 01600) or die }";
        assert_eq!(ended(ns.unprivileged("perl").args(["-e", make])).code, Some(0));
        // Checks that no thread can be created.
        let thread = ended(ns.unprivileged("prlimit").args(["--nproc=1", "--", "sh", "-c", "true | true"]));
        assert_ne!(thread.code, Some(0), "{thread:?}");
        let removed = alone(ns, "remove --mine --yes").ok();
        assert_eq!((removed.lines().count(), ns.table().len()), (1000, 0));
    });
}

#[test]
fn clean_up_works_without_a_thread() {
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
