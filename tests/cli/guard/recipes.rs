//! Runs the recipes of docs/recipes-ci.md, word for word, on test suites with one leaking case.

use std::fs;
use std::path::Path;

use super::*;
use crate::support::{Need, in_namespace_as_root, needs};

const PAGE: &str = include_str!("../../../docs/recipes-ci.md");
const POOL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/programs/leaky/pool.c");

/// Returns the block in this language, counted from 0, below a heading.
fn recipe(heading: &str, language: &str, index: usize) -> &'static str {
    let (_, section) = PAGE.split_once(&format!("\n## {heading}\n")).expect("the heading");
    let section = section.split("\n## ").next().expect("its end");
    let blocks: Vec<_> = section.split(&format!("```{language}\n")).skip(1).collect();
    blocks[index].split_once("```").expect("its end").0
}

/// Runs a block of shell as a CI step would, with shmadm on the PATH.
fn run(ns: &Namespace, script: &str) -> Ended {
    let bin = Path::new(shmadm_path()).parent().expect("a directory").display().to_string();
    let path = format!("{bin}:{}", std::env::var("PATH").expect("PATH"));
    ended(ns.program("bash").args(["-c", script]).env("PATH", path).env_remove("MAKEFLAGS").stdin(Stdio::null()))
}

/// Builds the program of the cases, `case`. Number 13 leaks.
fn build_case(ns: &Namespace) {
    ns.copy(POOL, "pool.c");
    ns.run("cc", ["-g", "-o", "case", "pool.c"]);
}

/// Expects that the file leaks.xml names the leaking case.
#[track_caller]
fn expect_junit(ns: &Namespace, run: &Ended, words: &[&str]) {
    assert_eq!(run.code, Some(1), "{run:?}");
    let xml = fs::read_to_string(ns.path("leaks.xml")).expect("the test suite");
    for word in [&["failures=\"1\"", "create_pool (", "pool.c:7"], words].concat() {
        assert!(xml.contains(word), "{word}: {xml}");
    }
}

#[test]
fn make_around_the_run_and_for_each_case() {
    in_namespace(|ns| {
        needs(Need::Program("make"));
        build_case(ns);
        ns.file("Makefile", "check: case-1 case-13\ncase-%:\n\t@./case $*\n");
        let whole = run(ns, recipe("make", "sh", 0));
        expect_junit(ns, &whole, &["command: ./case 13"]);

        let makefile = recipe("make", "make", 0).replace("1 2 3", "1 13 3");
        ns.file("Makefile", makefile);
        let each = run(ns, "make -k check");
        assert!(each.code == Some(2) && each.err.contains("case-13] Error 1"), "{each:?}");
        assert_eq!(each.err.matches("Error 1").count(), 1, "{each:?}");
    });
}

#[test]
fn ctest_around_the_run_and_for_each_case() {
    in_namespace(|ns| {
        needs(Need::Program("ctest"));
        build_case(ns);
        ns.file(
            "CMakeLists.txt",
            "cmake_minimum_required(VERSION 3.10)\nproject(pool C)\nenable_testing()\nset(CMAKE_C_FLAGS -g)\n\
             add_executable(case pool.c)\nadd_test(NAME one COMMAND case 1)\nadd_test(NAME leaky COMMAND case 13)\n",
        );
        let script = recipe("ctest", "sh", 1);
        let version = ns.run("cmake", ["--version"]);
        let minor: Option<u32> = version.split(['.', ' ']).nth(3).and_then(|minor| minor.parse().ok());
        let script = match minor {
            Some(..29) => script.to_owned(),
            _ => script.replace("CMAKE_CROSSCOMPILING_EMULATOR", "CMAKE_TEST_LAUNCHER"),
        };
        let each = run(ns, &script);
        assert!(each.out.contains("2 - leaky (Failed)") && each.out.contains("create_pool ("), "{each:?}");
        assert!(each.out.contains("1 tests failed out of 2"), "{each:?}");

        run(ns, "rm -r build; cmake -S . -B build; cmake --build build").ok();
        let whole = run(ns, recipe("ctest", "sh", 0));
        expect_junit(ns, &whole, &["build/case 13", "started by: ctest"]);
    });
}

#[test]
fn pytest_names_the_test() {
    in_namespace(|ns| {
        if ended(ns.program("python3").args(["-c", "import pytest"])).code != Some(0) {
            crate::support::skip("pytest is not installed");
        }
        build_case(ns);
        let cases = "import subprocess\ndef test_one(): subprocess.run(['./case', '1'], check=True)\n\
                     def test_leaky(): subprocess.run(['./case', '13'], check=True)\n";
        ns.file("test_pool.py", cases);
        let whole = run(ns, recipe("pytest", "sh", 0));
        expect_junit(ns, &whole, &["PYTEST_CURRENT_TEST=test_pool.py::test_leaky (call)", "pytest -q"]);
    });
}

#[test]
fn nextest_around_the_run_and_for_each_test() {
    // Another user may have no access to the Rust toolchain of the user who runs the tests.
    in_namespace_as_root(|ns| {
        needs(Need::Program("cargo-nextest"));
        if !cfg!(all(target_arch = "x86_64", target_env = "gnu")) {
            crate::support::skip("the recipe names another machine's variable");
        }
        build_case(ns);
        ns.file("Cargo.toml", "[package]\nname = \"pool\"\nversion = \"0.1.0\"\nedition = \"2021\"\n[workspace]\n");
        ns.run("mkdir", ["src"]);
        let test = |number| {
            format!(
                "#[test] fn case_{number}() {{ assert!(std::process::Command::new(\"./case\").arg(\"{number}\").status().unwrap().success()) }}\n"
            )
        };
        ns.file("src/lib.rs", [test(1), test(13)].concat());
        let whole = run(ns, &recipe("cargo-nextest", "sh", 0).replace("nextest run", "nextest run --offline"));
        expect_junit(ns, &whole, &["NEXTEST_TEST_NAME=case_13"]);
        let each =
            run(ns, &recipe("cargo-nextest", "sh", 1).replace("nextest run", "nextest run --offline --no-fail-fast"));
        assert!(each.err.contains("1 passed, 1 failed") && each.err.contains("create_pool ("), "{each:?}");
    });
}

#[test]
fn bats_around_the_run_and_for_a_case() {
    in_namespace(|ns| {
        needs(Need::Program("bats"));
        build_case(ns);
        ns.file("tests.bats", "@test \"one\" { ./case 1; }\n@test \"leaky\" { ./case 13; }\n");
        let whole = run(ns, recipe("bats", "sh", 0));
        expect_junit(ns, &whole, &["BATS_TEST_NAME=test_leaky"]);
        ns.file("tests.bats", recipe("bats", "bats", 0));
        let each = run(ns, "bats tests.bats");
        assert!(each.code == Some(1) && each.out.contains("not ok 1 the pool is cleaned up"), "{each:?}");
    });
}

#[test]
fn a_shared_namespace_and_the_report() {
    in_namespace(|ns| {
        ns.file("run-tests", "#!/bin/sh\nexec perl -e 'shmget($_, 5000, 01600) // die for 0x70, 0x71'\n");
        ns.run("chmod", ["+x", "run-tests"]);
        let shared = run(ns, recipe("Programs that share memory with a service", "sh", 0));
        assert_eq!((shared.code, ns.table()), (Some(1), vec![]), "{shared:?}");
        if crate::support::is_installed("jq") {
            build_case(ns);
            run(ns, "shmadm guard --report leaks.json -- ./case 13");
            let shown = run(ns, recipe("Read the report", "sh", 0));
            assert_eq!(shown.out, "./case 13: pool.c:7\n", "{shown:?}");
        }
    });
}
