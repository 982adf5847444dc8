//! The kernel's table cannot be read to its end: the output must not look like a complete list.

use super::*;
use crate::support::{Need, needs};

#[test]
fn a_truncated_table_gives_no_complete_document() {
    in_namespace(|ns| {
        needs(Need::Program("strace"));
        perl(ns, "shmget(0, 1, 01600) // die for 1 .. 3000");
        let cut = |line: &str| {
            let mut strace = ns.program("strace");
            strace.args(["-qq", "-o", "log", "-e", "trace=read", "-P", "/proc/sysvipc/shm"]);
            strace.args(["-e", "inject=read:error=EIO:when=3", shmadm_path()]);
            let cut = ended(strace.args(line.split(' ')));
            assert!(std::fs::read_to_string(ns.path("log")).expect("a log").contains("INJECTED"), "{line}");
            cut
        };
        let json = cut("list -f json");
        let error: Value = serde_json::from_str(&json.out).expect("one document");
        assert_eq!((&error["error"]["errno"], json.code), (&"EIO".into(), Some(1)));
        let before = ns.file("before", json.out);
        // It is not accepted as a snapshot either.
        ns.shmadm(["list", "--not-in", before.to_str().expect("UTF-8")]).fails(1);
        for line in
            ["list", "list -f raw", "list -f jsonl", "list -f csv", "list -f export", "list -q", "metrics", "limits"]
        {
            let error = cut(line);
            assert_eq!(error.code, Some(1), "{line}");
            assert!(error.err.contains("cannot read /proc/sysvipc/shm: "), "{line}: {}", error.err);
        }
    });
}
