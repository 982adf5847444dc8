//! Hints for words that are almost right, and the form of usage errors.

use serde_json::Value;

use crate::support::{in_namespace, in_namespace_as_root, line_of, shmadm_path};

#[test]
fn a_key_that_no_segment_has_is_explained() {
    in_namespace(|ns| {
        for key in ["0x10", "0x11", "0x12"] {
            ns.shmadm(["create", key, "-s", "4K", "-q"]).ok();
        }
        // Identifiers 0, 1 and 2 exist.
        for command in ["stat", "read", "remove", "set --lock"] {
            let words = command.split(' ').chain(["2"]);
            let missed = ns.shmadm(words.clone()).fails(3);
            assert!(missed.contains("segment 0x00000002 (2): there is no such segment"), "{missed}");
            assert!(missed.ends_with("a segment with identifier 2 exists: use id:2\n"), "{missed}");
        }
        let _holder = ns.hold(["read", "0x11", "--hold", "-o", "/dev/null"]);
        ns.shmadm(["remove", "0x11"]).ok();
        let missed = ns.shmadm(["stat", "0x11"]).fails(3);
        assert!(missed.ends_with("id:1 had this key and is marked for destruction\n"), "{missed}");
        let missed = ns.shmadm(["stat", "0x7fabcdef"]).fails(3);
        assert!(missed.contains("`shmadm list` shows those that exist"), "{missed}");
        // A decimal key is shown in both forms, also if its segment exists.
        ns.shmadm(["create", "5678", "-s", "4K", "-q"]).ok();
        let short = ns.shmadm(["attach-write", "5678", "x", "--offset", "9999"]).fails(1);
        assert!(short.contains("segment 0x0000162e (5678, id "), "{short}");
    });
}

#[test]
fn a_segment_of_another_namespace_is_pointed_to() {
    in_namespace_as_root(|ns| {
        let script = format!("{} create 0x5eed1234 -s 4K -q >/dev/null && echo ready && cat", shmadm_path());
        let mut unshare = ns.program("unshare");
        unshare.args(["--ipc", "sh", "-c", &script]).stdin(std::process::Stdio::piped());
        let mut other = crate::support::Running(unshare.stdout(std::process::Stdio::piped()).spawn().expect("unshare"));
        let mut line = String::new();
        let out = other.0.stdout.take().expect("a pipe");
        std::io::BufRead::read_line(&mut std::io::BufReader::new(out), &mut line).expect("a line");
        let missed = ns.shmadm(["stat", "0x5eed1234"]).fails(3);
        assert!(missed.contains("try `shmadm list --all-namespaces --key 0x5eed1234`"), "{missed}");
    });
}

#[test]
fn words_that_are_almost_right_are_usage_errors_with_a_hint() {
    in_namespace(|ns| {
        for (words, hint) in [
            ("stat 7a6d0001", "did you mean 0x7a6d0001?"),
            ("stat /postgres", "a POSIX shared memory object: see /dev/shm"),
            ("list --orphan", "did you mean '--orphaned'?"),
            ("list --leaked", "see `shmadm list --help`"),
        ] {
            let failed = ns.shmadm(words.split(' '));
            assert_eq!((failed.code, failed.err.lines().count()), (Some(2), 1), "{failed:?}");
            assert!(failed.err.starts_with("shmadm: ") && failed.err.contains(hint), "{failed:?}");
        }
        let failed = ns.shmadm(["list", "-f", "json", "--leaked"]);
        let json: Value = serde_json::from_str(&failed.out).expect("JSON");
        assert_eq!((failed.code, failed.err.clone()), (Some(2), line_of(&json["error"])), "{failed:?}");
    });
}
