//! The kernel's table cannot be read: found out before the command runs, or else its status is not lost.

use super::*;
use crate::support::{Need, needs, shmadm_path};

#[test]
fn without_the_table_the_command_is_not_run() {
    in_namespace(|ns| {
        for (shared, hidden) in
            [("", "/proc"), ("", "/proc/sysvipc"), ("--shared", "/proc"), ("--shared", "/proc/sysvipc")]
        {
            let line = format!("mount -t tmpfs none {hidden} && exec \"$0\" guard {shared} -- touch ran");
            let refused = ended(ns.program("unshare").args(["--mount", "sh", "-c", &line, shmadm_path()]));
            assert!(refused.fails(1).contains("cannot read /proc/sysvipc/shm"), "{shared} {hidden}");
            assert!(!ns.path("ran").exists(), "{shared} {hidden}");
        }
    });
}

#[test]
fn a_table_that_cannot_be_read_any_more_leaves_the_commands_status() {
    in_namespace(|ns| {
        needs(Need::Program("strace"));
        for (end, status) in [("exit 7", 7), ("exit 0", 1), ("kill -9 $$", 137)] {
            for shared in [&[][..], &["--shared"]] {
                let mut strace = ns.program("strace");
                // Twice before the run: the table, and its end.
                strace.args(["-qq", "-o", "log", "-e", "trace=read", "-P", "/proc/sysvipc/shm"]);
                strace.args(["-e", "inject=read:error=EIO:when=3", shmadm_path(), "guard"]);
                let told = ended(strace.args(shared).args(["--", "sh", "-c", end])).fails(status);
                assert!(told.contains("cannot read /proc/sysvipc/shm: Input/output error"), "{end} {shared:?}: {told}");
            }
        }
    });
}
