//! System calls that a signal interrupts (EINTR) are repeated, and no byte is lost or doubled.

mod files;

use std::fs::{self, File};
use std::io::{Read, Write};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};

use crate::support::{Namespace, Need, Running, ended, in_namespace, needs, shmadm_path, wait_until};

/// Stops and continues a process repeatedly, which makes waiting system calls return. Also sends SIGCHLD, which `guard`
/// handles and the other commands ignore.
#[track_caller]
fn interrupt(running: &mut Running) {
    for _ in 0..10 {
        for signal in [Signal::SIGSTOP, Signal::SIGCONT, Signal::SIGWINCH, Signal::SIGCHLD] {
            kill(running.pid(), signal).expect("the process");
            sleep(Duration::from_millis(3));
        }
    }
    assert_eq!(running.0.try_wait().expect("its state"), None);
}

/// Waits for the end of a process. Returns its exit status.
#[track_caller]
fn status(running: &mut Running) -> Option<i32> {
    wait_until("it ends", || running.0.try_wait().expect("its state").is_some());
    running.0.wait().expect("its exit status").code()
}

#[track_caller]
fn spawn(command: &mut Command) -> Running {
    Running(command.spawn().expect("shmadm"))
}

/// Returns bytes in which no two pieces are equal.
fn pattern(length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    fastrand::Rng::with_seed(7).fill(&mut bytes);
    bytes
}

/// Creates a segment with these bytes: key 5.
#[track_caller]
fn create(ns: &Namespace, bytes: &[u8]) {
    ns.file("bytes", bytes);
    ns.shmadm(["create", "5", "--from", "bytes"]).ok();
}

#[test]
fn a_slow_pipe_is_read_to_its_end() {
    in_namespace(|ns| {
        let bytes = pattern(300_000);
        ns.shmadm(["create", "5", "--size", "300000"]).ok();
        let mut writer = spawn(ns.command(["write", "5"]).stdin(Stdio::piped()));
        let mut pipe = writer.0.stdin.take().expect("a pipe");
        for piece in bytes.chunks(100_000) {
            interrupt(&mut writer);
            pipe.write_all(piece).expect("a reader");
        }
        interrupt(&mut writer);
        drop(pipe);
        assert_eq!(status(&mut writer), Some(0));
        assert_eq!(ns.shmadm(["read", "5"]).bytes, bytes);
    });
}

#[test]
fn a_full_pipe_gets_all_of_it() {
    in_namespace(|ns| {
        let bytes = pattern(3 << 20);
        create(ns, &bytes);
        for format in ["raw", "hex"] {
            let whole = ns.shmadm(["read", "5", "-f", format]).bytes;
            let mut reader = spawn(ns.command(["read", "5", "-f", format]).stdout(Stdio::piped()));
            let mut pipe = reader.0.stdout.take().expect("a pipe");
            let mut seen = vec![0; 100_000];
            interrupt(&mut reader);
            pipe.read_exact(&mut seen).expect("its output");
            interrupt(&mut reader);
            pipe.read_to_end(&mut seen).expect("its output");
            assert_eq!(status(&mut reader), Some(0));
            assert!(seen == whole, "{format}: {} bytes of {}", seen.len(), whole.len());
        }
    });
}

#[test]
fn a_stopped_and_continued_command_continues_to_wait() {
    in_namespace(|ns| {
        create(ns, b"x");
        let mut holder = ns.hold(["read", "5", "--hold"]);
        interrupt(&mut holder);
        assert_eq!(ns.row(0).expect("segment 0").nattch, "1");

        let out = || Stdio::from(File::create(ns.path("out")).expect("a file"));
        let mut watcher = spawn(
            ns.command(["watch", "--source", "poll", "--for", "2m"])
                .stdout(out())
                .stderr(File::create(ns.path("log")).expect("a log")),
        );
        wait_until("it watches", || fs::read_to_string(ns.path("log")).is_ok_and(|log| log.contains("watching")));
        interrupt(&mut watcher);

        let mut guard =
            spawn(&mut ns.command(["guard", "--", "sh", "-c", "until test -e go; do sleep .01; done; exit 7"]));
        interrupt(&mut guard);
        ns.file("go", "");
        assert_eq!(status(&mut guard), Some(7));

        let mut remover = spawn(ns.command(["remove", "5", "--wait"]).stdout(Stdio::null()));
        wait_until("it is marked", || ns.row(0).is_some_and(|row| row.mode == "1600"));
        interrupt(&mut remover);
        assert_eq!(holder.end(Signal::SIGTERM), (None, Some(15)));
        assert_eq!(status(&mut remover), Some(0));
        // The watcher has seen it.
        wait_until("the end is reported", || fs::read_to_string(ns.path("out")).is_ok_and(|out| !out.is_empty()));
        assert_eq!(watcher.end(Signal::SIGTERM), (None, Some(15)));
    });
}

#[test]
fn each_wait_that_fails_with_eintr_is_repeated() {
    in_namespace(|ns| {
        needs(Need::Strace);
        create(ns, b"xx");
        for (line, call, first, status) in [
            ("watch --source poll --for 50ms", "ppoll", 1, 0),
            ("read 5 --hold=50ms", "ppoll", 1, 0),
            ("write 5 y --hold=50ms", "ppoll", 1, 0),
            ("guard -- sh -c 'exit 7'", "ppoll", 1, 7),
            ("guard -- sh -c 'exit 7'", "wait4", 1, 7),
            ("guard --shared -- sh -c 'exit 7'", "wait4", 1, 7),
            ("demo", "ppoll", 1, 0),
            ("demo", "wait4", 1, 0),
            // A thread waits for signals, to undo the creation.
            ("create private --size 5", "ppoll", 1, 0),
        ] {
            let inject = format!("inject={call}:error=EINTR:when={first}+2");
            let strace =
                format!("strace -f --seccomp-bpf -qq -e trace={call} -e '{inject}' -e signal=none -o log $0 {line}");
            let run = ended(ns.program("sh").args(["-c", &strace, shmadm_path()]));
            assert_eq!(run.code, Some(status), "{line}, {inject}: {run:?}");
            assert!(!run.err.contains("cannot"), "{line}, {inject}: {run:?}");
            let injected = fs::read_to_string(ns.path("log")).expect("a log").matches("(INJECTED)").count();
            assert!(injected > 0, "{line}, {inject}");
            assert_eq!(ns.row(0).expect("segment 0").nattch, "0", "{line}, {inject}");
        }
    });
}

/// Lines of sh, and whether `out` has the bytes of the segment afterwards. The first lines copy bytes.
const CALLING: [(&str, bool); 10] = [
    ("$0 read 5 >out", true),
    ("$0 read 5 | cat >out", true),
    ("$0 read 5 -o out", true),
    ("cat bytes | $0 write 5 && cat bytes >out", true),
    ("$0 write 5 --file bytes && cat bytes >out", true),
    ("$0 write 5 --fill 7 >out", false),
    ("$0 read 5 -f hex >out", false),
    ("$0 list >out", false),
    ("$0 list -f json | cat >out", false),
    ("$0 stat 5 -f json >out", false),
];

/// Returns the number of these calls that the loader and the C library make first: that of --version.
fn by_the_loader(ns: &Namespace, call: &str) -> usize {
    let log = ["-f", "-qq", "-e", &format!("trace={call}"), "-e", "signal=none", "-o", "log"];
    ended(ns.program("strace").args(log).args([shmadm_path(), "--version"])).ok();
    let log = fs::read_to_string(ns.path("log")).expect("a log");
    log.lines().filter(|line| !line.contains(" write(1, ")).count()
}

/// Runs each line as this user or as one without privilege, with every second of these calls interrupted. Its output
/// and files must be the same as without interruption. Returns the number of interrupted calls of each kind.
#[track_caller]
fn expect_calls_repeated(ns: &Namespace, lines: &[(&str, bool)], calls: &[&str], privileged: bool) -> Vec<usize> {
    let bytes = pattern(600_000);
    ns.file("bytes", &bytes);
    ns.file("other", pattern(500_000));
    ns.shmadm(["create", "5", "--from", "bytes", "--mode", "666"]).ok();
    ns.open_to_all();
    let program = |name: &str| if privileged { ns.program(name) } else { ns.unprivileged(name) };
    // Times and process ids differ between runs. So can names of users: the C library finds none if reading
    // /etc/nsswitch.conf fails with EINTR, which happens to a regular file only here.
    let letters = |text: &[u8]| {
        let letters: String = text.iter().copied().filter(u8::is_ascii_alphabetic).map(char::from).collect();
        letters.replace("root", "").replace("null", "")
    };
    let mut injected = vec![0; calls.len()];
    for (line, result) in lines {
        let sh = |line: &str, shmadm: &str| {
            ns.run("rm", ["-f", "out", "log"]);
            // Each write starts with other bytes in the segment.
            let before = if line.contains(" write ") { "other" } else { "bytes" };
            ns.shmadm(["write", "5", "--file", before]).ok();
            let line = line.replace("$0", shmadm);
            let run = ended(program("bash").args(["-o", "pipefail", "-c", &line, shmadm_path()]));
            assert_eq!((run.code, &*run.err), (Some(0), ""), "{line}");
            (fs::read(ns.path("out")).expect("its output"), ns.shmadm(["read", "5"]).bytes)
        };
        let (plain, left) = sh(line, "$0");
        for (call, injected) in calls.iter().zip(&mut injected) {
            // Every second call, so that the repeated one succeeds.
            let inject = format!("inject={call}:error=EINTR:when={}+2", by_the_loader(ns, call) + 1);
            let strace = format!("strace -f --seccomp-bpf -qq -e trace={call} -e '{inject}' -e signal=none -o log $0");
            let (out, now) = sh(line, &strace);
            *injected += fs::read_to_string(ns.path("log")).expect("a log").matches("(INJECTED)").count();
            assert!(now == left, "{line}, {inject}: the segment differs");
            if *result {
                assert!(out == bytes, "{line}, {inject}: {} bytes", out.len());
            } else if line.contains("-f hex") {
                assert!(out == plain, "{line}, {inject}");
            } else {
                assert_eq!(letters(&out), letters(&plain), "{line}, {inject}");
            }
        }
    }
    injected
}

#[test]
fn each_call_that_fails_with_eintr_is_repeated() {
    in_namespace(|ns| {
        needs(Need::Strace);
        // A line need not make such a call; the end of the test checks that many do.
        let calls = ["read", "write", "splice", "sendfile"];
        let injected = expect_calls_repeated(ns, &CALLING, &calls, true);
        assert!(injected.iter().sum::<usize>() > 40, "{injected:?}");
    });
}

#[test]
fn each_unprivileged_call_that_fails_with_eintr_is_repeated() {
    in_namespace(|ns| {
        needs(Need::Strace);
        // Not process_vm_readv(2) and process_vm_writev(2): they fail with EINTR only if the process is being killed.
        let calls = ["read", "write", "vmsplice"];
        let injected = expect_calls_repeated(ns, &CALLING[..7], &calls, false);
        // Copying without privilege makes all of these calls.
        assert!(injected.iter().all(|times| *times > 0), "{calls:?}: {injected:?}");
    });
}
