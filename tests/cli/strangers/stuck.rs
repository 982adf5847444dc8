//! Processes that do not answer, or whose answer has no end.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::os::unix::ffi::OsStrExt;
use std::process::{Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::support::{
    Namespace, Need, Running, ended, in_namespace_as_root, needs, peak_kib, shmadm_path, skip, wait_until,
};

/// Much longer than any command needs: shmadm gives up after a quarter of a second on a process that does not answer.
/// The rest is for loaded machines. A command that waits for an answer would never end.
const SOON: Duration = Duration::from_secs(20);

/// Held by each test here: its processes would cost the others patience.
static ALONE: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Starts a program and waits until it prints `ready`.
#[track_caller]
fn ready(command: &mut Command) -> Running {
    let mut running = Running(command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().expect("a program"));
    let mut line = String::new();
    BufReader::new(running.0.stdout.take().expect("a pipe")).read_line(&mut line).expect("a line");
    assert_eq!(line, "ready\n", "{command:?}");
    running
}

#[test]
fn a_process_stuck_in_the_kernel_blocks_no_command() {
    in_namespace_as_root(|ns| {
        let _alone = alone();
        if std::fs::File::options().read(true).write(true).open("/dev/fuse").is_err() {
            skip("needs /dev/fuse");
        }
        needs(Need::Program("unshare"));
        let (hungfs, victim, stuck_exec) = (ns.compile("hungfs"), ns.compile("victim"), ns.compile("stuck_exec"));
        let (mount, out) = (ns.path("mount"), ns.path("out"));
        std::fs::create_dir(&mount).expect("a directory");
        // The first reader locks the page, and the second one blocks in mmap(2) with its memory map locked.
        let script = r#"await() { n=0; while ! eval "$1"; do n=$((n + 1)); [ $n -lt 300 ] || exit 1; sleep 0.1; done; }
            "$1" "$3" 60 >/dev/null & server=$!
            mount=$3 out=$4
            await 'mountpoint -q "$mount"'
            cat "$mount/f" & reader=$!
            await 'grep -q "State:.[SD]" /proc/$reader/status && [ "$(cat /proc/$reader/comm)" = cat ]'
            sleep 0.5
            "$2" "$mount/f" >"$out" & victim=$!
            await 'grep -q ready "$out" && grep -q "State:.D" /proc/$victim/status'
            # Whoever reads this file waits for a process that is stuck in execve(2). The attempt can fail.
            is_stuck() { "$program" "$mount/f" & sleep 0.3; timeout 0.5 cat /proc/$!/syscall >/dev/null; [ $? = 124 ]; }
            program=$5; await is_stuck
            echo ready
            sleep 60 & wait"#;
        let mut unshare = ns.program("unshare");
        let args = ["--mount-proc", "--pid", "--fork", "--kill-child", "sh", "-c", script, "sh"];
        let _world =
            ready(unshare.args(args).arg(hungfs).arg(victim).arg(mount).arg(out).arg(stuck_exec).stderr(Stdio::null()));
        for words in [
            "list",
            "list -q",
            "list -f json",
            "list -o id,pids,origkey",
            "list --all-namespaces",
            "stat 0x5151",
            "stat 0x5151 -f json",
            "remove --orphaned -n",
            "remove --mine --include-attached -n",
            "metrics",
            "metrics --all-namespaces",
            "limits",
            "limits --all-namespaces",
            "doctor",
            "watch --for 1ms",
        ] {
            let begun = Instant::now();
            let answer = ns.shmadm(words.split(' '));
            assert!(begun.elapsed() < SOON, "{words} took {:?}", begun.elapsed());
            assert_eq!(answer.code.map(|code| code > 1), Some(false), "{words}: {answer:?}");
            let reads_others = words.starts_with("stat") || words == "list" || words.contains("pids");
            assert!(!reads_others || answer.err.contains("stuck in the kernel"), "{words}: {answer:?}");
            // A thread that waits for the process must not change what doctor finds out.
            let private = "private-namespace: guard and demo can work";
            assert!(words != "doctor" || answer.out.contains(private), "{answer:?}");
            if words == "list" {
                assert!(answer.out.contains("[victim]"), "{answer:?}");
            }
            if words == "remove --orphaned -n" || words == "metrics" {
                assert!(!answer.err.contains("stuck"), "{words} needs no command line: {answer:?}");
            }
            if words == "list -f json" {
                // Nobody can read when the process that is stuck in execve(2) has started.
                let found = answer.json();
                let segments = found["segments"].as_array().expect("segments");
                assert!(segments.iter().any(|segment| segment["creator"] == "unknown"), "{segments:?}");
            }
        }
        // A process that does not answer may share the memory of the holder, but it is not the holder that is stuck.
        let holder = ns.hold(["read", "0x5151", "--hold", "-o", "/dev/null"]);
        let pid = holder.pid().to_string();
        let begun = Instant::now();
        let listed = ns.shmadm(["list", "-q", "--pid", &pid]);
        assert!(begun.elapsed() < SOON && listed.out == "id:0\n", "{listed:?}");
        let is_blamed = listed.err.contains(&format!("process {pid}"));
        assert!(listed.err.contains("stuck in the kernel") && !is_blamed, "{listed:?}");
    });
}

#[test]
fn many_stuck_processes_of_a_user_hide_no_other_process() {
    in_namespace_as_root(|ns| {
        let _alone = alone();
        if std::fs::File::options().read(true).write(true).open("/dev/fuse").is_err() {
            skip("needs /dev/fuse");
        }
        needs(Need::Program("unshare"));
        needs(Need::Program("setpriv"));
        let (hungfs, victim) = (ns.compile("hungfs"), ns.compile("victim"));
        let (mount, out) = (ns.path("mount"), ns.file("out", ""));
        std::fs::create_dir(&mount).expect("a directory");
        ns.open_to_all();
        // More than the number of processes of a user that may not answer.
        let script = r#"await() { n=0; while ! eval "$1"; do n=$((n + 1)); [ $n -lt 300 ] || exit 1; sleep 0.1; done; }
            "$1" "$3" 60 >/dev/null & mount=$3
            await 'mountpoint -q "$mount"'
            cat "$mount/f" & reader=$!
            await 'grep -q "State:.[SD]" /proc/$reader/status && [ "$(cat /proc/$reader/comm)" = cat ]'
            sleep 0.5
            for victim in $(seq 40); do
                setpriv --reuid 1234 --regid 1234 --clear-groups "$2" "$mount/f" >>"$4" & last=$!
                await 'grep -q "State:.D" /proc/$last/status'
            done
            echo ready
            sleep 60 & wait"#;
        let mut unshare = ns.program("unshare");
        let args = ["--mount-proc", "--pid", "--fork", "--kill-child", "sh", "-c", script, "sh"];
        let _world = ready(unshare.args(args).arg(hungfs).arg(victim).arg(mount).arg(out).stderr(Stdio::null()));
        ns.shmadm(["create", "0x2a", "--size", "4K"]).ok();
        let holder = ns.hold(["read", "0x2a", "--hold", "-o", "/dev/null"]);
        let begun = Instant::now();
        let found = ns.shmadm(["stat", "0x2a", "-f", "json"]);
        assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
        let found = found.json()[0].take();
        let pids: Vec<_> = found["attachments"].as_array().expect("an array").iter().map(|one| &one["pid"]).collect();
        assert_eq!(pids, [holder.pid().as_raw()], "{found}");
        let listed = ns.shmadm(["list", "-o", "pids"]);
        assert!(listed.err.contains("many processes of their user are"), "{listed:?}");
    });
}

/// Returns the memory of a command, in KiB, and its duration.
#[track_caller]
fn measured(ns: &Namespace, words: &str) -> (u64, Duration) {
    let begun = Instant::now();
    let mut measure = ns.program(ns.path("measure"));
    let ended = ended(measure.arg(shmadm_path()).args(words.split(' ')).stdin(Stdio::null()));
    assert!(!ended.err.contains("stuck"), "{ended:.2000?}");
    (peak_kib(&ended), begun.elapsed())
}

/// Returns the number of a segment's attachments, once all are found. While the stuck process of another test costs
/// patience, the others get less time.
fn complete(ns: &Namespace, segment: &str) -> usize {
    let mut attachments = 0;
    wait_until("all attachments are found", || {
        let found = ns.shmadm(["stat", segment, "-f", "json"]).json()[0].take();
        attachments = found["attachments"].as_array().map_or(0, Vec::len);
        found["attachments_missing"] == 0
    });
    attachments
}

#[test]
fn a_command_line_without_end_is_read_to_4_kib() {
    in_namespace_as_root(|ns| {
        let _alone = alone();
        needs(Need::Program("python3"));
        ns.compile("measure");
        let program = format!("{}/tests/programs/huge_argv.py", env!("CARGO_MANIFEST_DIR"));
        let source = std::fs::read_to_string(program).expect("the program");
        let mut python = ns.program("python3");
        let _huge = ready(python.args(["-c", &source]));
        for words in ["list", "list -f json", "stat 0x66", "metrics"] {
            let (peak, _) = measured(ns, words);
            assert!(peak < 32 << 10, "{words}: {peak} KiB");
        }
    });
}

#[test]
fn a_name_in_place_of_a_command_line_is_visible() {
    // Without privilege, userfaultfd(2) does not hold a fault of the kernel.
    in_namespace_as_root(|ns| {
        let name = OsStr::from_bytes(b"\xff) R\n\x1b[2J\xe2\x80\x8b");
        let mut held = ns.program(ns.compile("held_argv"));
        let mut held = Running(held.arg(name).stdout(Stdio::piped()).spawn().expect("a program"));
        let mut line = String::new();
        BufReader::new(held.0.stdout.take().expect("a pipe")).read_line(&mut line).expect("a line");
        if line != "ready\n" {
            skip("userfaultfd(2) is not available");
        }
        let visible = r"\xff) R\x0a\x1b[2J\xe2\x80\x8b";
        let list = ns.shmadm(["list", "-f", "json"]).json();
        assert_eq!(list["segments"][0]["command"], format!("[{visible}]"));
        let holders = ns.shmadm(["list", "-f", "csv", "-o", "holders"]).ok();
        assert_eq!(holders, format!("HOLDERS\n{visible}\n"));
    });
}

#[test]
fn many_mappings_take_memory_and_time_in_proportion() {
    in_namespace_as_root(|ns| {
        let _alone = alone();
        ns.compile("measure");
        let mut mappings = ns.program(ns.compile("mappings"));
        // Three processes share an address space with 30,000 mappings, and have a long command line.
        let _holder = ready(mappings.args(["30000", "2", &"x".repeat(100_000)]));
        ns.shmadm(["remove", "0x2a"]).ok();
        for words in ["list -f json", "list -o pids,origkey", "stat id:0"] {
            let (peak, time) = measured(ns, words);
            assert!(peak < 64 << 10 && time < SOON, "{words}: {peak} KiB, {time:?}");
        }
        assert_eq!(complete(ns, "id:0"), 30_000);
        let text = ns.shmadm(["stat", "id:0"]).ok();
        assert!(text.contains("and 29000 more, which -f json shows"), "{}", text.len());
    });
}

#[test]
fn one_address_space_in_many_namespaces_is_kept_once() {
    in_namespace_as_root(|ns| {
        let _alone = alone();
        ns.compile("measure");
        // One entry for each twin and each mapping would be 9 million entries.
        let _holder = ready(ns.program(ns.compile("crowd")).args(["1000", "30000", "300", "0"]));
        for words in ["list -o pids -f csv", "stat id:0 id:999", "list --all-namespaces -o pids -f csv"] {
            let (peak, time) = measured(ns, words);
            assert!(peak < 64 << 10 && time < SOON, "{words}: {peak} KiB, {time:?}");
        }
        assert_eq!([complete(ns, "id:0"), complete(ns, "id:999")], [30, 30]);
    });
}

#[test]
fn the_files_of_other_segments_are_not_asked_for() {
    in_namespace_as_root(|ns| {
        let _alone = alone();
        needs(Need::Strace);
        let _holder = ready(ns.program(ns.compile("crowd")).args(["500", "20000", "0", "0"]));
        assert_eq!(complete(ns, "id:7"), 40);
        let mut strace = ns.program("strace");
        strace.args(["-f", "-qq", "-o", "log", "-e", "trace=statx", shmadm_path(), "stat", "id:7"]);
        ended(&mut strace).ok();
        let log = std::fs::read_to_string(ns.path("log")).expect("the calls");
        assert_eq!(log.matches("/map_files/").count(), 40);
    });
}

#[test]
fn attachments_above_the_maximum_are_not_verified() {
    in_namespace_as_root(|ns| {
        let _alone = alone();
        let _holder = ready(ns.program(ns.compile("crowd")).args(["2", "20000", "0", "0"]));
        let found = ns.shmadm(["stat", "id:0", "id:1", "-f", "json"]).json();
        let unverified = |index: usize| {
            let attachments = found[index]["attachments"].as_array().expect("an array");
            attachments.iter().filter(|attachment| attachment["unverified"] == true).count()
        };
        assert_eq!([complete(ns, "id:0"), complete(ns, "id:1")], [10_000, 10_000]);
        // Eight of the process, and 8,192 of its user.
        assert_eq!(unverified(0) + unverified(1), 20_000 - 8_200);
    });
}

#[test]
fn mappings_above_the_maximum_are_counted_as_missing() {
    in_namespace_as_root(|ns| {
        let _alone = alone();
        ns.compile("measure");
        let _holder = ready(ns.program(ns.compile("crowd")).args(["1", "50000", "0", "11"]));
        for words in ["list -o pids -f csv", "stat id:0"] {
            let (peak, time) = measured(ns, words);
            assert!(peak < 64 << 10 && time < SOON, "{words}: {peak} KiB, {time:?}");
        }
        let text = ns.shmadm(["stat", "id:0"]).ok();
        assert!(text.contains("not inspected: together they have too many mappings"), "{:.3000}", text);
        let said = ns.shmadm(["list", "-o", "pids"]).err;
        assert!(said.contains("not inspected: together they have too many mappings"), "{said}");
        let row = ns.table().remove(0);
        let found = ns.shmadm(["stat", "id:0", "-f", "json"]).json()[0].take();
        let count = found["attachments"].as_array().expect("an array").len() as u64;
        let missing = found["attachments_missing"].as_u64().expect("a number");
        assert!(missing > 0 && (count + missing).to_string() == row.nattch, "{count} {missing} {row:?}");
    });
}

/// Returns the IPC namespaces of which a process has open files.
fn hoarded(pid: impl std::fmt::Display) -> BTreeSet<u64> {
    let links = std::fs::read_dir(format!("/proc/{pid}/fd")).expect("a directory").filter_map(|entry| {
        let link = std::fs::read_link(entry.expect("an entry").path()).ok()?;
        link.to_str()?.strip_prefix("ipc:[")?.strip_suffix(']')?.parse().ok()
    });
    links.collect()
}

#[test]
fn hoarded_descriptors_and_mounts_do_not_hide_the_namespaces_of_others() {
    in_namespace_as_root(|ns| {
        let _alone = alone();
        needs(Need::Program("unshare"));
        ns.compile("measure");
        let hoarder = ns.compile("hoarder");
        // Almost a million descriptors of an ordinary user, and mounts whose list has more than 90 MB.
        for (what, counts) in [("files", ["4", "5000", "190", "0", "0"]), ("mounts", ["4", "4", "0", "1000", "30"])] {
            let directory = ns.path(what);
            std::fs::create_dir(&directory).expect("a directory");
            let hoard = ready(ns.program(&hoarder).arg(&directory).args(counts));
            let kept = ready(ns.program(&hoarder).arg(&directory).args(["1", "1", "1", "0", "0"]));
            let live = Running(ns.program("unshare").args(["--ipc", "sleep", "1000"]).spawn().expect("unshare"));
            let of = |process: String| std::fs::read_link(format!("/proc/{process}/ns/ipc")).expect("a link");
            let live_pid = live.pid().to_string();
            wait_until("it has a namespace", || of(live_pid.clone()) != of("thread-self".into()));
            let name = of(live_pid).to_str().map(|name| name[5..name.len() - 1].to_owned());
            let mut expected: BTreeSet<u64> = hoarded(hoard.pid()).into_iter().chain(hoarded(kept.pid())).collect();
            expected.insert(name.and_then(|name| name.parse().ok()).expect("an inode"));
            for words in ["list --all-namespaces", "metrics --all-namespaces", "limits --all-namespaces"] {
                let (peak, time) = measured(ns, words);
                assert!(peak < 40 << 10 && time < SOON, "{what}, {words}: {peak} KiB, {time:?}");
            }
            let answer = ns.shmadm(["list", "--all-namespaces", "-f", "json"]);
            assert_eq!(answer.code, Some(0), "{answer:?}");
            assert!(answer.err.contains("have too many mounts or open files to read all"), "{what}: {}", answer.err);
            let list = answer.json();
            let found = list["namespaces"].as_array().expect("an array").iter();
            let found: BTreeSet<u64> = found.filter_map(|namespace| namespace["ns"].as_u64()).collect();
            assert!(found.is_superset(&expected), "{what}: {expected:?} in {found:?}");
        }
    });
}
