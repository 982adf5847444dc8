//! Runs the recipes of docs/recipes.md, word for word.

use std::path::Path;

use crate::support::{Ended, Namespace, ended, in_namespace, shmadm_path, wait_until};

const PAGE: &str = include_str!("../../docs/recipes.md");

/// Returns the block of shell below a heading.
fn recipe(heading: &str) -> &'static str {
    let (_, section) = PAGE.split_once(&format!("\n## {heading}\n")).expect("the heading");
    let (_, block) = section.split_once("```sh\n").expect("a block of shell");
    block.split_once("```").expect("its end").0
}

/// Runs a block of shell as a CI step would, with shmadm on the PATH and a test suite that leaks two segments.
fn run(ns: &Namespace, script: &str) -> Ended {
    ns.file("run-tests", "#!/bin/sh\nperl -e 'shmget($_, 5000, 01600) // die for 0x70, 0x71'\n");
    ns.run("chmod", ["+x", "run-tests"]);
    let bin = Path::new(shmadm_path()).parent().expect("a directory").display().to_string();
    let path = format!("{bin}:{}", std::env::var("PATH").expect("PATH"));
    ended(ns.program("bash").args(["-euo", "pipefail", "-c", script]).env("PATH", path))
}

fn keys(ns: &Namespace) -> Vec<String> {
    ns.table().into_iter().map(|row| row.key).collect()
}

#[test]
fn a_ci_step_removes_only_idle_segments() {
    in_namespace(|ns| {
        let script = recipe("Remove what earlier jobs leaked");
        ns.run("perl", ["-e", "shmget($_, 5000, 01600) // die for 1, 2"]);
        run(ns, script).ok();
        assert_eq!(keys(ns), ["1", "2"], "they are not ten minutes old");

        let held = ns.hold(["attach-write", "2", "x", "--hold"]);
        let born: i64 = ns.table()[0].ctime.parse().expect("a ctime");
        wait_until("both are idle for two seconds", || seconds_now() >= born + 3);
        let short = script.replace("10m", "2s");
        assert_ne!(short, script);
        run(ns, &short).ok();
        assert_eq!(keys(ns), ["2"], "what is attached stays");
        drop(held);
    });
}

fn seconds_now() -> i64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("a clock");
    now.as_secs().cast_signed()
}

#[test]
fn before_and_after_removes_exactly_the_new_segments() {
    in_namespace(|ns| {
        ns.run("perl", ["-e", "shmget(1, 5000, 01600) // die"]);
        let printed = run(ns, recipe("Remove exactly what a test run leaked")).ok();
        assert!(printed.contains("0x00000070") && printed.contains("0x00000071"), "{printed}");
        assert_eq!(keys(ns), ["1"]);
    });
}

#[test]
fn a_guarded_test_suite_fails_if_it_leaks() {
    in_namespace(|ns| {
        let guarded = run(ns, recipe("Fail if a test suite leaks"));
        assert_eq!(guarded.code, Some(1), "{guarded:?}");
        assert!(guarded.err.contains("the command left 2 segments behind"), "{guarded:?}");
        let report = std::fs::read_to_string(ns.path("leaks.json")).expect("the report");
        let report: serde_json::Value = serde_json::from_str(&report).expect("JSON");
        assert_eq!(report["leaked"].as_array().expect("an array").len(), 2);
        assert_eq!(ns.table(), []);
    });
}
