//! A signal in the middle of a removal: finished removals are reported, and the other segments stay.

use std::fs;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::*;
use crate::support::{Need, needs, shmadm_path};

/// Returns the process that strace started, once it is there.
fn tracee(strace: &Running) -> Option<Pid> {
    let pid = strace.pid();
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).ok()?;
    children.split_whitespace().next()?.parse().ok().map(Pid::from_raw)
}

/// Returns the kernel function in which a process sleeps (/proc/PID/wchan).
fn sleeps_in(pid: Pid) -> String {
    fs::read_to_string(format!("/proc/{pid}/wchan")).unwrap_or_default()
}

#[test]
fn finished_removals_are_reported_and_the_rest_stays() {
    in_namespace(|ns| {
        needs(Need::Strace);
        let names: Vec<_> = (1..=400).map(|key: i32| key.to_string()).collect();
        for (options, signal) in [
            (&["--all", "--yes"][..], Signal::SIGINT),
            (&["--all", "--yes", "--wait"], Signal::SIGHUP),
            (&["--all", "--yes", "-f", "json"], Signal::SIGTERM),
            (&[], Signal::SIGINT),
        ] {
            create(ns, 1..=400);
            let mut strace = ns.program("strace");
            strace.args(["-f", "-qq", "--seccomp-bpf", "-o", "/dev/null"]);
            strace.args(["-e", "trace=shmctl", "-e", "inject=shmctl:delay_enter=2000"]);
            strace.args([shmadm_path(), "remove"]).args(options);
            strace.args(if options.is_empty() { &names[..] } else { &[] });
            strace.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
            let strace = Running(strace.spawn().expect("strace"));
            wait_until("some are gone", || keys(ns).len() < 380);
            kill(tracee(&strace).expect("shmadm"), signal).expect("shmadm");
            let ended = strace.ended();
            assert_eq!(ended.signal, Some(signal as i32), "{options:?}: {ended:?}");
            let left = keys(ns).len();
            assert!(left > 0, "{options:?}");
            let report = match options.contains(&"json") {
                true => {
                    serde_json::from_str::<Value>(&ended.out).expect("JSON")["removed"].as_array().map_or(0, Vec::len)
                }
                false => ended.out.lines().filter(|line| line.starts_with("removed segment 0x")).count(),
            };
            assert_eq!(report + left, 400, "{options:?}");
            assert_eq!(
                ended.err,
                format!("shmadm: interrupted: {left} of 400 segments were not removed\n"),
                "{options:?}"
            );
            ns.run("ipcrm", ["-a"]);
        }
    });
}

#[test]
fn an_interrupted_wait_names_its_segments() {
    in_namespace(|ns| {
        create(ns, [42, 43]);
        let holder = ns.hold(["read", "42", "--hold"]);
        for (line, report) in [
            (
                "remove 42 43 --wait",
                "marked for destruction: segment 0x0000002a (id 0, 100 bytes), 1 attachment left: shmadm",
            ),
            ("remove id:0 --wait -f json", r#""outcome":"marked""#),
        ] {
            let mut command = ns.command(line.split(' '));
            let command = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
            let remover = Running(command.spawn().expect("shmadm"));
            wait_until("it waits", || {
                let row = ns.row(0).expect("segment 0");
                row.mode.len() == 4 && sleeps_in(remover.pid()).contains("poll")
            });
            kill(remover.pid(), Signal::SIGTERM).expect("shmadm");
            let ended = remover.ended();
            assert_eq!((ended.signal, &*ended.err), (Some(15), ""), "{line}: {ended:?}");
            assert!(ended.out.contains(report), "{line}: {ended:?}");
        }
        assert_eq!(holder.end(Signal::SIGTERM), (None, Some(15)));
        assert!(ns.table().is_empty());
    });
}
