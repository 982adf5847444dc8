//! `-o FILE`: the new file has no name until it is complete, where the machine permits that.

use super::*;

/// The beginning of a line of strace about the creation of a file without a name.
const UNNAMED: &str = "O_TMPFILE";

/// Runs shmadm under strace, and makes one kind of system call fail. Returns strace's log.
#[track_caller]
fn injected(ns: &Namespace, trace: &str, inject: &str, out: &str) -> String {
    let (trace, inject) = (format!("trace={trace}"), format!("inject={inject}"));
    let mut strace = ns.program("strace");
    strace.args(["-f", "-qq", "-o", "log", "-e", &trace, "-e", &inject, "-e", "signal=none"]);
    let read = ended(strace.args(["--", shmadm_path(), "read", "1", "-o", out]));
    assert_eq!((read.code, &*read.err), (Some(0), ""), "{inject}");
    fs::read_to_string(ns.path("log")).expect("a log")
}

/// Returns the injection that makes the creation of a file without a name fail.
#[track_caller]
fn without_unnamed(ns: &Namespace, out: &str, error: &str) -> String {
    let log = injected(ns, "openat", "openat:error=EIO:when=9999", out);
    let before = log.lines().take_while(|line| !line.contains(UNNAMED)).count();
    assert!(before < log.lines().count(), "{log}");
    format!("openat:error={error}:when={}", before + 1)
}

#[test]
fn what_the_machine_lacks_is_replaced() {
    in_namespace(|ns| {
        needs(Need::Strace);
        needs(Need::UnnamedFiles);
        // More than a pipe has room for, and not a whole number of pages.
        segment(ns, 1, &random(200_001));
        for error in ["EOPNOTSUPP", "EISDIR", "ENOENT", "EINVAL", "ENOSYS", "EPERM", "link"] {
            for old in [None, Some("an old file")] {
                ns.run("rm", ["-f", "out"]);
                old.map(|old| ns.file("out", old));
                let (trace, inject) = match error {
                    // Also not to a temporary name.
                    "link" => ("linkat", "linkat:error=EPERM:when=1+".into()),
                    _ => ("openat", without_unnamed(ns, "out", error)),
                };
                ns.run("rm", ["-f", "out"]);
                old.map(|old| ns.file("out", old));
                let log = injected(ns, trace, &inject, "out");
                let failed: Vec<_> = log.lines().filter(|line| line.contains("(INJECTED)")).collect();
                let expected = if error == "link" { "linkat(" } else { UNNAMED };
                assert!(matches!(failed[..], [call] if call.contains(expected)), "{inject}: {failed:?}");
                assert!(contents(ns, "out") == contents(ns, "copy1"), "{inject}");
                assert_eq!(ns.run("stat", ["-c", "%a", "out"]), "600\n", "{inject}");
                assert_eq!(ns.run("ls", ["-A"]), "copy1\nlog\nout\n", "{inject}");
            }
        }
    });
}

#[test]
fn a_machine_without_proc_is_not_a_problem() {
    in_namespace(|ns| {
        segment(ns, 1, &random(200_001));
        // Other files in its place are not taken for the new one: they are on the same file system.
        let seen = script(
            ns,
            "mkdir root root/usr root/dir root/empty; mount --rbind /usr root/usr
             for dir in /lib*; do if [ -L $dir ]; then cp -P $dir root; else mkdir root$dir; mount --rbind $dir root$dir; fi; done
             cp $0 root/shmadm; chroot root /shmadm read 1 -o /empty/out; cmp root/empty/out copy1; ls -A root/empty
             mkdir -p root/proc/self/fd; for fd in 3 4 5 6 7 8 9; do echo another > root/proc/self/fd/$fd; done
             chroot root /shmadm read 1 -o /dir/out; cmp root/dir/out copy1; ls -A root/dir",
        );
        assert_eq!(seen, "out\nout\n");
    });
}

#[test]
fn a_signal_removes_a_named_file_too() {
    in_namespace(|ns| {
        needs(Need::Strace);
        needs(Need::UnnamedFiles);
        segment(ns, 1, &random(200_001));
        ns.file("out", "old");
        let inject = without_unnamed(ns, "out", "EOPNOTSUPP");
        ns.file("out", "old");
        let mut strace = ns.program("strace");
        strace.args(["-D", "-f", "-qq", "-o", "log", "-e", "trace=openat,fsync", "-e", &format!("inject={inject}")]);
        strace.args(["-e", "inject=fsync:delay_enter=3000000", "--", shmadm_path(), "read", "1", "-o", "out"]);
        let reader = Running(strace.spawn().expect("strace"));
        let names = || ns.run("ls", ["-A"]);
        wait_until("all is written", || names().contains(".shmadm-") && writes_new_file(reader.pid(), 200_000));
        assert_eq!(reader.end(Signal::SIGTERM), (None, Some(15)));
        assert_eq!(names(), "copy1\nlog\nout\n");
        assert_eq!(contents(ns, "out"), b"old");
    });
}

#[test]
fn an_existing_file_is_replaced_by_a_name_of_an_instant() {
    in_namespace(|ns| {
        needs(Need::Strace);
        needs(Need::UnnamedFiles);
        segment(ns, 1, b"new");
        let calls = || {
            let log = injected(ns, "linkat,renameat,unlinkat", "linkat:delay_enter=0", "out");
            let name = |line: &str| {
                line.split_once(' ')
                    .and_then(|(_, call)| call.trim_start().split_once('('))
                    .map(|(name, _)| name.to_owned())
            };
            log.lines().filter_map(name).collect::<Vec<_>>()
        };
        // A new name needs one call, and there is no moment with a temporary one.
        assert_eq!(calls(), ["linkat"]);
        assert_eq!(calls()[..3], ["linkat", "linkat", "renameat"]);
        assert_eq!(contents(ns, "out"), b"new");
    });
}
