//! An unreadable kernel table is detected before the command runs, or the command's status is kept.

use super::*;
use crate::support::{Need, needs, shmadm_path};

#[test]
fn leaks_are_found_without_the_table() {
    in_namespace(|ns| {
        for (shared, hidden) in
            [("", "/proc"), ("", "/proc/sysvipc"), ("--shared", "/proc"), ("--shared", "/proc/sysvipc")]
        {
            let line = format!(
                "mount -t tmpfs none {hidden} && exec \"$0\" guard {shared} --remove -- perl -e '{LEAK} exit 7'"
            );
            let leaky = ended(ns.program("unshare").args(["--mount", "sh", "-c", &line, shmadm_path()]));
            assert_eq!(leaky.code, Some(7), "{shared} {hidden} {leaky:?}");
            assert!(leaky.err.contains("segment 0x0000002a"), "{shared} {hidden} {leaky:?}");
            assert_eq!(ns.table(), [], "{shared} {hidden}");
        }
    });
}

#[test]
fn masked_tables_do_not_hide_semaphores_and_queues() {
    in_namespace(|ns| {
        for shared in ["", "--shared"] {
            let line = format!(
                "for table in sem msg; do mount --bind /dev/null /proc/sysvipc/$table || exit; done
                 exec \"$0\" guard {shared} --remove -- perl -e 'semget(1, 1, 01600) // die; msgget(2, 01600) // die'"
            );
            let leaky = ended(ns.program("unshare").args(["--mount", "sh", "-c", &line, shmadm_path()]));
            assert_eq!(leaky.code, Some(1), "{shared} {leaky:?}");
            for object in ["semaphore set 0x00000001", "message queue 0x00000002"] {
                assert!(leaky.err.contains(object), "{shared} {object} {leaky:?}");
            }
        }
    });
}

#[test]
fn a_table_that_becomes_unreadable_keeps_the_commands_status() {
    in_namespace(|ns| {
        needs(Need::Program("strace"));
        let guard = |inject: &[&str], shared: &[&str], end: &str| {
            let mut strace = ns.program("strace");
            strace.args(["-qq", "-o", "log", "-e", "trace=read", "-P", "/proc/sysvipc/shm"]).args(inject);
            ended(strace.args([shmadm_path(), "guard"]).args(shared).args(["--", "sh", "-c", end]))
        };
        for shared in [&[][..], &["--shared"]] {
            guard(&[], shared, "exit 0").ok();
            // The last read finds the end of the table after the command has ended.
            let reads = std::fs::read_to_string(ns.path("log")).expect("a log").lines().count();
            let inject = format!("inject=read:error=EIO:when={reads}");
            for (end, status) in [("exit 7", 7), ("exit 0", 1), ("kill -9 $$", 137)] {
                let message = guard(&["-e", &inject], shared, end).fails(status);
                assert!(
                    message.contains("cannot read /proc/sysvipc/shm: Input/output error"),
                    "{end} {shared:?}: {message}"
                );
            }
        }
    });
}

#[test]
fn a_command_does_not_wait_for_ever_if_its_calls_cannot_be_answered() {
    in_namespace(|ns| {
        needs(Need::Strace);
        let script = "defined shmget(42, 5000, 01600) ? 1 : die $!; exit 7";
        for inject in
            ["ppoll:error=ENOMEM", "ppoll:error=EINTR", "ioctl:error=EPERM", "ioctl:error=ENOENT", "ioctl:error=EINTR"]
        {
            let mut strace = ns.program("strace");
            strace.args(["-f", "-qq", "-o", "log", "-e", "trace=ppoll,ioctl", "-e", &format!("inject={inject}")]);
            let guarded = ended(strace.args([shmadm_path(), "guard", "--", "perl", "-e", script]));
            let told = "since then shmget, semget and msgget of the command failed with ENOSYS";
            assert!(guarded.err.contains(told), "{inject}: {guarded:?}");
            // The status of die() is that of the errno.
            assert_eq!(guarded.code, Some(nix::errno::Errno::ENOSYS as i32), "{inject}: {guarded:?}");
        }
        // Without threads the calls continue, and the leak is found.
        for first in 2..=4 {
            let mut strace = ns.program("strace");
            let inject = format!("inject=clone,clone3:error=EAGAIN:when={first}+");
            strace.args(["-f", "-qq", "-o", "log", "-e", "trace=clone,clone3", "-e", &inject]);
            let guarded = ended(strace.args([shmadm_path(), "guard", "--", "perl", "-e", script]));
            assert!(guarded.code == Some(7) && guarded.err.contains("segment 0x0000002a"), "{inject}: {guarded:?}");
        }
    });
}

#[test]
fn a_call_is_recorded_and_continues_if_one_answer_fails() {
    in_namespace(|ns| {
        needs(Need::Strace);
        let script = "defined shmget(42, 5000, 01600) ? 1 : die $!; exit 7";
        for shared in [&[][..], &["--shared", "--remove"]] {
            for errno in ["EPERM", "ENOENT"] {
                // Each ioctl(2) fails once: receiving the call, asking whether it still waits, letting it continue.
                for number in 1..=10 {
                    let inject = format!("inject=ioctl:error={errno}:when={number}");
                    let mut strace = ns.program("strace");
                    strace.args(["-f", "-qq", "-o", "log", "-e", "trace=ioctl", "-e", &inject]);
                    strace.args([shmadm_path(), "guard"]).args(shared).args(["--", "perl", "-e", script]);
                    let guarded = ended(&mut strace);
                    assert!(
                        guarded.code == Some(7) && guarded.err.contains("segment 0x0000002a"),
                        "{inject} {shared:?}: {guarded:?}"
                    );
                    assert_eq!(ns.table(), [], "{inject} {shared:?}: {guarded:?}");
                }
            }
        }
    });
}

#[test]
fn signals_that_cannot_be_blocked_are_reported_before_the_command_runs() {
    in_namespace(|ns| {
        needs(Need::Strace);
        let mut strace = ns.program("strace");
        strace.args(["-qq", "-o", "log", "-e", "trace=rt_sigprocmask", "-e", "inject=rt_sigprocmask:error=EPERM"]);
        let error = ended(strace.args([shmadm_path(), "guard", "--", "touch", "ran"])).fails(1);
        assert!(error.contains("cannot wait for the command: Operation not permitted"), "{error}");
        assert!(!ns.path("ran").exists());
    });
}

#[test]
fn the_end_of_a_command_is_noticed_without_sigchld() {
    in_namespace(|ns| {
        needs(Need::Strace);
        let script = "defined shmget(42, 5000, 01600) ? 1 : die $!; exit 7";
        // The C library changes the signal mask, too, when it starts a thread, and can lose what was blocked.
        for number in 1..=6 {
            for all_later in ["", "+"] {
                let inject = format!("inject=rt_sigprocmask:error=EPERM:when={number}{all_later}");
                let mut strace = ns.program("strace");
                strace.args(["-f", "-qq", "-o", "log", "-e", "trace=rt_sigprocmask", "-e", &inject]);
                let guarded = ended(strace.args([shmadm_path(), "guard", "--", "perl", "-e", script]));
                let is_found = guarded.code == Some(7) && guarded.err.contains("segment 0x0000002a");
                assert!(is_found || guarded.err.contains("shmadm: cannot "), "{inject}: {guarded:?}");
            }
        }
    });
}

#[test]
fn a_leak_counts_where_the_namespace_of_guard_is_unknown() {
    in_namespace(|ns| {
        needs(Need::Strace);
        let script = "defined shmget(42, 5000, 01600) ? 1 : die $!; exit 7";
        for number in 1..=8 {
            let inject = format!("inject=statx:error=EPERM:when={number}");
            let mut strace = ns.program("strace");
            strace.args(["-qq", "-o", "log", "-e", "trace=statx", "-e", &inject, shmadm_path()]);
            let guarded = ended(strace.args(["guard", "--shared", "--remove", "--", "perl", "-e", script]));
            let is_found = guarded.code == Some(7) && guarded.err.contains("segment 0x0000002a");
            assert!(is_found || guarded.err.contains("shmadm: cannot "), "{inject}: {guarded:?}");
            assert_eq!(ns.table(), [], "{inject}: {guarded:?}");
        }
    });
}

#[test]
fn calls_that_fail_because_tracing_did_not_start_are_explained() {
    in_namespace(|ns| {
        needs(Need::Strace);
        let script = "defined shmget(42, 5000, 01600) ? 1 : die $!; exit 7";
        let guard = |inject: &str| {
            let mut strace = ns.program("strace");
            strace.args(["-f", "-qq", "-o", "log", "-e", "trace=recvmsg,pipe2", "-e", &format!("inject={inject}")]);
            ended(strace.args([shmadm_path(), "guard", "--", "perl", "-e", script]))
        };
        // The listener is lost.
        let lost = guard("recvmsg:error=ENOMEM");
        let why = "tracing did not start: Cannot allocate memory; shmget, semget and msgget of the command failed";
        assert!(lost.err.contains(why), "{lost:?}");
        assert_eq!(lost.code, Some(nix::errno::Errno::ENOSYS as i32), "{lost:?}");
        // The pipe of the tracer is the second one. The calls continue, and the leak is found.
        let untraced = guard("pipe2:error=EMFILE:when=2");
        assert!(untraced.code == Some(7) && untraced.err.contains("segment 0x0000002a"), "{untraced:?}");
        assert!(untraced.err.contains("could not be traced: "), "{untraced:?}");
    });
}

#[test]
fn an_object_that_cannot_be_read_alone_is_checked_in_the_table_before_its_removal() {
    in_namespace(|ns| {
        needs(Need::Strace);
        for (call, create, table) in [("semctl", "semget(1, 1, 01600)", "sem"), ("msgctl", "msgget(1, 01600)", "msg")] {
            let mut strace = ns.program("strace");
            strace.args(["-qq", "-o", "log", "-e", &format!("trace=openat,{call}")]);
            strace.args(["-e", &format!("inject={call}:error=EPERM:when=1"), shmadm_path()]);
            let create = format!("{create} // die");
            let guarded = ended(strace.args(["guard", "--shared", "--remove", "--", "perl", "-e", &create]));
            assert!(guarded.err.contains("shmadm: removed "), "{call}: {guarded:?}");
            let log = std::fs::read_to_string(ns.path("log")).expect("a log");
            let (_, later) = log.split_once("_STAT_ANY").expect("the last check");
            let (check, _) = later.split_once("IPC_RMID").expect("the removal");
            let opened = format!("/proc/sysvipc/{table}");
            assert!(check.contains("(INJECTED)") && check.contains(&opened), "{call}: {log}");
        }
    });
}
