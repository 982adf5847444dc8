//! `demo`: what each lesson shows is what the kernel has at that moment, and nothing is left of it.
//!
//! The tests take the lessons from `demo --list`, so that a new lesson is tested too.

mod calls;
mod endings;
mod lifecycle;
mod race;
mod show;

use crate::support::{
    Namespace, Running, ended, in_namespace, in_namespace_as_root, on_terminal, shmadm_path, wait_until,
};

use show::Show;

/// The names of the lessons.
fn lessons(ns: &Namespace) -> Vec<String> {
    let list = ns.shmadm(["demo", "--list"]).ok();
    let names: Vec<_> = list.lines().map(|line| line.split(' ').next().expect("a name").to_owned()).collect();
    assert!(names.len() >= 9 && names[0] == "lifecycle", "{list}");
    assert!(list.lines().all(|line| line.len() <= 80), "{list}");
    names
}

#[test]
fn each_lesson_is_plain_text_of_80_columns_and_ends_with_advice() {
    in_namespace(|ns| {
        for lesson in lessons(ns) {
            for demo in [ns.shmadm(["demo", &lesson]), ns.shmadm_unprivileged(["demo", &lesson])] {
                assert_eq!(demo.err, "", "{lesson}");
                let out = demo.ok();
                assert!(out.is_ascii() && !out.contains('\x1b'), "{lesson}: {out}");
                let long: Vec<_> = out.lines().filter(|line| line.len() > 80).collect();
                assert_eq!(long, [""; 0], "{lesson}");
                let (_, advice) = out.split_once("\nWhat to do about it\n\n").expect("advice");
                assert!(advice.contains("\n\nLook up: "), "{lesson}: {advice}");
                assert_eq!(ns.table(), [], "{lesson}");
            }
            let unicode = ended(ns.command(["demo", &lesson]).env("LC_ALL", "C.UTF-8")).ok();
            assert!(unicode.contains("┌ process A, "), "{unicode}");
            assert!(unicode.lines().all(|line| line.chars().count() <= 80), "{unicode}");
        }
        let default = ns.shmadm(["demo"]).ok();
        assert!(default.contains("8 of 8: B detaches it, and it is gone"), "{default}");
        let colours = ns.shmadm(["demo", "--color", "always"]).ok();
        assert!(colours.contains("\x1b[1m7 of 8"), "{colours}");
    });
}

#[test]
fn each_step_fits_a_terminal_of_24_lines() {
    in_namespace(|ns| {
        for lesson in lessons(ns) {
            // Enter for more steps than there are.
            let enter = "yes '' | head -12";
            let line = format!("{enter} | LC_ALL=C.UTF-8 $SHMADM demo {lesson} --pause");
            let shown = on_terminal(ns, "rows 24 cols 80", &line);
            let screens: Vec<_> = shown.split("Enter continues, Ctrl-D ends: ").collect();
            for screen in &screens {
                let lines = screen.trim_start_matches('\n').lines().count();
                // The question stands on the last line.
                assert!(lines <= 24, "{lesson}: {lines} lines: {screen}");
            }
            let steps = screens.iter().filter(|screen| show::title(screen).is_some()).count();
            let (number, count) = show::title(screens[screens.len() - 2]).expect("the last step");
            assert_eq!((steps, number), (count, count), "{lesson}");
            assert!((3..=10).contains(&count), "{lesson} has {count} steps");
            assert_eq!(ns.table(), [], "{lesson}");
        }
    });
}

#[test]
fn a_lesson_that_does_not_exist_is_bad_usage() {
    in_namespace(|ns| {
        let error = ns.shmadm(["demo", "forks"]).usage_error();
        assert!(lessons(ns).iter().all(|lesson| error.contains(lesson.as_str())), "{error}");
        for words in [&["demo", "--list", "race"][..], &["demo", "--list", "--pause"]] {
            ns.shmadm(words).usage_error();
        }
        assert_eq!(ns.table(), []);
    });
}

#[test]
fn completion_offers_the_lessons() {
    in_namespace(|ns| {
        let offered = ns.shmadm(["completions", "zsh", "--words-before", "2", "--", "shmadm", "demo", ""]).ok();
        let names: Vec<_> = offered.lines().map(|line| line.split('\t').next().expect("a word").to_owned()).collect();
        assert_eq!(names, lessons(ns), "{offered}");
        assert!(offered.contains("race\ttwo writers lose updates"), "{offered}");
    });
}

#[test]
fn the_pause_says_how_to_look_from_another_terminal() {
    in_namespace(|ns| {
        let show = Show::at(ns, "lifecycle", 1);
        let pid = show.running.pid();
        let look = format!("`shmadm --ns {pid} list`");
        assert!(show.opening.contains(&look), "{}", show.opening);
        // It works, from a process that is not in this namespace.
        if ns.is_root {
            let mut outside = ns.program("unshare");
            outside.args(["--ipc", "--", shmadm_path(), "--ns", &pid.to_string(), "list"]);
            let list = ended(&mut outside).ok();
            assert!(list.contains(&show.row()[0]), "{list}");
        }
    });
}

#[test]
fn where_the_kernel_destroys_what_nobody_uses_lessons_say_so() {
    in_namespace_as_root(|ns| {
        ns.run("sh", ["-c", "echo 1 >/proc/sys/kernel/shm_rmid_forced"]);
        let forced = ns.shmadm(["demo"]).ok();
        assert!(forced.matches("kernel.shm_rmid_forced is 1").count() == 2 && forced.contains("8 of 8"), "{forced}");
        for lesson in lessons(ns) {
            let demo = ns.shmadm(["demo", &lesson]);
            if demo.code != Some(0) {
                assert!(demo.fails(1).contains("kernel.shm_rmid_forced is 1"), "{lesson}");
            }
            assert_eq!(ns.table(), [], "{lesson}");
        }
        ns.run("sh", ["-c", "echo 0 >/proc/sys/kernel/shm_rmid_forced"]);
        assert!(!ns.shmadm(["demo"]).ok().contains("shm_rmid_forced"));
    });
}

#[test]
fn a_limit_that_is_reached_is_named() {
    in_namespace_as_root(|ns| {
        ns.run("sh", ["-c", "echo 0 >/proc/sys/kernel/shmmni"]);
        for lesson in lessons(ns) {
            let error = ns.shmadm(["demo", &lesson]);
            assert_eq!(error.code, Some(1), "{error:?}");
            assert!(error.err.contains("SHMMNI allows 0 segments"), "{error:?}");
        }
    });
}

#[test]
fn a_program_that_is_gone_is_named() {
    in_namespace(|ns| {
        let copy = ns.copy(shmadm_path(), "shmadm");
        let run =
            "$^F = 255; open my $f, '<', $ARGV[0] or die; unlink $ARGV[0]; exec '/proc/self/fd/' . fileno $f, 'demo'";
        let error = ended(ns.program("perl").args(["-e", run]).arg(&copy)).fails(1);
        assert!(error.contains("cannot start a process from") && error.contains("(deleted)"), "{error}");
        assert!(ns.table().is_empty());
    });
}

#[test]
fn in_another_namespace_all_processes_are_there() {
    in_namespace(|ns| {
        let sleeps = Running(ns.program("unshare").args(["--ipc", "--", "sleep", "1000"]).spawn().expect("unshare"));
        let pid = sleeps.pid().to_string();
        let link = |pid: &str| std::fs::read_link(format!("/proc/{pid}/ns/ipc")).expect("a namespace");
        let here = link("thread-self");
        wait_until("it has a namespace of its own", || link(&pid) != here);
        let show = Show::of(ns.command(["--ns", &pid, "demo", "--pause"]), 5);
        for process in show.pids() {
            assert_eq!(link(&process.to_string()), link(&pid));
        }
        assert_eq!((&*show.row()[6], ns.table().len()), ("2", 0));
        let there = format!("--ipc=/proc/{pid}/ns/ipc");
        assert_eq!(ns.run("nsenter", [&*there, "cat", "/proc/sysvipc/shm"]).lines().count(), 2);
        show.end().ok();
        assert_eq!(ns.run("nsenter", [&*there, "cat", "/proc/sysvipc/shm"]).lines().count(), 1);
    });
}
