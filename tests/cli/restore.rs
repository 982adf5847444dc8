//! `restore`: the segments from an archive, and none from a damaged one.

mod damaged;
mod hostile;
mod undo;

use std::fs;
use std::process::Stdio;

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::support::{
    Namespace, Need, Running, ended, group_name, in_namespace, in_namespace_as_root, needs, shmadm_path, user_name,
    wait_until,
};

/// Creates two segments, saves and removes them. Returns the archive.
fn archive(ns: &Namespace) -> Vec<u8> {
    ns.shmadm(["write", "1", "first", "--create", "9000", "--fill", "1"]).ok();
    ns.shmadm(["write", "2", "second", "--create", "1M", "-m", "640"]).ok();
    ns.shmadm(["save", "archive", "1", "2", "-q"]).ok();
    ns.shmadm(["remove", "1", "2", "-q"]).ok();
    fs::read(ns.path("archive")).expect("an archive")
}

#[test]
fn a_key_in_use_is_named_and_the_rest_is_restored() {
    in_namespace(|ns| {
        archive(ns);
        ns.shmadm(["create", "1", "--size", "7", "-q"]).ok();
        let dry = ns.shmadm(["restore", "archive", "--dry-run"]);
        assert_eq!(dry.out, "would restore segment 0x00000002: 1048576 bytes, mode 0640, was id 1\n");
        assert!(dry.fails(1).contains("cannot restore segment 0x00000001 (id 0, 9000 bytes): it exists already (id "));
        assert_eq!(ns.table().len(), 1);
        let restored = ns.shmadm(["restore", "archive", "-f", "json"]);
        let json: Value = serde_json::from_str(&restored.out).expect("JSON");
        assert_eq!(json["restored"][0]["error"]["errno"], "EEXIST");
        assert_eq!([&json["restored"][0]["outcome"], &json["restored"][1]["outcome"]], ["failed", "restored"]);
        let error = restored.fails(1);
        let (_, hint) = error.split_once("; `shmadm ").expect("a hint");
        let (command, _) = hint.split_once('`').expect("a command");
        assert_eq!(ns.shmadm(["read", "2", "-f", "string"]).ok(), "second\n");
        // The command exactly as in the error.
        ns.shmadm(command.split(' ')).ok();
        ns.shmadm(["remove", "2", "-q"]).ok();
        ns.shmadm(["restore", "archive", "-q"]).ok();
        assert_eq!(ns.shmadm(["read", "1", "-f", "string"]).bytes[..6], *b"first\n");
    });
}

#[test]
fn an_ordinary_user_restores_an_own_segment_unlocked() {
    in_namespace_as_root(|ns| {
        ns.shmadm(["write", "1", "text", "--create", "4K", "-m", "640"]).ok();
        ns.shmadm(["set", "1", "--lock", "--owner", "1234", "--group", "1234"]).ok();
        ns.shmadm(["save", "archive", "1", "-q"]).ok();
        ns.shmadm(["remove", "1", "-q"]).ok();
        ns.open_to_all();
        // An ordinary user may restore an own segment, but not lock its memory.
        let mut limited = ns.unprivileged("sh");
        let line = "ulimit -l 0; exec $0 restore archive";
        let restored = ended(limited.args(["-c", line, shmadm_path()]));
        assert!(
            restored.err.contains("warning: segment 0x00000001 (id 1) was restored, but it cannot be locked: "),
            "{restored:?}"
        );
        assert_eq!(restored.ok(), "restored segment 0x00000001 (id 1): 4096 bytes, mode 0640, was id 0\n");
        assert_eq!(ns.table()[0].mode, "640");
        ns.shmadm(["remove", "1", "-q"]).ok();
        ns.shmadm_unprivileged(["restore", "archive", "--same-id"]).fails(1);
        assert!(ns.table().is_empty());
        // In a user namespace that does not map this number.
        let line = "exec unshare --user --map-root-user --ipc $0 restore archive -f json";
        let restored = ended(ns.program("sh").args(["-c", line, shmadm_path()]).stdin(Stdio::null()));
        if restored.err.contains("unshare") {
            return;
        }
        let owner = format!("{}:{}", user_name(1234), group_name(1234));
        assert!(restored.err.contains(&format!("was restored, but it cannot be given to {owner}: ")), "{restored:?}");
        assert_eq!(restored.json()["restored"][0]["outcome"], "restored");
    });
}

#[test]
fn an_identifier_in_use_is_an_error_and_leaves_nothing() {
    in_namespace_as_root(|ns| {
        archive(ns);
        // New segments with identifiers 0 and 1 and other keys.
        let next = |id: &str| ns.run("sh", ["-c", &format!("echo {id} >/proc/sys/kernel/shm_next_id")]);
        next("0");
        ns.shmadm(["create", "7", "--size", "1", "-q"]).ok();
        let restored = ns.shmadm(["restore", "archive", "--same-id"]);
        assert_eq!(restored.out, "restored segment 0x00000002 (id 1): 1048576 bytes, mode 0640, was id 1\n");
        assert!(restored.fails(1).contains("cannot create a segment with identifier 0: another segment has it"));
        assert_eq!(ns.table().len(), 2);
        // An identifier that restore could not get is not given to the next segment either.
        ns.shmadm(["restore", "archive", "--same-id"]);
        assert_eq!(ns.run("cat", ["/proc/sys/kernel/shm_next_id"]), "-1\n");
        // Nor if no segment can be created at all.
        ns.shmadm(["remove", "2", "-q"]).ok();
        ns.run("sh", ["-c", "echo 1 >/proc/sys/kernel/shmmni"]);
        assert_eq!(ns.shmadm(["restore", "archive", "--same-id"]).code, Some(1));
        ns.run("ipcrm", ["--all=shm"]);
        ns.shmadm_unprivileged(["create", "8", "--size", "1", "-q"]).ok();
        assert!(ns.table()[0].id.parse::<i32>().expect("a number") > 1, "{:?}", ns.table());
    });
}

#[test]
fn a_killed_restore_leaves_no_partial_segment() {
    in_namespace(|ns| {
        needs(Need::Strace);
        archive(ns);
        for signal in [Signal::SIGTERM, Signal::SIGHUP] {
            let mut strace = ns.program("strace");
            let calls = "pwrite64,process_vm_writev";
            strace.args(["-D", "-f", "-qq", "-o", "log", "-e", &format!("trace={calls}")]);
            strace.args(["-e", &format!("inject={calls}:delay_enter=3000000"), "--"]);
            strace.args([shmadm_path(), "restore", "archive"]).stdout(Stdio::null()).stderr(Stdio::null());
            let running = Running(strace.spawn().expect("strace"));
            wait_until("a segment is being filled", || ns.table().first().is_some_and(|row| row.nattch == "1"));
            assert_eq!(ns.table()[0].mode, "600");
            assert_eq!(running.end(signal), (None, Some(signal as i32)));
            assert!(ns.table().is_empty(), "{signal}");
        }
    });
}

#[test]
fn what_cannot_be_removed_again_is_told() {
    in_namespace(|ns| {
        needs(Need::Strace);
        archive(ns);
        let mut strace = ns.program("strace");
        strace.args(["-f", "-qq", "-o", "log", "-e", "inject=shmctl:error=ENOENT"]);
        let restored = ended(strace.args([shmadm_path(), "restore", "archive", "--same-id"]));
        assert_eq!(restored.code, Some(1), "{restored:?}");
        for row in ns.table() {
            assert!(restored.err.contains(&format!("id:{}", row.id)), "{row:?}: {restored:?}");
        }
    });
}

#[test]
fn a_warning_names_the_sysctl_that_destroys_segments() {
    in_namespace(|ns| {
        archive(ns);
        ns.run("sh", ["-c", "echo 1 >/proc/sys/kernel/shm_rmid_forced"]);
        let restored = ns.shmadm(["restore", "archive"]);
        assert!(restored.err.contains("kernel.shm_rmid_forced is 1"), "{restored:?}");
    });
}
