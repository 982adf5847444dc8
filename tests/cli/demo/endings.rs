//! However a lesson ends, and whatever others do meanwhile: nothing is left.

use std::io::{ErrorKind, Write};
use std::process::{Output, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::{Show, lessons};
use crate::support::{Ended, Namespace, Need, Running, ended, in_namespace, needs, shmadm_path, state_of, wait_until};

/// Expects that neither a segment nor a process is left, from the moment on at which the first process has ended.
#[track_caller]
fn nothing_is_left(ns: &Namespace, processes: &[Pid], what: &str) {
    assert_eq!(ns.table(), [], "{what}");
    for process in processes {
        assert_eq!(kill(*process, None), Err(Errno::ESRCH), "{what}: {process}");
    }
}

/// Which steps of a lesson a test takes.
#[derive(Clone, Copy, PartialEq)]
enum Steps {
    All,
    /// The first one, one in the middle, and the last one.
    Three,
}

/// Stops each lesson after its steps, and calls `end` with the lesson, its processes, and what it is called.
fn at_each_step(ns: &Namespace, steps: Steps, mut end: impl FnMut(Show, &[Pid], &str)) {
    for lesson in lessons(ns) {
        let mut step = 1;
        loop {
            let show = Show::at(ns, &lesson, step);
            let (count, processes) = (show.count(), show.pids());
            end(show, &processes, &format!("{lesson}, step {step}"));
            step += if steps == Steps::All { 1 } else { (count - 1) / 2 };
            if step > count {
                break;
            }
        }
    }
}

/// Ends each lesson with this signal.
fn a_signal_leaves_nothing(ns: &Namespace, signal: Signal, steps: Steps) {
    at_each_step(ns, steps, |show, processes, what| {
        kill(show.running.pid(), signal).expect("the process");
        let ended = show.end();
        assert_eq!((ended.signal, &*ended.out, &*ended.err), (Some(signal as i32), "", ""), "{what}");
        nothing_is_left(ns, processes, what);
    });
}

#[test]
fn sigint_leaves_nothing() {
    in_namespace(|ns| a_signal_leaves_nothing(ns, Signal::SIGINT, Steps::Three));
}

#[test]
fn sigterm_leaves_nothing() {
    in_namespace(|ns| a_signal_leaves_nothing(ns, Signal::SIGTERM, Steps::All));
}

#[test]
fn sighup_leaves_nothing() {
    in_namespace(|ns| a_signal_leaves_nothing(ns, Signal::SIGHUP, Steps::Three));
}

#[test]
fn a_signal_leaves_nothing_of_an_ordinary_user() {
    in_namespace(|ns| {
        for lesson in lessons(ns) {
            let mut demo = ns.unprivileged(shmadm_path());
            demo.args(["demo", &lesson, "--pause"]);
            let show = Show::of(demo, 2);
            let processes = show.pids();
            kill(show.running.pid(), Signal::SIGTERM).expect("the process");
            assert_eq!(show.end().signal, Some(Signal::SIGTERM as i32), "{lesson}");
            nothing_is_left(ns, &processes, &lesson);
        }
    });
}

#[test]
fn a_reader_that_leaves_leaves_nothing() {
    in_namespace(|ns| {
        at_each_step(ns, Steps::Three, |mut show, processes, what| {
            drop(show.out.take());
            // A process that another test is just starting can have the reading end, too, until it executes its program.
            let output = format!("/proc/{}/fd/1", show.running.pid());
            wait_until("nobody can read", || {
                let pipe = std::fs::File::options().write(true).open(&output).and_then(|mut pipe| pipe.write_all(b" "));
                pipe.is_err_and(|error| error.kind() == ErrorKind::BrokenPipe)
            });
            show.press();
            let ended = show.end();
            assert_eq!((ended.signal, &*ended.err), (Some(Signal::SIGPIPE as i32), ""), "{what}");
            nothing_is_left(ns, processes, what);
        });
        for lesson in lessons(ns) {
            ns.run("bash", ["-c", &format!("{} demo {lesson} | head -1", shmadm_path())]);
            assert_eq!(ns.table(), [], "{lesson}");
            let full = std::fs::File::options().write(true).open("/dev/full").expect("/dev/full");
            let mut demo = ns.command(["demo", &lesson]);
            let error = Ended::from(demo.stdout(full).stderr(Stdio::piped()).output().expect("shmadm"));
            assert!(error.fails(1).contains("No space left on device"));
            assert_eq!(ns.table(), [], "{lesson}");
        }
    });
}

#[test]
fn the_end_of_the_input_ends_it_with_exit_0() {
    in_namespace(|ns| {
        at_each_step(ns, Steps::Three, |show, processes, what| {
            let ended = show.end();
            assert_eq!(ended.out, "Ended early: the segments and processes of the lesson are gone.\n", "{what}");
            ended.ok();
            nothing_is_left(ns, processes, what);
        });
        let at_once = ns.shmadm(["demo", "--pause"]).ok();
        assert!(at_once.ends_with("gone.\n") && !at_once.contains("1 of 8"), "{at_once}");
    });
}

#[test]
fn a_process_that_is_killed_is_a_failure_that_leaves_nothing() {
    in_namespace(|ns| {
        for first in [true, false] {
            at_each_step(ns, if first { Steps::All } else { Steps::Three }, |show, processes, what| {
                let all = show.processes();
                let mut living = all.iter().filter(|(_, process)| state_of(process.as_raw()) != "Z");
                let killed = if first { living.next() } else { living.next_back() };
                let Some((letter, process)) = killed else { return drop(show.end().ok()) };
                kill(*process, Signal::SIGKILL).expect("the process");
                // The pause ends by itself: what it shows is not true any more.
                let mut show = show;
                let has_ended = || show.running.0.try_wait().expect("its state").is_some();
                wait_until(&format!("it ends, as {letter} was killed: {what}"), has_ended);
                let ended = show.end();
                assert_eq!(ended.code, Some(1), "{what}");
                let error = format!("shmadm: cannot continue: process {letter} has ended unexpectedly");
                assert!(ended.err.contains(&error), "{what}: {ended:?}");
                nothing_is_left(ns, processes, what);
            });
        }
    });
}

#[test]
fn sigkill_leaves_nothing_either() {
    in_namespace(|ns| {
        at_each_step(ns, Steps::Three, |mut show, processes, what| {
            // Where none of its processes lives any more, nobody can clean up.
            let lives = processes.iter().any(|process| state_of(process.as_raw()) != "Z");
            kill(show.running.pid(), Signal::SIGKILL).expect("the process");
            show.running.0.wait().expect("its end");
            // Whoever it was given to may take its time to wait for it: a zombie has ended, too.
            let has_ended = |process: &Pid| {
                let status = std::fs::read_to_string(format!("/proc/{process}/status"));
                status.map_or(true, |status| status.contains("State:\tZ"))
            };
            wait_until(&format!("all have ended: {what}"), || processes.iter().all(has_ended));
            if lives {
                assert_eq!(ns.table(), [], "{what}");
            }
            ns.shmadm(["remove", "--all", "--yes", "--quiet"]).ok();
        });
    });
}

#[test]
fn what_others_do_to_the_segment_meanwhile_is_told() {
    in_namespace(|ns| {
        // Removed between two steps: the next one fails, and says why.
        let mut show = Show::at(ns, "lifecycle", 1);
        let processes = show.pids();
        let id = ns.table()[0].id.clone();
        ns.run("ipcrm", ["-m", &id]);
        show.press();
        let ended = show.end();
        assert_eq!(ended.code, Some(1), "{ended:?}");
        assert!(ended.err.contains("there is no such segment; somebody has removed it"), "{ended:?}");
        nothing_is_left(ns, &processes, "removed by another");

        // Marked by another, so that B does not find it.
        let mut show = Show::at(ns, "lifecycle", 3);
        let processes = show.pids();
        let id = ns.table()[0].id.clone();
        ns.run("ipcrm", ["-m", &id]);
        show.press();
        let ended = show.end();
        assert_eq!(ended.code, Some(1), "{ended:?}");
        assert!(ended.err.contains("cannot continue: process B cannot find segment 0x"), "{ended:?}");
        nothing_is_left(ns, &processes, "marked by another");

        // Attached by a third one: it is counted, and the segment outlives the lesson as a marked one.
        let mut show = Show::at(ns, "lifecycle", 5);
        let processes = show.pids();
        let key = show.row()[0].clone();
        let third = ns.hold(["write", &key, "and me", "--hold"]);
        show.next();
        assert!(show.step.iter().any(|line| line.contains("│ nattch 2 (1 other)")), "{:?}", show.step);
        assert!(show.step.iter().any(|line| line.contains("│ and me ")), "{:?}", show.step);
        show.next();
        show.next();
        assert!(show.step.iter().any(|line| line.contains("but somebody else has it attached")), "{:?}", show.step);
        show.end().ok();
        assert_eq!(ns.table()[0].mode, "1600");
        third.end(Signal::SIGTERM);
        nothing_is_left(ns, &processes, "attached by another");
    });
}

#[test]
fn a_key_that_has_another_segment_by_now_is_not_attached_by_b() {
    in_namespace(|ns| {
        for step in 1..=3 {
            let mut show = Show::at(ns, "lifecycle", step);
            let processes = show.pids();
            let row = ns.table().swap_remove(0);
            ns.run("ipcrm", ["-m", &row.id]);
            ns.run("perl", ["-e", "shmget($ARGV[0], 4096, 01600) // die $!", &row.key]);
            let strangers = || ns.table().into_iter().find(|now| now.key == row.key).expect("the stranger's");
            let before = strangers();
            // What A has attached outlives its mark, until B is to find it by its key.
            while step > 1 && show.acts().iter().all(|act| !act.starts_with("A  in C: strcpy")) {
                show.next();
            }
            show.press();
            let ended = show.end();
            let key = format!("{:#010x}", row.key.parse::<i32>().expect("a key"));
            let why = if step == 1 {
                "there is no such segment; somebody has removed it".to_owned()
            } else {
                format!(
                    "cannot continue: process B cannot attach segment {key} (id {}): somebody has removed it, and its key has \
                     another segment by now (id {}); run the demo again\n",
                    row.id, before.id
                )
            };
            assert!(ended.err.contains(&why), "step {step}: {ended:?}");
            assert_eq!((ended.code, ended.signal), (Some(1), None), "step {step}: {ended:?}");
            // Not even looked into: neither its times nor who used it last have moved.
            assert_eq!(ns.table(), [before], "step {step}");
            ns.run("ipcrm", ["-M", &key]);
            nothing_is_left(ns, &processes, &format!("step {step}"));
        }
    });
}

/// Runs a lesson with injected errors until it ends.
#[track_caller]
fn with_errors(ns: &Namespace, inject: &str, words: &[&str]) -> Ended {
    let output = |name| std::fs::File::create(ns.path(name)).expect("a file");
    let mut strace = ns.program("strace");
    strace.args(["-f", "-qq", "-o", "log", "-e", inject, shmadm_path()]).args(words).stdin(Stdio::null());
    let mut demo = Running(strace.stdout(output("out")).stderr(output("err")).spawn().expect("strace"));
    let read = |name| std::fs::read_to_string(ns.path(name)).expect("a file");
    let deadline = Instant::now() + Duration::from_secs(30);
    while demo.0.try_wait().expect("its state").is_none() {
        if Instant::now() > deadline {
            // strace does not end what it watches; and without the first process the others end.
            let first = read("log").split(' ').next().and_then(|pid| pid.parse().ok()).expect("a pid");
            kill(Pid::from_raw(first), Signal::SIGKILL).expect("the process");
            panic!("{inject}, {words:?} waits for ever: {}", read("out"));
        }
        sleep(Duration::from_millis(10));
    }
    let status = demo.0.wait().expect("its end");
    Ended::from(Output { status, stdout: read("out").into_bytes(), stderr: read("err").into_bytes() })
}

#[test]
fn where_kill_is_denied_it_ends_nevertheless() {
    in_namespace(|ns| {
        needs(Need::Strace);
        for (words, title) in
            [(&["demo"][..], "8 of 8"), (&["demo", "fork"], "7 of 7"), (&["demo", "--pause"], "Ended early")]
        {
            let demo = with_errors(ns, "inject=kill,pidfd_send_signal:error=EPERM", words);
            if words.len() == 1 || words[1] != "--pause" {
                let log = std::fs::read_to_string(ns.path("log")).expect("a log");
                assert!(log.contains("(INJECTED)"), "{words:?}");
            }
            assert!(demo.out.contains(title) && !demo.err.contains("shmadm: "), "{words:?}: {demo:?}");
            assert_eq!(demo.code, Some(0), "{words:?}");
            assert_eq!(ns.table(), [], "{words:?}");
        }
    });
}

#[test]
fn a_process_that_cannot_answer_ends_the_lesson() {
    in_namespace(|ns| {
        needs(Need::Strace);
        // The first answers of the first process; and a descriptor that cannot be copied must not matter to it.
        for number in 1..=4 {
            for inject in [
                format!("inject=write:error=EPERM:when={number}+"),
                format!("inject=write:error=EPERM:when={number}"),
                format!("inject=fcntl:error=EMFILE:when={number}+"),
            ] {
                let demo = with_errors(ns, &inject, &["demo", "race"]);
                assert_eq!(demo.code, Some(1), "{inject}: {demo:?}");
                assert_eq!(ns.table(), [], "{inject}: {demo:?}");
            }
        }
    });
}

#[test]
fn a_detach_that_fails_ends_the_lesson() {
    in_namespace(|ns| {
        needs(Need::Strace);
        for lesson in ["lifecycle", "fork", "race"] {
            let demo = with_errors(ns, "inject=shmdt:error=EPERM:when=1", &["demo", lesson]);
            assert!(demo.fails(1).contains("cannot detach the segment: Operation not permitted"), "{lesson}");
            assert_eq!(ns.table(), [], "{lesson}");
        }
    });
}

#[test]
fn a_removal_that_fails_is_repeated_and_then_told() {
    in_namespace(|ns| {
        needs(Need::Strace);
        // The first call of each process: looking in the first process of the lesson, removing in the one that shows it.
        let demo = with_errors(ns, "inject=shmctl:error=ENOMEM:when=1", &["demo"]);
        assert!(demo.fails(1).contains("cannot look at segment"));
        assert_eq!(ns.table(), []);
        let demo = with_errors(ns, "inject=shmctl:error=EPERM", &["demo"]);
        let [row] = &ns.table()[..] else { panic!("{demo:?}: {:?}", ns.table()) };
        let advice = format!("remove it with `shmadm remove id:{}`", row.id);
        assert!(demo.code == Some(1) && demo.err.contains(&advice), "{demo:?}");
    });
}

#[test]
fn a_command_of_a_lesson_whose_output_is_hard_to_read_leaves_nothing() {
    in_namespace(|ns| {
        needs(Need::Strace);
        for inject in ["ioctl:error=EPERM", "ppoll,poll:error=ENOMEM"] {
            for number in 2..=6 {
                let demo = with_errors(ns, &format!("inject={inject}:when={number}"), &["demo", "leak"]);
                assert_eq!((demo.signal, ns.table()), (None, vec![]), "{inject}, {number}: {demo:?}");
            }
        }
    });
}

#[test]
fn readonly_ends_where_the_action_of_sigsegv_cannot_be_changed() {
    in_namespace(|ns| {
        needs(Need::Strace);
        with_errors(ns, "trace=rt_sigaction", &["demo", "readonly"]).ok();
        let log = std::fs::read_to_string(ns.path("log")).expect("a log");
        let lines: Vec<_> = log.lines().collect();
        let last = lines.iter().rposition(|line| line.contains("rt_sigaction(SIGSEGV, {sa_handler=SIG_DFL"));
        let (earlier, line) = last.map(|last| (&lines[..last], lines[last])).expect("the action is changed");
        let pid = line.split(' ').next().expect("a pid");
        let earlier = earlier.iter().filter(|line| line.starts_with(pid) && line.contains("rt_sigaction(")).count();
        let inject = format!("inject=rt_sigaction:error=EPERM:when={}+", earlier + 1);
        let demo = with_errors(ns, &inject, &["demo", "readonly"]);
        assert_eq!((demo.code, ns.table()), (Some(1), vec![]), "{inject}: {demo:?}");
    });
}

#[test]
fn readonly_leaves_no_core_file() {
    in_namespace(|ns| {
        ns.run("sh", ["-c", "ulimit -c unlimited 2>/dev/null; exec $0 demo readonly", shmadm_path()]);
        let files: Vec<_> = std::fs::read_dir(ns.path(".")).expect("the directory").collect();
        assert!(files.is_empty(), "{files:?}");
        ended(&mut ns.command(["demo", "readonly"])).ok();
    });
}
