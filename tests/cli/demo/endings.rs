//! However it ends, and whatever others do meanwhile: nothing is left.

use std::thread::sleep;
use std::time::{Duration, Instant};

use super::*;
use crate::support::{Need, needs, shmadm_path};

#[test]
fn a_signal_at_any_step_ends_it_and_leaves_nothing() {
    in_namespace(|ns| {
        for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
            for step in 1..STEPS {
                let show = Show::at(ns, step);
                let (first, second) = show.pids();
                assert_eq!(ns.table().len(), 1, "step {step}");
                kill(first, signal).expect("the process");
                let ended = show.end();
                assert_eq!((ended.signal, &*ended.out), (Some(signal as i32), ""), "step {step}: {ended:?}");
                nothing_is_left(ns, second, &format!("{signal} at step {step}"));
            }
        }
    });
}

#[test]
fn a_reader_that_leaves_at_any_step_leaves_nothing() {
    in_namespace(|ns| {
        for step in 1..STEPS {
            let mut show = Show::at(ns, step);
            let (_, second) = show.pids();
            drop(show.out.take());
            // A process that another test is just starting can have the reading end, too, until it executes its program.
            let output = format!("/proc/{}/fd/1", show.running.pid());
            wait_until("nobody can read", || {
                let pipe = std::fs::File::options().write(true).open(&output).and_then(|mut pipe| pipe.write_all(b" "));
                pipe.is_err_and(|error| error.kind() == ErrorKind::BrokenPipe)
            });
            show.enter.as_mut().expect("an input").write_all(b"\n").expect("Enter");
            let ended = show.end();
            assert_eq!(ended.signal, Some(Signal::SIGPIPE as i32), "step {step}: {ended:?}");
            assert!(!ended.err.contains("shmadm: "), "step {step}: {ended:?}");
            nothing_is_left(ns, second, &format!("step {step}"));
        }
        let demo = format!("{} demo", shmadm_path());
        for _ in 0..5 {
            let first = ns.run("bash", ["-c", &format!("{demo} | head -1")]);
            assert!(first.starts_with("System V shared memory"), "{first}");
            assert!(ns.table().is_empty());
        }
        let full = std::fs::File::options().write(true).open("/dev/full").expect("/dev/full");
        let error = Ended::from(ns.command(["demo"]).stdout(full).stderr(Stdio::piped()).output().expect("shmadm"));
        assert!(error.fails(1).contains("No space left on device"));
        assert!(ns.table().is_empty());
    });
}

#[test]
fn the_end_of_the_input_ends_it_with_exit_0() {
    in_namespace(|ns| {
        for step in 1..STEPS {
            let show = Show::at(ns, step);
            let (_, second) = show.pids();
            let ended = show.end();
            assert!(ended.out.ends_with("Ended early: the segment and the second process are gone.\n"), "{ended:?}");
            ended.ok();
            nothing_is_left(ns, second, &format!("step {step}"));
        }
        let at_once = ns.shmadm(["demo", "--pause"]).ok();
        assert!(at_once.ends_with("gone.\n") && !at_once.contains("1 of 8"), "{at_once}");
    });
}

#[test]
fn a_second_process_that_is_killed_is_a_failure_that_leaves_nothing() {
    in_namespace(|ns| {
        for step in 1..STEPS {
            let show = Show::at(ns, step);
            let (_, second) = show.pids();
            kill(second, Signal::SIGKILL).expect("the second process");
            // The pause ends by itself: what it shows is not true any more.
            let mut running = show.running;
            let status = running.0.wait().expect("its end");
            assert_eq!(status.code(), Some(1), "step {step}");
            let mut err = String::new();
            running.0.stderr.take().expect("errors").read_to_string(&mut err).expect("errors");
            assert!(err.contains("shmadm: cannot continue: the second process has ended"), "step {step}: {err}");
            nothing_is_left(ns, second, &format!("step {step}"));
        }
    });
}

#[test]
fn sigkill_leaves_nothing_either() {
    in_namespace(|ns| {
        for step in 1..STEPS {
            let mut show = Show::at(ns, step);
            let (first, second) = show.pids();
            kill(first, Signal::SIGKILL).expect("the process");
            show.running.0.wait().expect("its end");
            // Whoever it was given to may take its time to wait for it: a zombie has ended, too.
            let status = format!("/proc/{second}/status");
            let has_ended = || std::fs::read_to_string(&status).map_or(true, |status| status.contains("State:\tZ"));
            wait_until("the second process has removed the segment and ended", || ns.table().is_empty() && has_ended());
        }
    });
}

#[test]
fn what_others_do_to_the_segment_meanwhile_is_told() {
    in_namespace(|ns| {
        // Removed between two steps: the next one fails, and says why.
        let mut show = Show::at(ns, 1);
        let (_, second) = show.pids();
        let id = ns.table()[0].id.clone();
        ns.run("ipcrm", ["-m", &id]);
        show.enter.as_mut().expect("an input").write_all(b"\n").expect("Enter");
        let ended = show.end();
        assert_eq!(ended.code, Some(1), "{ended:?}");
        assert!(ended.err.contains("there is no such segment; somebody has removed it"), "{ended:?}");
        nothing_is_left(ns, second, "removed by another");

        // Marked by another, so that B does not find it.
        let mut show = Show::at(ns, 3);
        let (_, second) = show.pids();
        let id = ns.table()[0].id.clone();
        ns.run("ipcrm", ["-m", &id]);
        show.enter.as_mut().expect("an input").write_all(b"\n").expect("Enter");
        let ended = show.end();
        assert_eq!(ended.code, Some(1), "{ended:?}");
        assert!(ended.err.contains("cannot continue: the second process cannot attach segment 0x"), "{ended:?}");
        nothing_is_left(ns, second, "marked by another");

        // Attached by a third one: it is counted, and the segment outlives the demonstration as a marked one.
        let mut show = Show::at(ns, 5);
        let (_, second) = show.pids();
        let key = show.row()[0].to_owned();
        let third = ns.hold(["write", &key, "and me", "--hold"]);
        show.next();
        assert!(show.step.iter().any(|line| line.contains("│ nattch 2 (1 other)")), "{:?}", show.step);
        assert!(show.step.iter().any(|line| line.contains("│ and me ")), "{:?}", show.step);
        show.next();
        show.enter.as_mut().expect("an input").write_all(b"\n").expect("Enter");
        let ended = show.end();
        assert!(ended.out.contains("but somebody else has it attached"), "{ended:?}");
        ended.ok();
        assert_eq!(ns.table()[0].mode, "1600");
        third.end(Signal::SIGTERM);
        nothing_is_left(ns, second, "attached by another");
    });
}

#[test]
fn a_key_that_has_another_segment_by_now_is_not_attached_by_b() {
    in_namespace(|ns| {
        for step in 1..=3 {
            let mut show = Show::at(ns, step);
            let (_, second) = show.pids();
            let row = ns.table().swap_remove(0);
            ns.run("ipcrm", ["-m", &row.id]);
            ns.run("perl", ["-e", "shmget($ARGV[0], 4096, 01600) // die $!", &row.key]);
            let strangers = || ns.table().into_iter().find(|now| now.key == row.key).expect("the stranger's");
            let before = strangers();
            // What A has attached outlives its mark, until B is to find it by its key.
            while step > 1 && show.calls().iter().all(|call| !call.starts_with("A  in C: strcpy")) {
                show.next();
            }
            show.enter.as_mut().expect("an input").write_all(b"\n").expect("Enter");
            let ended = show.end();
            let key = format!("{:#010x}", row.key.parse::<i32>().expect("a key"));
            let why = if step == 1 {
                "there is no such segment; somebody has removed it".to_owned()
            } else {
                format!(
                    "cannot continue: the second process cannot attach segment {key} (id {}): somebody has removed it, and its \
                     key has another segment by now (id {}); run the demo again\n",
                    row.id, before.id
                )
            };
            assert!(ended.err.contains(&why), "step {step}: {ended:?}");
            assert_eq!((ended.code, ended.signal), (Some(1), None), "step {step}: {ended:?}");
            // Not even looked into: neither its times nor who used it last have moved.
            assert_eq!(ns.table(), [before], "step {step}");
            ns.run("ipcrm", ["-M", &key]);
            nothing_is_left(ns, second, &format!("step {step}"));
        }
    });
}

#[test]
fn where_kill_is_denied_it_ends_nevertheless() {
    in_namespace(|ns| {
        needs(Need::Strace);
        let strace = |words: &[&str]| {
            let mut strace = ns.program("strace");
            strace.args(["-f", "-qq", "-o", "log", "-e", "inject=kill,pidfd_send_signal:error=EPERM"]);
            strace.args(words).stdin(Stdio::null());
            strace
        };
        for (words, title) in [(&["demo"][..], "8 of 8"), (&["demo", "--pause"], "Ended early")] {
            let mut demo = strace(&[&[shmadm_path()], words].concat());
            let output = |name| std::fs::File::create(ns.path(name)).expect("a file");
            let mut demo = Running(demo.stdout(output("out")).stderr(output("err")).spawn().expect("strace"));
            let read = |name| std::fs::read_to_string(ns.path(name)).expect("a file");
            let deadline = Instant::now() + Duration::from_secs(20);
            while demo.0.try_wait().expect("its state").is_none() {
                if Instant::now() > deadline {
                    // strace does not end what it watches; and without the first process the second one ends.
                    let first = read("log").split(' ').next().and_then(|pid| pid.parse().ok()).expect("a pid");
                    kill(Pid::from_raw(first), Signal::SIGKILL).expect("the process");
                    panic!("{words:?} waits for ever: {}", read("out"));
                }
                sleep(Duration::from_millis(10));
            }
            assert!(read("log").contains("(INJECTED)"), "{words:?}");
            assert!(
                read("out").contains(title) && !read("err").contains("shmadm: "),
                "{words:?}: {} {}",
                read("out"),
                read("err")
            );
            assert_eq!(demo.0.wait().expect("its end").code(), Some(0), "{words:?}");
            assert!(ns.table().is_empty(), "{words:?}");
        }
    });
}
