//! EINTR while opening a FIFO, flushing a file, or waiting for a line or a detach.

use super::*;
use crate::support::Ended;

/// Runs a line of sh in which `$0` is shmadm. `when` says which calls on the path are interrupted (strace's `when=`);
/// for a directory, calls on all paths count.
#[track_caller]
fn injected(ns: &Namespace, line: &str, call: &str, path: &str, when: &str) -> Ended {
    let (run, log) = traced(ns, line, call, path, when);
    assert!(log.contains("(INJECTED)"), "{line}: {log}");
    run
}

/// Does the same, but no call needs to be interrupted. Also returns strace's log.
#[track_caller]
fn traced(ns: &Namespace, line: &str, call: &str, path: &str, when: &str) -> (Ended, String) {
    // The absolute path, as in the line: strace compares strings.
    let path = fs::canonicalize(ns.path(path)).expect("the file");
    let path = if path.is_dir() { String::new() } else { format!("-P {}", path.display()) };
    let inject = format!("inject={call}:error=EINTR:when={when}");
    let strace = format!("strace -f -qq {path} -e trace={call} -e '{inject}' -e signal=none -o log $0");
    ns.run("rm", ["-f", "log", "out"]);
    let line = line.replace("$0", &strace);
    let mut sh = ns.program("sh");
    let sh = sh.args(["-c", &line, shmadm_path()]).env("SHMADM", shmadm_path());
    let run = ended(sh.env("FIFO", fs::canonicalize(ns.path("")).expect("it").join("fifo")).stdin(Stdio::null()));
    let log = fs::read_to_string(ns.path("log")).expect("a log");
    (run, log)
}

#[test]
fn opening_a_fifo_is_repeated() {
    in_namespace(|ns| {
        needs(Need::Strace);
        let bytes = pattern(100_000);
        create(ns, &bytes);
        ns.run("mkfifo", ["fifo"]);
        for line in [
            "cat bytes >fifo & $0 write 5 --file $FIFO && cat bytes >out",
            "cat bytes >fifo & $0 create 6 --size 100000 --from $FIFO -q >id && $SHMADM read 6 >out && $SHMADM remove 6 -q",
            "cat bytes >fifo & $0 write 6 --create 100000 --file $FIFO && $SHMADM read 6 >out && $SHMADM remove 6 -q",
        ] {
            let run = injected(ns, line, "openat", "fifo", "1..2");
            assert_eq!((run.code, &*run.err), (Some(0), ""), "{line}");
            assert!(fs::read(ns.path("out")).expect("its output") == bytes, "{line}");
            assert!(ns.shmadm(["read", "5"]).bytes == bytes, "{line}");
        }
        for line in ["read 5 -o fifo", "metrics -o fifo", "guard --shared --report fifo -- true"] {
            let line = format!("cat fifo >out & $0 {line}; wait");
            // At that point the FIFO was found, and is opened through its descriptor.
            let opens = |call: &&str| call.contains("/proc/self/fd/") && call.contains("O_WRONLY");
            // How often guard opens the kernel's tables before depends on when the command ends, so that another open
            // can be the interrupted one. That one must be repeated, too.
            let is_interrupted = || {
                let (_, log) = traced(ns, &line, "openat", "", "9999");
                let (pid, _) = log.lines().find(opens).and_then(|call| call.split_once(' ')).expect("an open FIFO");
                let own = log.lines().filter(|call| call.split(' ').next() == Some(pid));
                let nth = own.take_while(|call| !opens(call)).count() + 1;
                let (run, log) = traced(ns, &line, "openat", "", &format!("{nth}..{}", nth + 1));
                assert_eq!((run.code, &*run.err), (Some(0), ""), "{line}");
                let out = fs::read(ns.path("out")).expect("its output");
                assert!(if line.contains("read 5") { out == bytes } else { !out.is_empty() }, "{line}");
                log.lines().filter(opens).any(|call| call.contains("(INJECTED)"))
            };
            assert!((0..20).any(|_| is_interrupted()), "{line}");
        }
    });
}

#[test]
fn flushing_a_file_is_repeated() {
    in_namespace(|ns| {
        needs(Need::Strace);
        create(ns, b"some bytes");
        for line in ["read 5 -o out", "metrics -o out", "guard --report out -- true"] {
            let run = injected(ns, &format!("$0 {line}"), "fsync", "", "1..2");
            assert_eq!((run.code, &*run.err), (Some(0), ""), "{line}");
            // The file is flushed in the end, and no temporary file is left.
            let log = fs::read_to_string(ns.path("log")).expect("a log");
            assert!(log.lines().any(|line| line.contains("fsync(") && line.ends_with("= 0")), "{line}: {log}");
            assert!(!fs::read(ns.path("out")).expect("its output").is_empty(), "{line}");
            assert_eq!(ns.run("ls", ["-A"]), "bytes\nlog\nout\n", "{line}");
        }
    });
}

#[test]
fn a_waiting_removal_sees_the_last_detach() {
    in_namespace(|ns| {
        needs(Need::Strace);
        let mut injected = 0;
        for call in ["clock_nanosleep", "ppoll"] {
            create(ns, b"x");
            let _holder = ns.hold(["read", "5", "--hold=300ms"]);
            // Every second call: each inspects the segment, or is part of that.
            let line = "$0 remove 5 --wait";
            let strace = format!("strace -f -qq -e trace={call} -e inject={call}:error=EINTR:when=1+2 -o log $0");
            let line = line.replace("$0", &strace);
            let run = ended(ns.program("sh").args(["-c", &line, shmadm_path()]));
            assert_eq!((run.code, &*run.err), (Some(0), ""), "{call}");
            assert!(run.out.contains("removed"), "{call}: {run:?}");
            assert!(ns.table().is_empty(), "{call}");
            injected += fs::read_to_string(ns.path("log")).expect("a log").matches("(INJECTED)").count();
        }
        // It waits in one of these calls.
        assert!(injected > 1, "{injected}");
    });
}

#[test]
fn reading_an_answer_is_repeated() {
    in_namespace(|ns| {
        needs(Need::Strace);
        for (line, answers, told) in [
            ("remove --all", "y\n", "removed segment 0x00000005"),
            // One line for each step.
            ("demo --pause", "\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n", "gone"),
        ] {
            create(ns, b"x");
            // Interrupts only reads from the terminal, not those of the loader.
            let shell = format!(
                "strace -f -qq -P $(tty) -e trace=read -e inject=read:error=EINTR:when=1+2 -e signal=none -o log $SHMADM {line}"
            );
            let mut script = ns.program("script");
            script.env("SHMADM", shmadm_path()).env("SHELL", "/bin/sh");
            let run = crate::support::with_input(script.args(["-qec", &shell, "/dev/null"]), answers.as_bytes());
            assert_eq!(run.code, Some(0), "{line}: {run:?}");
            let log = fs::read_to_string(ns.path("log")).expect("a log");
            assert!(log.contains("(INJECTED)"), "{line}: {log}");
            assert!(run.out.contains(told), "{line}: {run:?}");
            ns.run("ipcrm", ["--all=shm"]);
        }
    });
}
