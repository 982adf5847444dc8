//! The creator of a leak: process, directory, ancestors, test and stack.

use std::path::Path;

use serde_json::Value;

use super::*;
use crate::support::{Need, needs};

const PROGRAMS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/programs/leaky");

/// Compiles a program of tests/programs/leaky in the test's directory, from a copy of its source there.
fn build(ns: &Namespace, source: &str, compiler: &str) {
    ns.run("cp", [Path::new(PROGRAMS).join(source), ns.path(source)]);
    ns.run("sh", ["-c", compiler]);
}

/// Returns the report of a guarded command that must leave something behind.
#[track_caller]
fn leaky(ns: &Namespace, way: Way, words: &[&str]) -> (Value, String) {
    ns.open_to_all();
    let ended = guard(ns, way, "--report report --remove", words);
    assert_eq!(ended.code, Some(1), "{way:?} {ended:?}");
    (report(ns), ended.err)
}

/// Returns the functions of a stack, innermost first.
fn functions(leak: &Value) -> Vec<&str> {
    let stack = leak["created_by"]["stack"].as_array().expect("a stack");
    stack.iter().map(|frame| frame["function"].as_str().unwrap_or("?")).collect()
}

/// Returns the variants in which a command can be traced. In this user namespace only root can trace with --shared.
fn traced(ns: &Namespace) -> impl Iterator<Item = Way> {
    let has_privilege = ns.is_root;
    ways().filter(move |way| !way.shared || (has_privilege && !way.ordinary))
}

#[test]
fn one_of_twenty_cases_is_named() {
    in_namespace(|ns| {
        needs(Need::Program("make"));
        build(ns, "pool.c", "mkdir cases && cc -g -o cases/case pool.c");
        ns.file(
            "Makefile",
            "all: $(shell seq 1 20 | sed 's/^/case-/')\n\
             case-%:\n\t@cd cases && BATS_TEST_NAME=test_$* CI_STEP=$* ./case $* ; true\n",
        );
        for way in traced(ns) {
            ns.open_to_all();
            let ended = guard(ns, way, "--report report --remove --env CI_STEP", &["make", "-j4", "all"]);
            assert_eq!(ended.code, Some(1), "{way:?} {ended:?}");
            let report = report(ns);
            let leaked = report["leaked"].as_array().expect("segments");
            assert_eq!(leaked.len(), 1, "{way:?} {report}");
            let by = &leaked[0]["created_by"];
            assert_eq!(by["command"], json!(["./case", "13"]), "{way:?} {report}");
            assert_eq!(by["cwd"], ns.path("cases").to_str().expect("a path"), "{way:?}");
            assert_eq!(by["pid"], leaked[0]["cpid"], "{way:?}");
            assert_eq!(by["environment"], json!({"BATS_TEST_NAME": "test_13", "CI_STEP": "13"}), "{way:?}");
            let ancestors = by["ancestors"].as_array().expect("ancestors");
            assert_eq!(ancestors.last().expect("the command")["command"], json!(["make", "-j4", "all"]), "{way:?}");
            assert!(ancestors[0]["command"][2].as_str().is_some_and(|line| line.contains("./case 13")), "{by}");
            let after = by["seconds_after_start"].as_f64().expect("seconds");
            assert!((0.0..600.0).contains(&after), "{after}");
            let frame = &by["stack"][0];
            assert_eq!((&frame["function"], &frame["line"]), (&json!("create_pool"), &json!(7)), "{way:?} {by}");
            assert_eq!((&frame["file"], &by["stack"][1]["function"]), (&json!("pool.c"), &json!("main")), "{way:?}");
            for text in ["./case 13", "make -j4 all", "BATS_TEST_NAME=test_13", "at create_pool (pool.c:7)", "cases"] {
                assert!(ended.err.contains(text), "{way:?} {text}: {}", ended.err);
            }
        }
    });
}

#[test]
fn functions_of_all_kinds_of_programs_are_named() {
    in_namespace(|ns| {
        let way = Way { ordinary: false, shared: false };
        for (source, compiler, words, stack) in [
            ("pool.c", "cc -O0 -g -o p pool.c", "./p 13", "create_pool main"),
            ("pool.c", "cc -O2 -g -fomit-frame-pointer -o p pool.c", "./p 13", "create_pool main"),
            ("pool.c", "cc -O2 -g -fno-omit-frame-pointer -o p pool.c", "./p 13", "create_pool main"),
            ("pool.c", "cc -O0 -g -static -o p pool.c", "./p 13", "create_pool main"),
            ("pool.c", "cc -O0 -g -no-pie -o p pool.c", "./p 13", "create_pool main"),
            ("pool.c", "cc -O0 -o p pool.c", "./p 13", "create_pool main"),
            ("thread.c", "cc -g -pthread -o p thread.c", "./p", "create_in_thread"),
            ("cpp.cpp", "c++ -g -o p cpp.cpp", "./p", "pool::Maker<long>::create(long) main"),
            ("rust.rs", "rustc -g -o p rust.rs", "./p", "rust::pool::create_pool rust::main"),
            ("rust.rs", "rustc -O -g -o p rust.rs", "./p", "rust::pool::create_pool rust::main"),
        ] {
            let name = compiler.split(' ').next().expect("a compiler");
            if !crate::support::is_installed(name) {
                continue;
            }
            build(ns, source, &format!("{compiler} || CARGO_HOME= {compiler}"));
            let (report, err) = leaky(ns, way, &words.split(' ').collect::<Vec<_>>());
            let found = functions(&report["leaked"][0]).join(" ");
            assert!(found.starts_with(stack), "{compiler}: {found}\n{err}");
        }
    });
}

#[test]
fn a_function_of_a_shared_library_is_named_though_its_last_call_is_a_jump() {
    in_namespace(|ns| {
        ns.run("cp", [Path::new(PROGRAMS).join("uses_library.c"), ns.path("uses_library.c")]);
        for optimization in ["-O0", "-O2", "-O2 -fno-plt", "-O2 -fcf-protection=none"] {
            let library = format!("cc {optimization} -g -fPIC -shared -o libpool.so library.c");
            let program = "cc -g -o p uses_library.c -L. -lpool -Wl,-rpath,.";
            build(ns, "library.c", &format!("{library} && {program}"));
            let (report, err) = leaky(ns, Way { ordinary: false, shared: false }, &["./p"]);
            let leak = &report["leaked"][0];
            assert!(functions(leak).starts_with(&["create_in_library", "main"]), "{optimization}: {err}");
            let frame = &leak["created_by"]["stack"][0];
            assert_eq!((&frame["file"], &frame["line"]), (&json!("library.c"), &json!(4)), "{optimization}");
            assert!(frame["module"].as_str().is_some_and(|module| module.ends_with("/libpool.so")), "{frame}");
        }
    });
}

#[test]
fn a_stripped_program_shows_module_and_offset() {
    in_namespace(|ns| {
        build(ns, "pool.c", "cc -s -o p pool.c");
        let (report, err) = leaky(ns, Way { ordinary: true, shared: false }, &["./p", "13"]);
        let frame = &report["leaked"][0]["created_by"]["stack"][0];
        let module = ns.path("p");
        let module = module.to_str().expect("a path");
        assert_eq!((&frame["function"], &frame["module"]), (&Value::Null, &json!(module)), "{err}");
        let offset = frame["offset"].as_str().expect("an offset");
        assert!(offset.starts_with("0x") && err.contains(&format!("at {module}+{offset}")), "{err}");
    });
}

#[test]
fn vfork_posix_spawn_and_exec_are_distinguished() {
    in_namespace(|ns| {
        build(ns, "pool.c", "cc -g -o pool pool.c");
        build(ns, "spawns.c", "cc -g -o spawns spawns.c");
        let (report, err) = leaky(ns, Way { ordinary: false, shared: false }, &["./spawns"]);
        let leaked = report["leaked"].as_array().expect("segments");
        let commands: Vec<_> = leaked.iter().map(|leak| &leak["created_by"]["command"]).collect();
        assert_eq!(commands, [&json!(["./spawns"]), &json!(["./pool", "13"]), &json!(["./pool", "13"])], "{err}");
        assert_eq!(leaked[0]["created_by"]["stack"][0]["function"], "main", "{err}");
        // The last creator is the command itself, which executed another program.
        assert_eq!(leaked[2]["created_by"]["ancestors"], json!([]), "{err}");
    });
}

#[test]
fn a_python_program_is_named_by_its_command_and_its_test() {
    in_namespace(|ns| {
        needs(Need::Program("python3"));
        ns.file(
            "leak.py",
            "import ctypes, os\n\
             os.environ['PYTEST_CURRENT_TEST'] = 'test_a.py::test_b (call)'\n\
             assert ctypes.CDLL(None).shmget(0, 4096, 0o1600) >= 0\n",
        );
        let (report, err) = leaky(ns, Way { ordinary: false, shared: false }, &["python3", "leak.py"]);
        let by = &report["leaked"][0]["created_by"];
        // A wrapper may have executed the interpreter by its path.
        let command = by["command"].as_array().expect("words");
        assert!(command[0].as_str().is_some_and(|word| word.contains("python3")), "{err}");
        assert_eq!(command[1..], [json!("leak.py")], "{err}");
        // The program has set the variable itself, so it is not in /proc/PID/environ.
        assert_eq!(by["environment"]["PYTEST_CURRENT_TEST"], "test_a.py::test_b (call)", "{err}");
    });
}

#[test]
fn a_hundred_processes_that_create_at_once_are_all_named() {
    in_namespace(|ns| {
        build(ns, "crowd.c", "cc -g -o crowd crowd.c");
        for way in traced(ns) {
            ns.open_to_all();
            let ended = guard(ns, way, "--report report --remove", &["./crowd"]);
            assert_eq!(ended.code, Some(1), "{way:?} {ended:?}");
            let report = report(ns);
            let mut odd: Vec<i64> = ended.out.lines().map(|pid| pid.parse().expect("a pid")).collect();
            odd.sort_unstable();
            assert_eq!(odd.len(), 50);
            for kind in ["leaked", "semaphores", "queues"] {
                let objects = report[kind].as_array().expect("objects");
                assert!(objects.iter().all(|object| functions(object)[0] == "create_odd"), "{way:?} {kind}");
                let mut pids: Vec<_> =
                    objects.iter().filter_map(|object| object["created_by"]["pid"].as_i64()).collect();
                pids.sort_unstable();
                assert_eq!(pids, odd, "{way:?} {kind} {}", ended.err);
            }
            for segment in report["leaked"].as_array().expect("segments") {
                assert_eq!(segment["created_by"]["pid"], segment["cpid"], "{way:?}");
            }
            assert_eq!(report["removed"], true, "{way:?}");
        }
    });
}

#[test]
fn a_leak_of_a_process_that_ended_long_ago_is_named() {
    in_namespace(|ns| {
        build(ns, "pool.c", "cc -g -o pool pool.c");
        build(ns, "many.c", "cc -g -o many many.c");
        let words = ["sh", "-c", "./pool 13; ./many 3000; ./many 3000"];
        let (report, err) = leaky(ns, Way { ordinary: false, shared: false }, &words);
        let leaked = report["leaked"].as_array().expect("segments");
        assert_eq!((leaked.len(), &leaked[0]["created_by"]["command"]), (1, &json!(["./pool", "13"])), "{err}");
        assert_eq!(functions(&leaked[0])[0], "create_pool");
    });
}
