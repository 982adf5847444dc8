//! A signal in the middle of a command: unfinished work is undone, finished work stays, and the command always ends.

mod killed;

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::process::Stdio;
use std::thread::sleep;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rustix::fs::{CWD, Mode, mkfifoat};
use rustix::io::ioctl_fionread;

use crate::support::{Namespace, Need, Running, ended, in_namespace, needs, shmadm_path, wait_until, writes_new_file};

const SIGNALS: [Signal; 3] = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP];

/// Commands that create a segment and fill it from `fifo`.
const FILLED: [&str; 4] = [
    "create random --size 4K --from fifo",
    "create private --size 4K --from fifo -q",
    "create 0x2a --size 4K --from fifo --mode 400 -f json",
    "write 0x2a --create 4K --file fifo --hold",
];

/// Creates a FIFO and opens it for writing. Nothing is written yet.
fn fifo(ns: &Namespace) -> File {
    let path = ns.path("fifo");
    let _ = fs::remove_file(&path);
    mkfifoat(CWD, &path, Mode::RWXU).expect("a FIFO");
    OpenOptions::new().read(true).write(true).open(path).expect("a FIFO")
}

/// Starts such a command, and waits until it is in the middle of filling the segment.
fn filling(ns: &Namespace, line: &str) -> Running {
    let mut command = ns.command(line.split(' '));
    let running = Running(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("shmadm"));
    wait_until("there is a segment, and it is attached", || {
        matches!(&ns.table()[..], [row] if row.nattch == "1") && state(running.pid()).contains("pipe")
    });
    running
}

/// Returns the kernel function in which a process sleeps (/proc/PID/wchan).
fn state(pid: Pid) -> String {
    fs::read_to_string(format!("/proc/{pid}/wchan")).unwrap_or_default()
}

#[test]
fn a_segment_that_is_being_filled_is_removed_again() {
    in_namespace(|ns| {
        for line in FILLED {
            for signal in SIGNALS {
                let _writer = fifo(ns);
                let filling = filling(ns, line);
                assert_eq!(filling.end(signal), (None, Some(signal as i32)), "{line}");
                assert_eq!(ns.table(), [], "{line} {signal}");
            }
        }
    });
}

#[test]
fn an_ignored_signal_changes_nothing() {
    in_namespace(|ns| {
        let mut writer = fifo(ns);
        let mut command = ns.program("env");
        command.args(["--ignore-signal=HUP", shmadm_path(), "create", "42", "-s", "4K", "--from", "fifo"]);
        let mut running = Running(command.stdout(Stdio::null()).spawn().expect("env"));
        wait_until("there is a segment", || ns.table().len() == 1);
        kill(running.pid(), Signal::SIGHUP).expect("the process");
        assert_eq!(running.0.try_wait().expect("its state"), None);
        writer.write_all(b"all of it").expect("a FIFO");
        drop(writer);
        assert_eq!(running.0.wait().expect("its exit status").code(), Some(0));
        assert_eq!(ns.shmadm(["read", "42", "-f", "string"]).ok(), "all of it\n");
    });
}

#[test]
fn an_existing_or_filled_segment_stays() {
    in_namespace(|ns| {
        ns.shmadm(["create", "0x2a", "--size", "4K"]).ok();
        let writer = fifo(ns);
        let mut command = ns.command(FILLED[3].split(' '));
        let running = Running(command.stderr(Stdio::null()).spawn().expect("shmadm"));
        wait_until("it is attached", || ns.table()[0].nattch == "1" && state(running.pid()).contains("pipe"));
        assert_eq!(running.end(Signal::SIGTERM), (None, Some(15)));
        assert_eq!(ns.table().len(), 1);
        drop(writer);
        let holder = ns.hold(["write", "0x2b", "--create", "4K", "whole", "--hold"]);
        assert_eq!(holder.end(Signal::SIGTERM), (None, Some(15)));
        assert_eq!(ns.shmadm(["read", "0x2b", "-f", "string"]).ok(), "whole\n");
    });
}

#[test]
fn a_file_that_is_being_written_is_removed_and_the_old_one_stays() {
    in_namespace(|ns| {
        ns.shmadm(["create", "42", "--size", "256M"]).ok();
        ns.shmadm(["write", "42", "--fill", "1", ""]).ok();
        let names = || {
            let entries = fs::read_dir(ns.path("")).expect("the directory");
            entries.map(|entry| entry.expect("a file").file_name().into_string().expect("UTF-8")).collect::<Vec<_>>()
        };
        ns.file("out", "old");
        for signal in SIGNALS.into_iter().chain([Signal::SIGKILL]) {
            if signal == Signal::SIGKILL {
                needs(Need::UnnamedFiles);
            }
            let mut reader = Running(ns.command(["read", "42", "-o", "out"]).spawn().expect("shmadm"));
            wait_until("it writes a new file", || writes_new_file(reader.pid(), 0));
            assert_eq!(reader.0.try_wait().expect("its state"), None);
            assert_eq!(reader.end(signal), (None, Some(signal as i32)));
            assert_eq!(names(), ["out"], "{signal}");
            assert_eq!(fs::read_to_string(ns.path("out")).expect("a file"), "old");
        }
        assert_eq!(ns.table()[0].nattch, "0");
    });
}

/// Starts shmadm with a pipe that nobody reads, and waits until the pipe is full.
#[track_caller]
fn blocked(ns: &Namespace, line: &str, begin: impl FnOnce()) -> Running {
    let log = File::create(ns.path("log")).expect("a log");
    let mut command = ns.command(line.split(' '));
    let running = Running(command.stdout(Stdio::piped()).stderr(log).spawn().expect("shmadm"));
    begin();
    let mut before = 0;
    wait_until("the pipe is full", || {
        sleep(Duration::from_millis(30));
        let waiting = ioctl_fionread(running.0.stdout.as_ref().expect("a pipe")).expect("its length");
        let is_full = waiting > 0 && waiting == std::mem::replace(&mut before, waiting);
        is_full && !state(running.pid()).contains("nanosleep")
    });
    running
}

#[test]
fn a_full_pipe_does_not_prevent_a_signal_from_ending_us() {
    in_namespace(|ns| {
        let log = || fs::read_to_string(ns.path("log")).expect("a log");
        for format in ["text", "jsonl"] {
            let mut watcher = blocked(ns, &format!("watch --source poll --for 2m --interval 10ms -f {format}"), || {
                wait_until("it watches", || log().contains("watching"));
                ns.run("perl", ["-e", "shmget(0, 1, 01600) // die for 1 .. 1500"]);
            });
            let mut pipe = watcher.0.stdout.take().expect("a pipe");
            assert_eq!(watcher.end(Signal::SIGTERM), (None, Some(15)));
            let mut text = String::new();
            pipe.read_to_string(&mut text).expect("UTF-8");
            assert!(text.ends_with('\n') && text.lines().count() < 1500, "whole lines, not all of them");
            ns.run("ipcrm", ["-a"]);
        }
        ns.shmadm(["create", "42", "--size", "4M"]).ok();
        for line in ["read 42 --hold", "read 42 -f hex --hold", "read 42 -f raw"] {
            assert_eq!(blocked(ns, line, || ()).end(Signal::SIGTERM), (None, Some(15)), "{line}");
        }
    });
}

#[test]
fn the_file_size_limit_applies_to_files_and_not_to_segments() {
    in_namespace(|ns| {
        ns.file("in", "from a file");
        let limited = |line: &str| {
            let mut sh = ns.program("sh");
            sh.args(["-c", &format!("prlimit --fsize=3 -- {line}"), shmadm_path()]);
            ended(sh.stdin(File::open(ns.path("in")).expect("a file")))
        };
        limited("$0 create 42 --size 4K").ok();
        for line in
            ["$0 write 42 text", "$0 write 42 --file in", "$0 write 42", "cat | $0 write 42", "$0 write 42 -- -"]
        {
            limited(line).ok();
        }
        limited("$0 write 42 --fill 1 --zero --file in").ok();
        limited("$0 create 43 --from in").ok();
        assert_eq!(ns.shmadm(["read", "43"]).ok(), "from a file");
        assert_eq!(ns.shmadm(["read", "42"]).bytes, [&b"from a file"[..], &[1; 4096 - 11]].concat());

        assert!(limited("$0 read 43 -o out").fails(1).contains("cannot write out: File too large"));
        assert!(limited("$0 read 43 -f hex -o out").fails(1).contains("cannot write out: File too large"));
        assert!(!ns.path("out").exists());
        for line in ["read 43", "list", "list -f json", "metrics", "limits", "completions bash", "--help"] {
            let error = limited(&format!("$0 {line} >all")).fails(1);
            assert!(error.contains("cannot write standard output: File too large"), "{line}: {error}");
        }
    });
}
