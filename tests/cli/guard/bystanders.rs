//! `guard` does not disturb its command: debuggers, tracers, sanitizers, filters, daemons, and the death of guard.

use std::fs;

use super::*;
use crate::support::{Need, needs};

const PRIVATE: Way = Way { ordinary: false, shared: false };

#[test]
fn a_daemon_can_create_after_guard_has_ended() {
    in_namespace(|ns| {
        ns.open_to_all();
        let daemon = "use POSIX 'setsid'; fork and exit; setsid; open STDOUT, '>/dev/null'; open STDERR, '>/dev/null';
            -e 'go' or select undef, undef, undef, .02 for 1 .. 1000;
            my $id = shmget(0, 1, 01600); open my $f, '>', 'new'; print $f defined $id ? 'created' : \"$!\"; close $f;
            rename 'new', 'result'; shmctl($id, 0, 0);";
        for way in ways() {
            guard(ns, way, "", &["perl", "-e", daemon]).ok();
            ns.file("go", "");
            wait_until("the daemon has tried", || ns.path("result").exists());
            assert_eq!(ns.run("sh", ["-c", "cat result; rm result go"]), "created", "{way:?}");
        }
    });
}

#[test]
fn nothing_hangs_when_guard_is_killed() {
    in_namespace(|ns| {
        ns.open_to_all();
        // Eight processes create and remove segments all the time, so that guard has stopped some of them when it is
        // killed.
        let perl = "my $n = 0; for (1 .. 7) { fork or last }
            open my $f, '>', \"pid-$$\"; close $f; while (1) { my $id = shmget(0, 1, 01600) // last; shmctl($id, 0, 0) }
            open $f, '>', \"end-$$\"; close $f;";
        for _ in 0..5 {
            let running = Running(command(ns, PRIVATE, "", &["perl", "-e", perl]).spawn().expect("shmadm"));
            let count = |start: &str| {
                let names =
                    fs::read_dir(ns.path(".")).expect("the directory").map(|name| name.expect("a file").file_name());
                names.filter(|name| name.to_string_lossy().starts_with(start)).count()
            };
            wait_until("all of them create", || count("pid-") == 8);
            running.end(Signal::SIGKILL);
            wait_until("all calls have returned", || count("end-") == 8);
            ns.run("sh", ["-c", "rm pid-* end-*"]);
        }
    });
}

#[test]
fn strace_and_gdb_work_below_guard() {
    in_namespace(|ns| {
        needs(Need::Strace);
        let words = ["strace", "-f", "-o", "trace", "-e", "trace=shmget", "perl", "-e", LEAK];
        let leaky = guard(ns, PRIVATE, "", &words);
        assert_eq!(leaky.code, Some(1), "{leaky:?}");
        let trace = fs::read_to_string(ns.path("trace")).expect("a trace");
        assert!(trace.contains("shmget(0x2a, 5000, IPC_CREAT|0600) = 0"), "{trace}");
        assert!(leaky.err.contains("command: perl -e"), "{leaky:?}");
        if crate::support::is_installed("gdb") {
            let words = ["gdb", "-q", "-batch", "-ex", "run", "--args", "perl", "-e", LEAK];
            let leaky = guard(ns, PRIVATE, "", &words);
            assert!(leaky.code == Some(1) && leaky.out.contains("exited normally"), "{leaky:?}");
            assert!(leaky.err.contains("started by: gdb"), "{leaky:?}");
        }
    });
}

#[test]
fn leak_sanitizer_works_below_guard() {
    in_namespace(|ns| {
        ns.file("lost.c", "#include <stdlib.h>\n#include <sys/shm.h>\nint main(void) { malloc(10); return shmget(42, 5000, 01600) == -1; }\n");
        for sanitizer in ["leak", "address"] {
            let built =
                ended(ns.program("cc").args(["-g", &format!("-fsanitize={sanitizer}"), "-o", "lost", "lost.c"]));
            if built.code != Some(0) {
                crate::support::skip("the compiler has no sanitizers");
            }
            let plain = ended(&mut ns.program("./lost"));
            ns.run("ipcrm", ["-M", "42"]);
            let leaky = guard(ns, PRIVATE, "", &["./lost"]);
            assert_eq!(leaky.code, plain.code, "{leaky:?} {plain:?}");
            assert!(leaky.err.contains("LeakSanitizer: detected memory leaks"), "{leaky:?}");
            assert!(leaky.err.contains("at main (lost.c:3)"), "{leaky:?}");
        }
    });
}

#[test]
fn guard_within_guard_names_the_leak_and_says_what_is_missing() {
    in_namespace(|ns| {
        let words = [shmadm_path(), "guard", "--", "perl", "-e", LEAK];
        let leaky = guard(ns, PRIVATE, "", &words);
        assert_eq!(leaky.code, Some(1), "{leaky:?}");
        assert!(leaky.err.contains("0x0000002a (id 0, 5000 bytes"), "{leaky:?}");
        assert_eq!(leaky.err.matches("behind:").count(), 1, "the outer one is not left with anything: {leaky:?}");
        assert!(leaky.err.contains("another guard") && leaky.err.lines().count() == 3, "{leaky:?}");
    });
}

#[test]
fn shared_without_privilege_explains_the_missing_creator() {
    in_namespace_as_root(|ns| {
        ns.open_to_all();
        let leaky = guard(ns, Way { ordinary: true, shared: true }, "", &["perl", "-e", LEAK]);
        assert_eq!(leaky.code, Some(1), "{leaky:?}");
        assert!(leaky.err.contains("0x0000002a"), "{leaky:?}");
        assert!(leaky.err.contains("only root can trace") && leaky.err.lines().count() == 3, "{leaky:?}");
    });
}

#[test]
fn a_segment_of_a_creator_who_cannot_be_seen_is_not_removed() {
    in_namespace_as_root(|ns| {
        needs(Need::Strace);
        let creates = "select undef, undef, undef, 0.01 until -e 'started';
                       shmget(0x55, 5000, 01600) // die; open F, '>made'; close F; sleep 100";
        let _bystander = Running(ns.program("perl").args(["-e", creates]).spawn().expect("perl"));
        // The calls cannot be traced, and it cannot be seen whose pids /proc shows.
        let mut strace = ns.program("strace");
        strace.args(["-f", "-qq", "-o", "log", "-e", "trace=seccomp,readlink", "-e", "inject=seccomp:error=EACCES"]);
        strace.args(["-e", "inject=readlink:error=EACCES", "--", shmadm_path(), "guard", "--shared", "--remove", "--"]);
        let guard = ended(strace.args(["sh", "-c", "touch started; while [ ! -e made ]; do sleep 0.01; done"]));
        assert!(guard.err.contains("left segment 0x00000055 (id 0): it may belong to another program"), "{guard:?}");
        assert_eq!(ns.table().len(), 1, "{guard:?}");
    });
}

#[test]
fn a_call_that_is_being_inspected_when_the_command_ends_continues() {
    in_namespace(|ns| {
        // Its child creates segments while guard ends.
        let script = "exit 0 if fork; shmget(0, 1, 01600) // die for 1 .. 50; open F, '>', shift";
        for round in 0..30 {
            let file = format!("created-{round}");
            let mut guard = ns.command(["guard", "--", "perl", "-e", script, &file]);
            guard.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            guard.status().expect("guard");
            wait_until("the child has created its segments", || ns.path(&file).exists());
        }
    });
}
