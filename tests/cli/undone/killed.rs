//! SIGKILL in the middle of a command: another process removes the segment that is not complete.

use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::*;
use crate::support::{children, state_of};

/// Returns the one child of a process.
#[track_caller]
fn child_of(running: &Running) -> Pid {
    let children = children(running.pid());
    assert_eq!(children.len(), 1, "{children:?}");
    children[0]
}

/// A stopped process, which continues if the test fails.
struct Stopped(Pid);

impl Drop for Stopped {
    fn drop(&mut self) {
        let _ = kill(self.0, Signal::SIGCONT);
    }
}

/// Waits until a process has ended. If its parent has ended, too, it may stay a zombie: the first process of a container
/// need not collect it.
#[track_caller]
fn expect_end(process: Pid) {
    let stat = || fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    wait_until("the child has ended", || stat().rsplit_once(") ").is_none_or(|(_, state)| state.starts_with('Z')));
}

/// Returns the keys of all segments.
fn keys(ns: &Namespace) -> Vec<String> {
    ns.table().into_iter().map(|row| row.key).collect()
}

/// Starts a program under strace, in a shell line in which `$0` is shmadm and `$STRACE` traces it. The program keeps the
/// pid of the shell.
fn traced(ns: &Namespace, inject: &str, line: &str) -> Running {
    let (call, _) = inject.split_once(':').expect("a call");
    let strace = format!("strace -D -qq -o log -e trace={call} -e inject={inject} -e signal=none --");
    let line = format!("exec {}", line.replace("$STRACE", &strace));
    let mut sh = ns.program("sh");
    sh.args(["-c", &line, shmadm_path()]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    Running(sh.spawn().expect("sh"))
}

#[test]
fn an_incomplete_segment_is_removed_and_others_stay() {
    in_namespace(|ns| {
        // An earlier segment of the same user, like the new one.
        ns.shmadm(["create", "1", "--size", "4K"]).ok();
        for line in FILLED {
            for group in [false, true] {
                let _writer = fifo(ns);
                let mut command = ns.command(line.split(' '));
                command.stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
                let running = Running(command.spawn().expect("shmadm"));
                wait_until("it is attached", || ns.table().iter().any(|row| row.nattch == "1"));
                wait_until("it reads", || state(running.pid()).contains("pipe"));
                let child = child_of(&running);
                if group {
                    // As a terminal does it.
                    kill(Pid::from_raw(-running.pid().as_raw()), Signal::SIGKILL).expect("the process group");
                }
                assert_eq!(running.end(Signal::SIGKILL), (None, Some(9)), "{line}");
                expect_end(child);
                assert_eq!(keys(ns), ["1"], "{line}");
            }
        }
    });
}

#[test]
fn complete_segments_of_an_archive_stay() {
    in_namespace(|ns| {
        needs(Need::Strace);
        for key in ["1", "2", "3"] {
            ns.shmadm(["write", key, "text", "--create", "4K", "--mode", "640"]).ok();
        }
        ns.shmadm(["save", "archive", "--all", "-q"]).ok();
        ns.shmadm(["remove", "--all", "-y", "-q"]).ok();
        // The second segment is filled and has its mode, but is still attached.
        let running = traced(ns, "shmdt:delay_enter=3000000:when=2", "$STRACE $0 restore archive");
        wait_until("the second has its mode", || matches!(&ns.table()[..], [_, row] if row.mode == "640"));
        let child = child_of(&running);
        assert_eq!(running.end(Signal::SIGKILL), (None, Some(9)));
        expect_end(child);
        assert_eq!(keys(ns), ["1"]);
        assert_eq!(ns.shmadm(["read", "1", "-f", "string"]).ok(), "text\n");
    });
}

#[test]
fn a_segment_that_was_created_a_moment_before_is_found() {
    in_namespace(|ns| {
        needs(Need::Strace);
        ns.file("in", "text");
        for (line, call) in [
            ("create private --size 4K --from in", 1),
            ("create 42 --size 4K --from in", 1),
            // The first call looks for it.
            ("write 42 --create 4K --file in", 2),
        ] {
            // Segments like the new one: one of another process, and one that this process has created before.
            ns.shmadm(["create", "private", "--size", "4K"]).ok();
            let perl = "shmget(0, 4096, 01600) // die; exec @ARGV";
            let inject = format!("shmget:delay_exit=3000000:when={call}");
            let running = traced(ns, &inject, &format!("perl -e '{perl}' $STRACE $0 {line}"));
            wait_until("there are three", || ns.table().len() == 3);
            let child = child_of(&running);
            assert_eq!(running.end(Signal::SIGKILL), (None, Some(9)), "{line}");
            expect_end(child);
            assert_eq!(keys(ns), ["0", "0"], "{line}");
            ns.run("ipcrm", ["--all=shm"]);
        }
    });
}

#[test]
fn nobody_waits_for_the_child() {
    in_namespace(|ns| {
        let _writer = fifo(ns);
        let mut command = ns.command(FILLED[0].split(' '));
        let mut running = Running(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("shmadm"));
        wait_until("it is attached", || ns.table().iter().any(|row| row.nattch == "1"));
        let child = child_of(&running);
        kill(child, Signal::SIGSTOP).expect("the child");
        wait_until("the child is stopped", || state_of(child.as_raw()) == "T");
        let streams = (running.0.stdout.take().expect("a pipe"), running.0.stderr.take().expect("a pipe"));
        assert_eq!(running.end(Signal::SIGKILL), (None, Some(9)));
        let _stopped = Stopped(child);
        for stream in [streams.0.as_fd(), streams.1.as_fd()] {
            wait_until("the stream ends", || {
                let mut polled = [PollFd::from_borrowed_fd(stream, PollFlags::IN)];
                poll(&mut polled, Some(&Timespec::default())).expect("poll");
                polled[0].revents().contains(PollFlags::HUP)
            });
        }
        assert_eq!(ns.table().len(), 1);
        kill(child, Signal::SIGCONT).expect("the child");
        expect_end(child);
        assert_eq!(ns.table(), []);
    });
}

#[test]
fn the_command_does_not_need_the_child() {
    in_namespace(|ns| {
        for signal in [Signal::SIGSTOP, Signal::SIGKILL] {
            for line in FILLED {
                let mut writer = fifo(ns);
                let mut running = filling(ns, line);
                let child = child_of(&running);
                kill(child, signal).expect("the child");
                wait_until("the child has got it", || ["T", "Z"].contains(&&*state_of(child.as_raw())));
                writer.write_all(b"all of it").expect("a FIFO");
                drop(writer);
                if line.contains("--hold") {
                    wait_until("it holds the segment", || state(running.pid()).contains("poll"));
                    // It has collected the child.
                    assert_eq!(children(running.pid()), []);
                } else {
                    wait_until("it ends", || running.0.try_wait().expect("its state").is_some());
                    assert_eq!(running.0.wait().expect("its exit status").code(), Some(0), "{line}");
                }
                assert!(!fs::exists(format!("/proc/{child}")).expect("/proc"), "{line}");
                drop(running);
                let id = format!("id:{}", ns.table()[0].id);
                assert_eq!(ns.shmadm(["read", &id, "-f", "string"]).ok(), "all of it\n", "{line}");
                ns.run("ipcrm", ["--all=shm"]);
            }
        }
    });
}

#[test]
fn a_child_that_cannot_be_started_is_not_needed() {
    in_namespace(|ns| {
        needs(Need::Strace);
        ns.file("in", "text");
        ns.shmadm(["create", "1", "--size", "4K", "--from", "in"]).ok();
        ns.shmadm(["save", "archive", "1", "-q"]).ok();
        for fault in ["clone:error=EAGAIN", "clone:error=ENOMEM", "socketpair:error=ENOMEM", "recvfrom:error=EIO"] {
            for line in ["create 1 --size 4K --from in", "write 1 --create 4K --file in", "restore archive"] {
                ns.run("ipcrm", ["--all=shm"]);
                let (call, _) = fault.split_once(':').expect("a call");
                let mut strace = ns.program("strace");
                strace.args(["-qq", "-o", "log", "-e", &format!("trace={call}")]);
                strace.args(["-e", &format!("inject={fault}:when=1"), "--", shmadm_path()]);
                let run = ended(strace.args(line.split(' ')));
                assert_eq!((run.code, &*run.err), (Some(0), ""), "{fault} {line}");
                let log = fs::read_to_string(ns.path("log")).expect("a log");
                assert_eq!(log.matches("(INJECTED)").count(), 1, "{fault} {line}: {log}");
                assert_eq!(ns.shmadm(["read", "1", "-f", "string"]).ok(), "text\n", "{fault} {line}");
            }
        }
    });
}

#[test]
fn a_segment_without_further_steps_needs_no_child() {
    in_namespace(|ns| {
        needs(Need::Strace);
        ns.file("in", "text");
        for (line, forks) in [
            ("create 1 --size 4K --from in", 1),
            ("create 2 --size 4K", 0),
            ("create 1 --size 4K --from in --exist-ok", 0),
            ("write 1 text --create 4K", 0),
            ("write 1 text", 0),
        ] {
            let mut strace = ns.program("strace");
            strace.args(["-f", "-qq", "-o", "log", "-e", "trace=clone,fork,vfork,clone3", "--", shmadm_path()]);
            ended(strace.args(line.split(' '))).ok();
            let log = fs::read_to_string(ns.path("log")).expect("a log");
            let processes = log.lines().filter(|line| !line.contains("CLONE_THREAD"));
            assert_eq!(processes.filter(|line| line.contains("|SIGCHLD")).count(), forks, "{line}: {log}");
        }
    });
}

#[test]
fn a_second_process_that_cannot_report_is_not_waited_for() {
    in_namespace(|ns| {
        needs(Need::Strace);
        ns.file("in", "from a file");
        // Its first message says that it is ready.
        let inject = "inject=sendto:error=ENOMEM:when=1";
        let mut timeout = ns.program("timeout");
        timeout.args(["-k", "1", "20", "strace", "-f", "-qq", "-o", "log", "-e", "trace=sendto", "-e", inject]);
        let created = ended(timeout.args([shmadm_path(), "create", "1", "--from", "in", "-q"]));
        assert_eq!((created.code, created.out.as_str(), created.err.as_str()), (Some(0), "id:0\n", ""), "{created:?}");
        assert!(std::fs::read_to_string(ns.path("log")).expect("a log").contains("(INJECTED)"));
        assert_eq!(ns.shmadm(["read", "1"]).ok(), "from a file");
    });
}
