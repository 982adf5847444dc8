//! `guard` finds the segments that a command leaves behind, in both kinds of namespace, and does not disturb the
//! command.

mod bystanders;
mod creators;
mod forbidden;
mod hostile;
mod kinds;
mod recipes;
mod signals;
mod unreadable;

use std::process::{Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

use crate::support::{
    Ended, Namespace, Row, Running, ended, in_namespace, in_namespace_as_root, shmadm_path, wait_until, with_input,
};

/// A perl program that leaves a segment behind.
const LEAK: &str = "defined shmget(42, 5000, 01600) or die $!;";

/// A perl program with a grandchild in its own session. The grandchild leaves a segment behind before the command ends,
/// and continues to run. Once there is a file `look` it copies the table of its namespace to `seen`.
const DAEMON: &str = "use POSIX 'setsid';
    pipe my $told, my $tell or die $!;
    if (!fork) {
        setsid; fork and exit; defined shmget(42, 5000, 01600) or die $!;
        open STDOUT, '>/dev/null'; open STDERR, '>/dev/null'; syswrite $tell, 'x'; close $tell;
        for (1 .. 200) { last if -e 'look'; select undef, undef, undef, .05 }
        open my $table, '<', '/proc/sysvipc/shm' or die $!; open my $copy, '>', 'copy' or die $!;
        print {$copy} <$table>; close $copy; rename 'copy', 'seen'; exit;
    }
    close $tell; sysread($told, my $byte, 1) == 1 or die 'no grandchild'; wait;";

/// A perl program that leaves two segments behind. A child, whose pid is in the file `holder`, has one of them
/// attached.
const HOLDER: &str = "use IPC::SysV 'shmat';
    my @ids = map { shmget($_, 5000, 01600) // die $! } 42, 43;
    pipe my $told, my $tell or die $!; my $child = fork;
    if (!$child) {
        open STDOUT, '>/dev/null'; open STDERR, '>/dev/null'; defined shmat($ids[0], undef, 0) or die $!;
        syswrite $tell, 'x'; sleep 60; exit;
    }
    close $tell; sysread($told, my $byte, 1) == 1 or die 'no holder';
    open my $file, '>', 'holder' or die $!; print $file $child;";

/// Who runs the command, and in which namespace.
#[derive(Debug, Clone, Copy)]
struct Way {
    ordinary: bool,
    shared: bool,
}

fn ways() -> impl Iterator<Item = Way> {
    [false, true].into_iter().flat_map(|ordinary| [false, true].map(|shared| Way { ordinary, shared }))
}

/// Returns a program that runs as uid and gid 1234, without any privilege. If the test itself is in a user namespace, it
/// runs in another one: root without privilege cannot create a user namespace (CAP_SETFCAP, user_namespaces(7)).
fn ordinary(ns: &Namespace, program: &str) -> Command {
    if ns.is_root {
        return ns.unprivileged(program);
    }
    let mut command = ns.program("unshare");
    command.args(["--user", "--map-user=1234", "--map-group=1234", "--", "setpriv"]);
    command.args(["--bounding-set", "-all", "--inh-caps", "-all", "--no-new-privs", "--", program]);
    command
}

/// Returns `guard` with these options, this command and an empty standard input.
fn command(ns: &Namespace, way: Way, options: &str, command: &[&str]) -> Command {
    let shmadm = shmadm_path();
    let mut guard = if way.ordinary { ordinary(ns, shmadm) } else { ns.program(shmadm) };
    guard.arg("guard").args(way.shared.then_some("--shared")).args(options.split_whitespace()).arg("--").args(command);
    guard.stdin(Stdio::null());
    guard
}

fn guard(ns: &Namespace, way: Way, options: &str, words: &[&str]) -> Ended {
    ended(&mut command(ns, way, options, words))
}

/// Creates a segment of root and one of the ordinary user before the command runs. Returns the table.
fn create_others(ns: &Namespace) -> Vec<Row> {
    let make = "defined shmget($ARGV[0], 1, 01600) or die $!";
    for (mut perl, key) in [(ns.program("perl"), "7"), (ordinary(ns, "perl"), "8")] {
        assert_eq!(ended(perl.args(["-e", make, key])).code, Some(0));
    }
    ns.open_to_all();
    ns.table()
}

/// Expects this status, and exactly the leak on a line with key, identifier and size. In a shared namespace the leak
/// must exist, and is removed here; in a private one nothing may be left. Returns its identifier.
#[track_caller]
fn leaks(ns: &Namespace, way: Way, ended: &Ended, status: i32, before: &[Row]) -> i32 {
    assert_eq!((ended.code, &*ended.out), (Some(status), ""), "{way:?} {ended:?}");
    let table = ns.table();
    let leak = table.iter().find(|row| row.key == "42");
    assert_eq!((leak.is_some(), table.len()), (way.shared, before.len() + usize::from(way.shared)), "{way:?}");
    let id = leak.map_or("0", |row| row.id.as_str());
    let words = ["0x0000002a", &format!("id {id},"), "5000"];
    assert!(ended.err.starts_with("shmadm: "), "{ended:?}");
    assert!(ended.err.lines().any(|line| words.iter().all(|word| line.contains(word))), "{way:?} {ended:?}");
    assert!(!ended.err.contains("0x00000007") && !ended.err.contains("0x00000008"), "{way:?} {ended:?}");
    if way.shared {
        ns.run("ipcrm", ["-M", "42"]);
    }
    assert_eq!(ns.table(), before, "{way:?}");
    id.parse().expect("an identifier")
}

/// Reads the report that was written last, and removes it.
fn report(ns: &Namespace) -> Value {
    serde_json::from_str(&ns.run("sh", ["-c", "cat report && rm report"])).expect("JSON")
}

#[test]
fn a_clean_command_is_silent() {
    in_namespace(|ns| {
        let before = create_others(ns);
        let tidy = "my $id = shmget(42, 1, 01600) // die $!; shmctl($id, 0, 0) or die $!;";
        for way in ways() {
            for (end, status) in [("", 0), ("exit 7", 7), ("kill 9, $$", 137), ("kill 'TERM', $$", 143)] {
                let clean = guard(ns, way, "--exit-code 9 --remove", &["perl", "-e", &[tidy, end].concat()]);
                assert_eq!((clean.code, &*clean.out, &*clean.err), (Some(status), "", ""), "{way:?} {end}");
                assert_eq!(ns.table(), before, "{way:?}");
            }
        }
    });
}

#[test]
fn a_leak_is_named_and_sets_the_status_if_the_command_succeeded() {
    in_namespace(|ns| {
        let before = create_others(ns);
        for way in ways() {
            for (options, end, status) in [
                ("", "", 1),
                ("--exit-code 9", "", 9),
                ("--exit-code=0", "", 0),
                ("--exit-code 9", "exit 7", 7),
                ("", "kill 9, $$", 137),
            ] {
                let leaky = guard(ns, way, options, &["perl", "-e", &[LEAK, end].concat()]);
                leaks(ns, way, &leaky, status, &before);
            }
        }
    });
}

#[test]
fn a_command_that_cannot_be_run_is_127_or_126() {
    in_namespace(|ns| {
        ns.file("plain", "#!/bin/sh\n");
        let before = create_others(ns);
        for way in ways() {
            for (word, status) in [("no-such-program", 127), ("./missing", 127), ("./plain", 126), ("/", 126)] {
                // An unreadable directory in PATH would change the error for a missing program.
                let mut command = command(ns, way, "--exit-code 9", &[word]);
                let error = ended(command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")).fails(status);
                assert!(error.contains(word), "{way:?}: {error}");
            }
        }
        assert_eq!(ns.table(), before);
    });
}

#[test]
fn the_streams_of_the_command_pass_byte_for_byte() {
    in_namespace(|ns| {
        let bytes: Vec<u8> = (0..1_000_001_u32).map(|n| (n % 251) as u8).collect();
        create_others(ns);
        for way in ways() {
            let copied = with_input(&mut command(ns, way, "", &["cat"]), &bytes);
            assert!(copied.code == Some(0) && copied.bytes == bytes && copied.err.is_empty(), "{way:?}");
            let spoke = guard(ns, way, "", &["sh", "-c", "echo word >&2; printf '%s|' \"$@\"", "sh", "--", "-x", ""]);
            assert_eq!((&*spoke.out, &*spoke.err), ("--|-x||", "word\n"), "{way:?}");
        }
    });
}

#[test]
fn a_daemons_leak_is_found_and_removed_from_the_kernels_table() {
    in_namespace(|ns| {
        let before = create_others(ns);
        for way in ways() {
            for options in ["", "--remove"] {
                let leaky = guard(ns, way, options, &["perl", "-e", DAEMON]);
                ns.file("look", "");
                wait_until("the daemon has copied the table", || ns.path("seen").exists());
                let seen = ns.run("sh", ["-c", "cat seen && rm look seen"]);
                let seen: Vec<_> = seen.lines().skip(1).filter_map(|line| line.split_whitespace().next()).collect();
                let left = ["42"].into_iter().filter(|_| options.is_empty());
                let expected: Vec<_> = ["7", "8"].into_iter().filter(|_| way.shared).chain(left).collect();
                assert_eq!(seen, expected, "{way:?} {options}");
                if options.is_empty() {
                    leaks(ns, way, &leaky, 1, &before);
                } else {
                    assert!(leaky.code == Some(1) && leaky.err.contains("0x0000002a"), "{way:?} {leaky:?}");
                    assert_eq!(ns.table(), before, "{way:?}");
                }
            }
        }
    });
}

#[test]
fn a_private_namespace_shows_nothing_of_the_other() {
    in_namespace(|ns| {
        let before = create_others(ns);
        for way in ways() {
            let table = guard(ns, way, "", &["cat", "/proc/sysvipc/shm"]).ok();
            let ipcs = guard(ns, way, "", &["ipcs", "-m"]).ok();
            assert_eq!(table.lines().count(), if way.shared { 3 } else { 1 }, "{way:?}: {table}");
            assert_eq!(ipcs.contains("0x00000007"), way.shared, "{way:?}: {ipcs}");
            // These keys are free in the private namespace, and their segments here stay unchanged.
            let same = "defined shmget($_, 1, 03600) or die $! for 7, 8";
            assert_eq!(guard(ns, way, "--exit-code 9", &["perl", "-e", same]).code == Some(9), !way.shared);
            assert_eq!(ns.table(), before, "{way:?}");
        }
    });
}

#[test]
fn shared_removal_keeps_attached_segments() {
    in_namespace(|ns| {
        let before = create_others(ns);
        for way in ways().filter(|way| way.shared) {
            let leaky = guard(ns, way, "--remove --report report", &["perl", "-e", HOLDER]);
            let attached = || ns.table().iter().any(|row| row.key == "42" && row.nattch != "0");
            assert!(attached(), "{leaky:?}");
            let Value::Object(report) = report(ns) else { panic!("no object") };
            assert_eq!((&report["removed"], report["leaked"].as_array().map(Vec::len)), (&json!(false), Some(2)));
            assert!(leaky.err.contains("0x0000002b") && leaky.err.contains("attached"), "{leaky:?}");
            let holder = ns.run("sh", ["-c", "cat holder && rm holder"]).parse().expect("a pid");
            kill(Pid::from_raw(holder), Signal::SIGKILL).expect("the holder");
            wait_until("the holder is gone", || !attached());
            leaks(ns, way, &leaky, 1, &before);
        }
    });
}

#[test]
fn a_new_segment_of_another_user_is_no_leak() {
    in_namespace_as_root(|ns| {
        ns.open_to_all();
        let look = "exit if -e 'go'; select undef, undef, undef, .05";
        let wait = format!("open my $f, '>', 'ready' or die $!; for (1 .. 200) {{ {look} }} exit 5");
        let way = Way { ordinary: true, shared: true };
        let mut guard = command(ns, way, "--remove", &["perl", "-e", &wait]);
        let guard = guard.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("shmadm");
        wait_until("the command runs", || ns.path("ready").exists());
        ns.run("perl", ["-e", LEAK]);
        ns.file("go", "");
        let clean = Ended::from(guard.wait_with_output().expect("its exit status"));
        assert_eq!((clean.code, &*clean.err), (Some(0), ""));
        assert_eq!(ns.table().len(), 1);
    });
}

#[test]
fn the_report_is_json_without_a_leak_too() {
    in_namespace(|ns| {
        let before = create_others(ns);
        for way in ways() {
            for (perl, status) in [("exit 0", 0), ("exit 3", 3)] {
                assert_eq!(guard(ns, way, "--report report", &["perl", "-e", perl]).code, Some(status), "{way:?}");
                let none = json!({"leaked": [], "semaphores": [], "queues": [], "removed": false, "status": status,
                    "command_status": status});
                assert_eq!(report(ns), none);
            }
            let leaky = guard(ns, way, "--report report", &["perl", "-e", LEAK]);
            let id = leaks(ns, way, &leaky, 1, &before);
            let left = report(ns);
            assert_eq!(left["leaked"][0]["id"], id);
            let leaky = guard(ns, way, "--report report --remove --exit-code 9", &["perl", "-e", LEAK]);
            assert_eq!((leaky.code, &ns.table()), (Some(9), &before), "{way:?}");
            for (report, removed, status) in [(left, false, 1), (report(ns), true, 9)] {
                let leak = &report["leaked"][0];
                assert_eq!((&leak["key"], &leak["size"]), (&json!("0x0000002a"), &json!(5000)));
                let whole = json!({"leaked": [leak], "semaphores": [], "queues": [], "removed": removed, "status": status,
                    "command_status": 0});
                assert_eq!(report, whole);
            }
        }
    });
}

#[test]
fn the_command_starts_as_it_would_without_guard() {
    in_namespace(|ns| {
        create_others(ns);
        let shown = ["grep", "-E", "^(Sig(Blk|Ign)|Uid|Gid|CapEff)", "/proc/self/status"];
        for way in ways() {
            let mut plain = if way.ordinary { ordinary(ns, shown[0]) } else { ns.program(shown[0]) };
            let plain = ended(plain.args(&shown[1..])).ok();
            assert_eq!(guard(ns, way, "", &shown).ok(), plain, "{way:?}");
            assert_eq!(plain.contains("Uid:\t1234\t1234\t1234\t1234\n"), way.ordinary, "{plain}");
            assert!(plain.contains("SigBlk:\t0000000000000000\n"), "{plain}");
            let ignored = plain.lines().find_map(|line| line.strip_prefix("SigIgn:\t")).expect("the line");
            assert_eq!(u64::from_str_radix(ignored, 16).expect("a mask") & (1 << 12), 0, "SIGPIPE is ignored");
        }
    });
}

#[test]
fn a_script_in_path_is_not_taken_from_the_current_directory() {
    in_namespace(|ns| {
        for (file, text) in [("bin/mytest", "echo $0 $*\n"), ("mytest", "echo the one here\n")] {
            std::fs::create_dir_all(ns.path("bin")).expect("a directory");
            ns.file(file, text);
            ns.run("chmod", ["+x", file]);
        }
        let bin = ns.path("bin");
        let path = format!("{}:{}", bin.display(), std::env::var("PATH").expect("PATH"));
        for program in ["env", shmadm_path()] {
            let mut command = ns.program(program);
            command.args(if program == "env" { &[][..] } else { &["guard", "--"] }).args(["mytest", "a b"]);
            let out = ended(command.env("PATH", &path)).ok();
            assert_eq!(out, format!("{}/mytest a b\n", bin.display()), "{program}");
        }
    });
}

#[test]
fn a_script_without_an_interpreter_is_run_by_the_shell() {
    in_namespace(|ns| {
        ns.file("script", "exit 5\n");
        ns.run("chmod", ["+x", "script"]);
        assert_eq!(ns.shmadm(["guard", "--", "./script"]).code, Some(5));
    });
}

#[test]
fn a_command_that_is_not_run_leaves_no_old_report() {
    in_namespace(|ns| {
        let report = ns.file("report", "old");
        let words = ["guard", "--report", "report", "--", "./none"];
        assert_eq!(ns.shmadm(words).code, Some(127));
        let report = std::fs::read_to_string(report).expect("the report");
        assert_eq!(
            report,
            "{\"leaked\":[],\"semaphores\":[],\"queues\":[],\"removed\":false,\"status\":127,\"command_status\":null}\n"
        );
    });
}

#[test]
fn an_unwritable_report_is_an_error_before_the_command_runs() {
    in_namespace(|ns| {
        ns.run("mkdir", ["directory", "closed"]);
        ns.run("ln", ["-s", "nowhere", "link"]);
        ns.run("mkfifo", ["fifo"]);
        ns.file("plain", "");
        ns.open_to_all();
        ns.run("chmod", ["a-w", "closed", "fifo"]);
        for way in ways() {
            let denied: &[_] = if way.ordinary { &["closed/report", "fifo"] } else { &[] };
            for path in [&["missing/report", "directory", "directory/", "link", "plain/report"], denied].concat() {
                let error = guard(ns, way, &format!("--report {path}"), &["touch", "ran"]).fails(1);
                assert!(error.starts_with(&format!("shmadm: cannot write {path}: ")), "{way:?} {path}: {error}");
                assert!(!ns.path("ran").exists(), "{way:?} {path}");
            }
            // A failure that is found only after the command has run is reported, and keeps the command's own status.
            let mut late = command(ns, way, "--report directory/report", &["sh", "-c", "mv directory gone; exit $0"]);
            let late = ended(late.arg(if way.shared { "7" } else { "0" }));
            assert_eq!(late.code, Some(if way.shared { 7 } else { 1 }), "{way:?} {late:?}");
            assert!(late.err.contains("cannot write directory/report: "), "{way:?} {late:?}");
            ns.run("mv", ["gone", "directory"]);
        }
    });
}
