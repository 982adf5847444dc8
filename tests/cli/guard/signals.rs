//! The effect of signals on the command, and on guard before and after the command's end.

use std::fs::{self, File};
use std::path::Path;

use super::*;

/// Returns a perl program that leaves a segment behind, writes its pid to a file, and waits.
fn leak_and_wait() -> String {
    let tell = "open my $f, '>', 'new' or die $!; print $f $$; close $f; rename 'new', 'pid' or die $!;";
    [LEAK, tell, "sleep 60"].concat()
}

/// Starts guard with this perl program as its command. Standard error goes to `log`.
#[track_caller]
fn start(ns: &Namespace, way: Way, options: &str, perl: &str) -> Running {
    let log = File::create(ns.path("log")).expect("a log");
    Running(command(ns, way, options, &["perl", "-e", perl]).stderr(log).spawn().expect("shmadm"))
}

/// Returns the pid that the command has printed.
#[track_caller]
fn printed_pid(ns: &Namespace) -> Pid {
    wait_until("the command runs", || ns.path("pid").exists());
    Pid::from_raw(ns.run("sh", ["-c", "cat pid && rm pid"]).parse().expect("a pid"))
}

fn log(ns: &Namespace) -> String {
    fs::read_to_string(ns.path("log")).expect("the log")
}

#[test]
fn a_real_time_signal_gives_a_status_like_any_other() {
    in_namespace(|ns| {
        let before = create_others(ns);
        for way in ways() {
            for (number, status) in [(34, 162), (64, 192)] {
                let perl = format!("{LEAK} kill {number}, $$; sleep 60");
                let leaky = guard(ns, way, "--report report", &["perl", "-e", &perl]);
                leaks(ns, way, &leaky, status, &before);
                assert_eq!(report(ns)["status"], status);
                let removed = guard(ns, way, "--remove", &["perl", "-e", &perl]);
                assert_eq!((removed.code, ns.table()), (Some(status), before.clone()), "{way:?} {removed:?}");
                assert!(removed.err.contains("removed segment 0x0000002a"), "{way:?} {removed:?}");
            }
        }
    });
}

#[test]
fn signals_are_forwarded_to_the_command() {
    in_namespace(|ns| {
        ns.open_to_all();
        let wait = "open my $f, '>', 'ready' or die $!; select undef, undef, undef, .05 for 1 .. 200; exit 6";
        let trap = "$SIG{TERM} = sub { exit 3 }; $SIG{INT} = sub { exit 4 }; $SIG{HUP} = sub { exit 5 };";
        for way in ways() {
            for (signal, trapped, untrapped) in
                [(Signal::SIGTERM, 3, 143), (Signal::SIGINT, 4, 130), (Signal::SIGHUP, 5, 129)]
            {
                for (perl, status) in [([trap, wait].concat(), trapped), (wait.to_owned(), untrapped)] {
                    let running = Running(command(ns, way, "", &["perl", "-e", &perl]).spawn().expect("shmadm"));
                    wait_until("the command runs", || ns.path("ready").exists());
                    assert_eq!(running.end(signal), (Some(status), None), "{way:?} {signal}");
                    ns.run("rm", ["ready"]);
                }
            }
        }
    });
}

#[test]
fn a_hangup_that_reaches_only_guard_is_forwarded() {
    in_namespace(|ns| {
        ns.file("wait.pl", leak_and_wait());
        let line = "exec \"$SHMADM\" guard --report report -- perl wait.pl";
        let mut script = ns.program("script");
        script.env("SHMADM", shmadm_path()).env("SHELL", "/bin/sh").args(["-qec", line, "/dev/null"]);
        let script = Running(script.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().expect("script"));
        let command = printed_pid(ns);
        // Its end closes the terminal, and guard leads the session of the terminal.
        script.end(Signal::SIGKILL);
        wait_until("the end of the command is reported", || ns.path("report").exists());
        assert_eq!(report(ns)["status"], 128 + Signal::SIGHUP as i32);
        assert!(kill(command, None).is_err());
    });
}

#[test]
fn a_forwarded_signal_that_ends_the_command_hides_no_leak() {
    in_namespace(|ns| {
        let before = create_others(ns);
        for way in ways() {
            let running = start(ns, way, "--remove --report report", &leak_and_wait());
            printed_pid(ns);
            assert_eq!(running.end(Signal::SIGTERM), (Some(143), None), "{way:?}");
            assert!(log(ns).contains("removed segment 0x0000002a"), "{way:?}: {}", log(ns));
            let report = report(ns);
            assert_eq!((&report["removed"], &report["status"]), (&json!(true), &json!(143)), "{way:?}");
            assert_eq!(ns.table(), before, "{way:?}");
        }
    });
}

#[test]
fn signals_before_the_commands_end_do_not_end_guard() {
    in_namespace(|ns| {
        let before = create_others(ns);
        for way in ways() {
            let running = start(ns, way, "--remove", &leak_and_wait());
            let child = printed_pid(ns);
            // guard is stopped while the command ends and more signals arrive than it reads before it sees that end.
            kill(running.pid(), Signal::SIGSTOP).expect("guard");
            kill(child, Signal::SIGKILL).expect("the command");
            let stat = format!("/proc/{child}/stat");
            wait_until("it has ended", || fs::read_to_string(&stat).is_ok_and(|stat| stat.contains(") Z ")));
            for signal in [Signal::SIGHUP, Signal::SIGINT, Signal::SIGTERM] {
                kill(running.pid(), signal).expect("guard");
            }
            assert_eq!(running.end(Signal::SIGCONT), (Some(137), None), "{way:?}");
            assert!(log(ns).contains("removed segment 0x0000002a"), "{way:?}: {}", log(ns));
            assert_eq!(ns.table(), before, "{way:?}");
        }
    });
}

#[test]
fn a_signal_after_the_commands_end_ends_guard() {
    in_namespace(|ns| {
        ns.run("mkfifo", ["fifo"]);
        ns.open_to_all();
        for way in ways().filter(|way| !way.shared) {
            for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
                // guard waits, because nobody reads the FIFO.
                let mut running = start(ns, way, "--report fifo", LEAK);
                wait_until("the leak is named", || log(ns).contains("0x0000002a"));
                kill(running.pid(), signal).expect("guard");
                wait_until("it has ended", || running.0.try_wait().expect("its state").is_some());
                let ended = running.0.wait().expect("its exit status");
                assert_eq!(std::os::unix::process::ExitStatusExt::signal(&ended), Some(signal as i32), "{way:?}");
            }
        }
    });
}

#[test]
fn an_old_report_stays_if_guard_is_killed() {
    in_namespace(|ns| {
        ns.file("report", "old");
        ns.open_to_all();
        let files = || {
            let names =
                fs::read_dir(ns.path(".")).expect("the directory").map(|entry| entry.expect("a file").file_name());
            names.filter(|name| Path::new(name) != Path::new("log")).collect::<Vec<_>>()
        };
        for way in ways().filter(|way| !way.shared) {
            let running = start(ns, way, "--report report", &leak_and_wait());
            let child = printed_pid(ns);
            assert_eq!(running.end(Signal::SIGKILL), (None, Some(9)), "{way:?}");
            kill(child, Signal::SIGKILL).expect("the command");
            assert_eq!((files(), ns.run("cat", ["report"])), (vec!["report".into()], "old".into()), "{way:?}");
        }
    });
}

#[test]
fn a_caller_that_ignores_sigchld_changes_nothing() {
    in_namespace(|ns| {
        let exec = "$SIG{CHLD} = 'IGNORE'; exec @ARGV or die $!";
        let words = ["-e", exec, shmadm_path(), "guard", "--", "sh", "-c", "exit 7"];
        // With SIGCHLD ignored nothing reports the end of the command, so guard could wait forever.
        let ended = ended(ns.program("timeout").args(["--signal=KILL", "10", "perl"]).args(words));
        assert_eq!((ended.code, &*ended.err), (Some(7), ""));
    });
}
