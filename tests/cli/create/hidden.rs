//! Segments that shmget(2) finds or creates, but that cannot be inspected.

use super::*;
use crate::support::{Need, needs};

#[test]
fn a_segment_that_cannot_be_inspected_is_an_error_and_no_endless_loop() {
    in_namespace(|ns| {
        needs(Need::Strace);
        create(ns, "42 --size 64").ok();
        for line in ["create 42 --exist-ok", "create 42 --exist-ok --size 64", "write 42 text --create 64"] {
            let mut strace = ns.program("timeout");
            strace.args(["30", "strace", "-qq", "-o", "/dev/null", "-e", "inject=shmctl:error=EINVAL", "--"]);
            let refused = ended(strace.arg(shmadm_path()).args(line.split(' '))).fails(1);
            assert!(refused.contains("segment 0x0000002a (id 0): shmget(2) finds it, but"), "{line}: {refused}");
        }
        assert_eq!(ns.table().len(), 1);
    });
}

#[test]
fn a_new_segment_that_cannot_be_inspected_is_removed_again() {
    in_namespace(|ns| {
        needs(Need::Strace);
        for (line, call) in [
            ("create 42 --size 64", 1),
            ("create private --size 64", 1),
            // The first call counts the segments, because the table is empty.
            ("write 42 text --create 64", 2),
        ] {
            let mut strace = ns.program("strace");
            strace.args(["-qq", "-o", "/dev/null", "-e", &format!("inject=shmctl:error=ENOMEM:when={call}"), "--"]);
            let refused = ended(strace.arg(shmadm_path()).args(line.split(' '))).fails(1);
            assert!(refused.ends_with("; the new segment was removed again\n"), "{line}: {refused}");
            assert!(ns.table().is_empty(), "{line}");
        }
    });
}
