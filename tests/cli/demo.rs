//! `demo`: what it shows is what the kernel has at that moment.

mod endings;

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::{ChildStdin, ChildStdout, Command, Stdio};

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::{
    Ended, Namespace, Row, Running, ended, in_namespace, in_namespace_as_root, shmadm_path, wait_until,
};

const STEPS: usize = 8;

/// A demonstration that pauses, with the lines of the step that it is at.
struct Show {
    running: Running,
    enter: Option<ChildStdin>,
    out: Option<BufReader<ChildStdout>>,
    step: Vec<String>,
}

impl Show {
    /// Starts it, and waits until it is at this step.
    fn at(ns: &Namespace, step: usize) -> Show {
        Show::of(ns.command(["demo", "--pause"]), step)
    }

    fn of(mut demo: Command, step: usize) -> Show {
        demo.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = demo.spawn().expect("shmadm");
        let (enter, out) = (child.stdin.take(), child.stdout.take().map(BufReader::new));
        let mut show = Show { running: Running(child), enter, out, step: Vec::new() };
        // Once more for the introduction, which shows nothing yet.
        for _ in 0..step {
            show.next();
        }
        show
    }

    /// Presses Enter, and takes in what the next step shows.
    fn next(&mut self) {
        self.enter.as_mut().expect("an input").write_all(b"\n").expect("Enter");
        self.listen();
    }

    /// Reads to the end of the row, which ends a step.
    fn listen(&mut self) {
        self.step.clear();
        let out = self.out.as_mut().expect("an output");
        while !self.step.iter().rev().nth(1).is_some_and(|line| line.starts_with("KEY ")) {
            let mut line = String::new();
            assert!(out.read_line(&mut line).expect("a line") > 0, "it ended within a step: {:?}", self.step);
            self.step.push(line.trim_end().to_owned());
        }
    }

    /// The row of the step.
    fn row(&self) -> Vec<&str> {
        self.step.last().expect("a row").split_whitespace().collect()
    }

    /// The calls of the step: `A shmat(…) = …`.
    fn calls(&self) -> Vec<&str> {
        self.step.iter().filter_map(|line| line.strip_prefix("  ")).collect()
    }

    /// What the picture says in words: pids, key, addresses.
    fn pictured(&self, name: &str) -> Option<String> {
        let picture: Vec<_> = self.step.iter().skip_while(|line| !line.starts_with('┌')).take(8).collect();
        picture.iter().find_map(|line| {
            let (_, rest) = line.split_once(name)?;
            Some(rest.trim_start().split([' ', '│', '─']).next().expect("a word").to_owned())
        })
    }

    fn pids(&self) -> (Pid, Pid) {
        let pid = |name| self.pictured(name).expect("a pid").parse().expect("a pid");
        (Pid::from_raw(pid("process A,")), Pid::from_raw(pid("process B,")))
    }

    /// Sees it end, and returns how, with what it said since the last step.
    fn end(mut self) -> Ended {
        drop(self.enter.take());
        let mut out = String::new();
        if let Some(reader) = &mut self.out {
            reader.read_to_string(&mut out).expect("the rest");
        }
        let mut err = String::new();
        self.running.0.stderr.take().expect("errors").read_to_string(&mut err).expect("errors");
        let status = self.running.0.wait().expect("its end");
        Ended { code: status.code(), signal: status.signal(), bytes: out.clone().into_bytes(), out, err }
    }
}

/// Expects that neither a segment nor the second process is left, from the moment on at which the first one has ended.
#[track_caller]
fn nothing_is_left(ns: &Namespace, second: Pid, what: &str) {
    assert_eq!(ns.table(), [], "{what}");
    assert_eq!(kill(second, None), Err(Errno::ESRCH), "{what}");
}

/// The kernel's lines of a process's attachments: address, access, name.
fn attachments(pid: Pid) -> Vec<(String, String)> {
    let maps = std::fs::read_to_string(format!("/proc/{pid}/maps")).expect("maps");
    let attached = maps.lines().filter(|line| line.contains("/SYSV"));
    attached
        .map(|line| {
            let mut words = line.split_whitespace();
            let start = words.next().and_then(|range| range.split_once('-')).expect("a range").0;
            (format!("0x{}", start.trim_start_matches('0')), words.next().expect("an access").to_owned())
        })
        .collect()
}

#[test]
fn each_step_shows_what_the_kernel_has() {
    in_namespace(|ns| {
        ns.run("perl", ["-e", "shmget(7, 1, 01600) // die $!"]);
        let mut show = Show::at(ns, 1);
        let mine = |table: Vec<Row>| table.into_iter().find(|row| row.key != "7").expect("the row");
        let first = mine(ns.table());
        let key = format!("{:#010x}", first.key.parse::<i32>().expect("a key"));
        let id = &first.id;
        assert_eq!(first.size, "4096");
        let (a, b) = show.pids();
        assert_eq!(a, show.running.pid());

        for (step, nattch, dest, resident) in [
            (1, 0, false, false),
            (2, 1, false, false),
            (3, 1, false, true),
            (4, 2, false, true),
            (5, 2, false, true),
            (6, 1, false, true),
            (7, 1, true, true),
        ] {
            if step > 1 {
                show.next();
            }
            let title = show.step.iter().find(|line| line.starts_with(|c: char| c.is_ascii_digit())).expect("a title");
            assert!(title.starts_with(&format!("{step} of {STEPS}: ")), "{title}");
            // The story: what the kernel has at this step.
            let kernel = mine(ns.table());
            let number = |field: &str| field.parse::<i64>().expect("a number");
            assert_eq!((kernel.id == *id, number(&kernel.nattch)), (true, nattch), "step {step}: {kernel:?}");
            assert_eq!(
                (kernel.mode.len() == 4, number(&kernel.key) == 0, number(&kernel.rss) > 0),
                (dest, dest, resident),
                "{step}: {kernel:?}"
            );
            // The row, and the picture, have it so.
            let shown_key = if dest { "0x00000000" } else { &*key };
            let (nattch, row) = (nattch.to_string(), show.row());
            assert_eq!((row[0], row[1], row[4], row[6]), (shown_key, &**id, "4K", &*nattch), "{step}: {row:?}");
            assert_eq!((row[5] != "0", row[7] == "dest"), (resident, dest), "{step}: {row:?}");
            assert_eq!(show.pictured("│ key").as_deref(), Some(shown_key), "{step}");
            assert_eq!(show.pictured("│ id").as_deref(), Some(&**id), "{step}");
            assert_eq!(show.pictured("│ nattch").as_deref(), Some(&*nattch), "{step}");
            assert_eq!(show.pictured("│ status").as_deref(), Some(if dest { "dest" } else { "" }), "{step}");
            // Who is attached, and where, as their memory maps have it.
            let attached = |name: &str, access: &str| {
                show.pictured(name).map(|address| vec![(address, access.to_owned())]).unwrap_or_default()
            };
            assert_eq!(attached("│ rw", "rw-s"), attachments(a), "{step}");
            assert_eq!(attached("┼─ ro", "r--s"), attachments(b), "{step}");
            if step == 3 {
                let text = ns.run("perl", ["-e", "shmread($ARGV[0], $_, 0, 14) // die $!; print", id]);
                assert_eq!(text, "hello from A\0\0");
            }
        }
        show.enter.as_mut().expect("an input").write_all(b"\n").expect("Enter");
        let ended = show.end();
        assert!(
            ended.out.contains("= -1 EINVAL (Invalid argument)\n") && ended.out.contains("no segment"),
            "{ended:?}"
        );
        ended.ok();
        ns.run("ipcrm", ["-M", "7"]);
        nothing_is_left(ns, b, "the end");
    });
}

#[test]
fn the_calls_are_those_that_the_kernel_saw() {
    in_namespace(|ns| {
        let mut show = Show::at(ns, 1);
        let row = ns.table().swap_remove(0);
        let (key, id) = (format!("{:#010x}", row.key.parse::<i32>().expect("a key")), row.id.clone());
        let (a, b) = show.pids();
        let mut told = Vec::new();
        for step in 1..STEPS {
            if step > 1 {
                show.next();
            }
            let address = |pid| attachments(pid).first().map_or(String::new(), |(address, _)| address.clone());
            let calls = show.calls().into_iter().map(|call| {
                let addresses = [(address(a), "ADDRESS-A"), (address(b), "ADDRESS-B"), (key.clone(), "KEY")];
                addresses
                    .iter()
                    .filter(|(shown, _)| !shown.is_empty())
                    .fold((*call).to_owned(), |call, (shown, name)| call.replace(shown, name))
            });
            told.extend(calls);
        }
        let detach = told.remove(6);
        assert!(detach.starts_with("A  shmdt(0x") && detach.ends_with(") = 0"), "{detach}");
        assert_eq!(
            told,
            [
                &*format!("A  shmget(KEY, 4096, IPC_CREAT|IPC_EXCL|0600) = {id}"),
                &format!("A  shmat({id}, NULL, 0) = ADDRESS-A"),
                "A  in C: strcpy(ADDRESS-A, \"hello from A\")",
                &format!("B  shmget(KEY, 0, 000) = {id}"),
                &format!("B  shmat({id}, NULL, SHM_RDONLY) = ADDRESS-B"),
                "B  in C: puts(ADDRESS-B) prints: hello from A",
                &format!("A  shmctl({id}, IPC_RMID, NULL) = 0"),
                "A  shmget(KEY, 0, 000) = -1 ENOENT (No such file or directory)",
            ]
        );
    });
}

#[test]
fn it_runs_without_a_pause_in_plain_text_of_80_columns() {
    in_namespace(|ns| {
        for demo in [ns.shmadm(["demo"]), ns.shmadm_unprivileged(["demo"])] {
            assert_eq!(demo.err, "", "{demo:?}");
            let out = demo.ok();
            assert!((1..=STEPS).all(|step| out.contains(&format!("\n{step} of {STEPS}: "))), "{out}");
            assert!(!out.contains('\x1b'), "{out}");
            assert!(out.lines().all(|line| line.chars().count() <= 80), "{out}");
            assert!(ns.table().is_empty());
        }
        let colours = ns.shmadm(["demo", "--color", "always"]).ok();
        assert!(colours.contains("\x1b[1m7 of 8"), "{colours}");
    });
}

#[test]
fn a_step_fits_a_terminal_of_24_lines() {
    in_namespace(|ns| {
        let session = format!("{} demo --pause", shmadm_path());
        let mut script = ns.program("script");
        script.args(["-qec", &format!("stty rows 24 cols 80; {session}"), "/dev/null"]).env("TERM", "xterm-256color");
        let on_terminal = crate::support::with_input(&mut script, &b"\n".repeat(STEPS)).ok();
        assert!(on_terminal.contains("\x1b[1m8 of 8"), "{on_terminal}");
        let steps: Vec<_> = on_terminal.split("\x1b[1m").skip(1).filter(|step| step.contains(" of 8: ")).collect();
        assert_eq!(steps.len(), STEPS, "{on_terminal}");
        for step in on_terminal.split("Enter continues") {
            let lines = step.lines().skip_while(|line| !line.contains(" of 8: ")).count();
            assert!(lines <= 24, "{lines} lines: {step}");
        }
        assert!(ns.table().is_empty());
    });
}

#[test]
fn where_the_kernel_destroys_what_nobody_uses_the_story_says_so() {
    in_namespace_as_root(|ns| {
        ns.run("sh", ["-c", "echo 1 >/proc/sys/kernel/shm_rmid_forced"]);
        let forced = ns.shmadm(["demo"]).ok();
        assert!(forced.matches("kernel.shm_rmid_forced is 1").count() == 2 && forced.contains("8 of 8"), "{forced}");
        assert!(ns.table().is_empty());
        ns.run("sh", ["-c", "echo 0 >/proc/sys/kernel/shm_rmid_forced"]);
        assert!(!ns.shmadm(["demo"]).ok().contains("shm_rmid_forced"));
    });
}

#[test]
fn a_limit_that_is_reached_is_named() {
    in_namespace_as_root(|ns| {
        ns.run("sh", ["-c", "echo 0 >/proc/sys/kernel/shmmni"]);
        let error = ns.shmadm(["demo"]);
        assert_eq!(error.code, Some(1), "{error:?}");
        assert!(error.err.contains("SHMMNI allows 0 segments"), "{error:?}");
        assert!(ns.table().is_empty());
    });
}

#[test]
fn trace_has_the_calls_of_both() {
    in_namespace(|ns| {
        let traced = ns.shmadm(["--trace", "demo"]);
        let calls = |name: &str| traced.err.lines().filter(|line| line.contains(name)).count();
        assert_eq!((calls("shmat("), calls("shmdt("), calls("IPC_RMID")), (2, 2, 1), "{traced:?}");
        let seconds: Vec<_> = traced.err.lines().filter(|line| line.starts_with("[pid ")).collect();
        assert!(seconds.iter().any(|call| call.contains("SHM_RDONLY")), "{seconds:?}");
        assert!(traced.err.lines().all(|line| line.starts_with("shm") || line.starts_with("[pid ")), "{traced:?}");
        traced.ok();
    });
}

#[test]
fn a_program_that_is_gone_is_named() {
    in_namespace(|ns| {
        let copy = ns.path("shmadm");
        std::fs::copy(shmadm_path(), &copy).expect("a copy");
        let run =
            "$^F = 255; open my $f, '<', $ARGV[0] or die; unlink $ARGV[0]; exec '/proc/self/fd/' . fileno $f, 'demo'";
        let error = ended(ns.program("perl").args(["-e", run]).arg(&copy)).fails(1);
        assert!(error.contains("cannot start a second process from") && error.contains("(deleted)"), "{error}");
        assert!(ns.table().is_empty());
    });
}

#[test]
fn in_another_namespace_both_processes_are_there() {
    in_namespace(|ns| {
        let sleeps = Running(ns.program("unshare").args(["--ipc", "--", "sleep", "1000"]).spawn().expect("unshare"));
        let pid = sleeps.pid().to_string();
        let link = |pid: &str| std::fs::read_link(format!("/proc/{pid}/ns/ipc")).expect("a namespace");
        let here = link("thread-self");
        wait_until("it has a namespace of its own", || link(&pid) != here);
        let show = Show::of(ns.command(["--ns", &pid, "demo", "--pause"]), 5);
        let (first, second) = show.pids();
        assert_eq!((link(&first.to_string()), link(&second.to_string())), (link(&pid), link(&pid)));
        assert_eq!((show.row()[6], ns.table().len()), ("2", 0));
        let there = format!("--ipc=/proc/{pid}/ns/ipc");
        assert_eq!(ns.run("nsenter", [&*there, "cat", "/proc/sysvipc/shm"]).lines().count(), 2);
        show.end().ok();
        assert_eq!(ns.run("nsenter", [&*there, "cat", "/proc/sysvipc/shm"]).lines().count(), 1);
    });
}
