//! `watch --source kernel`: every call, in its order, with the process that made it.

use std::io::{BufRead, BufReader};
use std::sync::{PoisonError, RwLock};

use super::*;
use crate::support::{ended, skip, user_name};

/// The ring buffers have the calls of all namespaces, so the test that fills them runs alone.
static RINGS: RwLock<()> = RwLock::new(());

/// Runs a test as root, on a machine with the kernel's tracepoints.
fn with_tracepoints<F: FnOnce(&Namespace)>(test: F) {
    let _shared = RINGS.read().unwrap_or_else(PoisonError::into_inner);
    listening(test);
}

fn listening<F: FnOnce(&Namespace)>(test: F) {
    in_namespace_as_root(|ns| {
        let tried = ns.shmadm(["watch", "--source", "kernel", "--for", "0s"]);
        if tried.code != Some(0) {
            skip(format!("the kernel cannot be listened to: {}", tried.err.trim()));
        }
        test(ns);
    });
}

/// Starts a watch of the kernel.
#[track_caller]
fn listen(ns: &Namespace, words: &str) -> Watch {
    Watch::start(ns, &format!("--source kernel -f jsonl {words}"))
}

/// Returns event, pid and cause of each record.
fn summaries(lines: &[String]) -> Vec<(String, i64, String)> {
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    let tell =
        |record: &Value| (text(&record["event"]), record["actor"]["pid"].as_i64().unwrap_or(0), text(&record["cause"]));
    records(lines).iter().map(tell).collect()
}

/// A process with its lines of standard output.
struct Talker {
    running: Running,
    lines: BufReader<std::process::ChildStdout>,
}

impl Talker {
    fn start(command: &mut std::process::Command) -> Talker {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("the program");
        let lines = BufReader::new(child.stdout.take().expect("a pipe"));
        Talker { running: Running(child), lines }
    }

    #[track_caller]
    fn line(&mut self) -> String {
        let mut line = String::new();
        self.lines.read_line(&mut line).expect("a line");
        line.trim_end().to_owned()
    }

    fn pid(&self) -> i64 {
        self.running.pid().as_raw().into()
    }
}

#[test]
fn three_hundred_segments_as_fast_as_they_come() {
    with_tracepoints(|ns| {
        let program = ns.compile("hundreds");
        let other = Talker::start(ns.program("unshare").args(["--ipc", "sh", "-c", "echo; cat"]));
        let mut other = other;
        other.line();
        let watch = listen(ns, "");
        let there = listen(ns, &format!("--ns {}", other.pid()));
        let all_namespaces = listen(ns, "--all-namespaces");
        // The same in another namespace, at the same time.
        let program = program.to_str().expect("a path");
        let mut stranger = ns.program("nsenter");
        let stranger = stranger.args(["--ipc", "--target", &other.pid().to_string(), program, "300"]);
        let stranger = Running(stranger.stdout(Stdio::piped()).spawn().expect("nsenter"));
        let pid: i64 = ns.run(program, ["300"]).parse().expect("a pid");
        let stranger: i64 = stranger.ended().ok().parse().expect("a pid");

        for (watch, pid) in [(watch, pid), (there, stranger)] {
            let lines = watch.wait_for(1200);
            let life = [("created", "shmget"), ("attached", "shmat"), ("detached", "shmdt"), ("removed", "shmctl")];
            let expected: Vec<_> = life
                .iter()
                .cycle()
                .take(1200)
                .map(|(event, cause)| (event.to_string(), pid, cause.to_string()))
                .collect();
            assert_eq!(summaries(&lines), expected);
            for (index, record) in records(&lines).iter().enumerate() {
                assert_eq!(record["source"], "kernel");
                // The process may have ended before it is inspected. Then its user is unknown, but never wrong.
                assert!(record["actor"]["user"] == "root" || record["actor"]["user"].is_null(), "{record}");
                let command = record["actor"]["command"].as_str().expect("a command");
                assert!(command == "[hundreds]" || command == format!("{program} 300"), "{command}");
                assert_eq!(record["segment"]["size"], 4096);
                // An unattached segment keeps its key when it is removed.
                assert_eq!(record["segment"]["key"], format!("{:#010x}", 0x1000 + index / 4));
            }
            assert_eq!(watch.end().len(), 1200);
        }
        // Records of both namespaces, each with its number.
        let inode = |path: String| fs::read_link(path).expect("a namespace").to_string_lossy().into_owned();
        let ours = inode("/proc/thread-self/ns/ipc".into());
        let theirs = inode(format!("/proc/{}/ns/ipc", other.pid()));
        let lines = all_namespaces.end();
        for (namespace, pid) in [(ours, pid), (theirs, stranger)] {
            let of = |record: &&Value| format!("ipc:[{}]", record["segment"]["ns"]) == namespace;
            let records = records(&lines);
            let found: Vec<_> = records.iter().filter(of).filter(|record| record["actor"]["pid"] == pid).collect();
            assert_eq!(found.len(), 1200, "{namespace}");
        }
    });
}

#[test]
fn each_event_has_its_actor() {
    with_tracepoints(|ns| {
        let lives = ns.compile("lives");
        ns.run("perl", ["-e", "shmget(42, 4096, 01666) // die"]);
        let watch = listen(ns, "--interval 50ms");
        let mut holder = Talker::start(ns.program(lives).arg("42"));
        let child: i64 = holder.line().parse().expect("the child's pid");
        let pid = holder.pid();
        let event = |event: &str, pid: i64, cause: &str| (event.to_owned(), pid, cause.to_owned());
        let expected = [
            event("attached", pid, "shmat"),
            event("attached", pid, "shmat"),
            event("attached", child, "fork"),
            event("attached", child, "fork"),
            event("attached", child, "shmat"),
            event("detached", child, "exit"),
            event("detached", child, "exit"),
            event("detached", child, "exit"),
        ];
        // vfork(2) and execve(2) cause no wrong events.
        let lines = watch.wait_for(expected.len());
        assert_eq!(summaries(&lines), expected);
        let counts = records(&lines).iter().map(|record| record["segment"]["nattch"].clone()).collect::<Vec<_>>();
        assert_eq!(counts, [1, 2, 3, 4, 5, 4, 3, 2]);

        // munmap(2) has no tracepoint for segments; the table shows the detach.
        writeln!(holder.running.0.stdin.as_mut().expect("a pipe")).expect("the program");
        assert_eq!(holder.line(), "unmapped");
        let lines = watch.wait_for(expected.len() + 1);
        let last = records(&lines).pop().expect("a record");
        assert_eq!((&last["event"], &last["source"]), (&json!("detached"), &json!("poll")));
        assert_eq!((&last["actor"], &last["segment"]["nattch"]), (&Value::Null, &json!(1)));

        // Sets another owner, who removes the segment. It is destroyed when the attached process ends.
        let before = lines.len();
        ns.shmadm(["set", "42", "--owner", "1234", "--mode", "600"]).ok();
        let remover = "shmctl(shmget(42, 0, 0) // die, 0, 0) or die; $| = 1; print qq(removed\n); <STDIN>";
        let mut remover = Talker::start(ns.unprivileged("perl").args(["-e", remover]));
        assert_eq!(remover.line(), "removed");
        watch.wait_for(before + 2);
        assert_eq!(holder.running.end(Signal::SIGKILL), (None, Some(9)));
        watch.wait_for(before + 4);
        let lines = watch.end();
        let records = &records(&lines)[before..];
        let [changed, marked, detached, removed] = records else { panic!("{records:?}") };
        let words: Vec<_> =
            summaries(&lines)[before..].iter().map(|(event, _, cause)| format!("{event} {cause}")).collect();
        assert_eq!(words, ["changed shmctl", "marked shmctl", "detached exit", "removed exit"]);
        assert_eq!((&changed["before"]["uid"], &changed["segment"]["uid"]), (&json!(0), &json!(1234)));
        assert_eq!(changed["segment"]["mode"], "0600");
        // It can have ended before it is inspected.
        assert!([json!(0), Value::Null].contains(&changed["actor"]["uid"]), "{changed}");
        assert!(changed["actor"]["command"].as_str().is_some_and(|command| command.contains("shmadm")), "{changed}");
        assert_eq!(marked["actor"]["uid"], 1234);
        assert!(marked["actor"]["command"].as_str().is_some_and(|command| command.starts_with("perl -e")), "{marked}");
        assert_eq!(marked["actor"]["pid"], json!(remover.pid()));
        assert_eq!((&detached["actor"]["pid"], &removed["actor"]["pid"]), (&json!(pid), &json!(pid)));
        assert_eq!(removed["segment"]["original_key"], "0x0000002a");
    });
}

#[test]
fn lines_of_the_kernels_events() {
    with_tracepoints(|ns| {
        let watch = Watch::start(ns, "--source kernel --failures");
        let script = "$id = shmget(42, 65536, 01604) // die; shmwrite($id, 'x', 0, 1) or die; shmget(42, 1, 03600) \
                      and die; print $$";
        let pid = ns.run("perl", ["-e", script]);
        // The owner is read from the segment, so each step waits for the report on the previous one.
        watch.wait_for(4);
        ns.shmadm(["set", "42", "--owner", "1234"]).ok();
        watch.wait_for(5);
        let script = "shmctl(shmget(42, 0, 0) // die, 0, 0) or die; $| = 1; print qq(removed\n); <STDIN>";
        let mut remover = Talker::start(ns.program("perl").args(["-e", script]));
        assert_eq!(remover.line(), "removed");
        let lines = watch.wait_for(6);
        // A short program can have ended before its user is read.
        let rest: Vec<_> =
            lines.iter().map(|line| line.split_at(9).1.trim_end_matches(" of an unknown user")).collect();
        let segment = |owner: &str| format!("0x0000002a id:0       64K  {owner:<8} ");
        assert_eq!(rest[0], format!("created  {} mode 0604 by {pid} perl", segment("root")));
        assert_eq!(rest[1], format!("attached {} nattch 0 -> 1 by {pid} perl", segment("root")));
        assert_eq!(rest[2], format!("detached {} nattch 1 -> 0 by {pid} perl", segment("root")));
        let failed = format!("failed   shmget(0x0000002a, 1, IPC_CREAT|IPC_EXCL|0600) = EEXIST by {pid} perl");
        assert_eq!(rest[3].trim_end_matches(" of root"), failed);
        let owner = user_name(1234);
        let changed = format!("changed  {} owner root -> {owner} by ", segment(&owner));
        assert!(rest[4].starts_with(&changed) && rest[4].trim_end_matches(" of root").ends_with(" shmadm"), "{rest:?}");
        assert_eq!(rest[5], format!("removed  {} by {} perl of root", segment(&owner), remover.pid()));
    });
}

#[test]
fn calls_that_fail() {
    with_tracepoints(|ns| {
        ns.run("perl", ["-e", "shmget(42, 4096, 01600) // die"]);
        ns.run("sh", ["-c", "echo 1 >/proc/sys/kernel/shmmni"]);
        let (watch, of_key) = (listen(ns, "--failures"), listen(ns, "--failures 0x65"));
        let without = listen(ns, "");
        let of_other = listen(ns, "--failures --owner 1234");
        let script = "shmget(0x65, 4096, 01600) and die; print $$";
        let root = ns.run("perl", ["-e", script]);
        let script =
            "$id = shmget(42, 0, 0) // die; shmread($id, $x, 0, 1) and die; $| = 1; print qq(denied\n); <STDIN>";
        let mut user = Talker::start(ns.unprivileged("perl").args(["-e", script]));
        assert_eq!(user.line(), "denied");
        let lines = watch.wait_for(2);
        let [full, denied] = &records(&lines)[..] else { panic!("{lines:?}") };
        assert_eq!((&full["event"], &full["errno"]), (&json!("failed"), &json!("ENOSPC")));
        assert_eq!(full["call"], "shmget(0x00000065, 4096, IPC_CREAT|0600)");
        assert_eq!(
            (&full["actor"]["pid"], &full["segment"]),
            (&json!(root.parse::<i64>().expect("a pid")), &Value::Null)
        );
        // perl asks for the size first.
        let call = denied["call"].as_str().expect("a call");
        assert!(call.starts_with("shmctl(0, IPC_STAT, 0x"), "{denied}");
        assert_eq!((&denied["errno"], &denied["segment"]["key"]), (&json!("EACCES"), &json!("0x0000002a")));
        assert_eq!((&denied["actor"]["pid"], &denied["actor"]["uid"]), (&json!(user.pid()), &json!(1234)));
        assert_eq!(of_key.wait_for(1).len(), 1);
        for (watch, expected) in [(of_key, 1), (without, 0), (of_other, 0), (watch, 2)] {
            assert_eq!(watch.end().len(), expected);
        }
    });
}

#[test]
fn named_segments_alone() {
    with_tracepoints(|ns| {
        ns.run("perl", ["-e", "shmget(1, 10, 01600) // die; shmget(2, 10, 01600) // die"]);
        let (by_key, by_id) = (listen(ns, "3 0x1"), listen(ns, "id:1"));
        let looking = Watch::start(ns, "3 0x1 -f jsonl --interval 50ms");
        ns.run("ipcrm", ["-M", "1", "-M", "2"]);
        ns.run("perl", ["-e", "shmget(3, 10, 01600) // die"]);
        by_id.wait_for(1);
        by_key.wait_for(2);
        looking.wait_for(2);
        assert_eq!(events(&by_id.end()), [("removed".to_owned(), 1)]);
        let expected = [("removed".to_owned(), 0), ("created".to_owned(), 2)];
        assert_eq!(events(&by_key.end()), expected);
        assert_eq!(events(&looking.end()), expected);
        for word in ["0", "x"] {
            ns.shmadm(["watch", "--for", "0s", word]).usage_error();
        }
    });
}

#[test]
fn nothing_is_left_behind_or_seen_by_others() {
    with_tracepoints(|ns| {
        // The state of all mounts and of the events in tracefs, in the test's own mount namespace.
        let look = || {
            let script = "mount -t tracefs none /mnt && cd /mnt && \
                          cat tracing_on current_tracer set_event events/enable events/syscalls/*shm*/enable \
                          events/syscalls/*shm*/filter events/task/task_newtask/enable";
            let switches = ns.run("unshare", ["--mount", "sh", "-c", script]);
            (fs::read_to_string("/proc/self/mountinfo").expect("mounts"), switches)
        };
        let before = look();
        let watch = listen(ns, "");
        let mounts_of_watch = fs::read_to_string(format!("/proc/{}/mountinfo", watch.running.pid())).expect("mounts");
        assert_eq!((look(), mounts_of_watch), (before.clone(), before.0.clone()));
        assert_eq!(watch.running.end(Signal::SIGKILL), (None, Some(9)));
        assert_eq!(look(), before);
    });
}

#[test]
fn it_needs_no_sysfs_and_says_which_file_is_missing() {
    with_tracepoints(|ns| {
        let watch_after = |mounts: &str, source: &str| {
            let script = format!("{mounts} && exec \"$SHMADM\" watch --source {source} --for 0s");
            ended(ns.program("unshare").args(["--mount", "sh", "-c", &script]).env("SHMADM", shmadm_path()))
        };
        let no_sysfs = "mount -t tmpfs none /sys";
        let watched = watch_after(no_sysfs, "kernel");
        assert_eq!(watched.code, Some(0), "{watched:?}");
        let no_list = &format!("{no_sysfs} && mount --bind /dev/null /proc/stat");
        let refused = watch_after(no_list, "kernel").fails(1);
        assert!(refused.contains("/proc/stat") && !refused.contains("root"), "{refused}");
        let polled = watch_after(no_list, "auto");
        assert!(polled.err.contains("polling instead") && polled.err.contains("(source: poll)"), "{polled:?}");
    });
}

#[test]
fn without_permission_it_polls_and_says_what_root_would_see() {
    in_namespace_as_root(|ns| {
        ns.open_to_all();
        let polled = ns.shmadm_unprivileged(["watch", "--for", "0s"]);
        assert_eq!(polled.code, Some(0), "{polled:?}");
        let lines: Vec<_> = polled.err.lines().collect();
        let [reason, announced] = lines[..] else { panic!("{polled:?}") };
        assert!(reason.ends_with("as root, watch shows every call and who made it"), "{reason}");
        assert_eq!(announced, "shmadm: watching 0 segments, every 1s (source: poll)");
        for words in ["--source kernel", "--failures"] {
            let refused = ns.shmadm_unprivileged(["watch", "--for", "0s"].into_iter().chain(words.split(' ')));
            assert!(refused.fails(1).contains("run it as root"), "{words}");
        }
    });
}

#[test]
fn lost_records_are_counted_and_the_rest_is_right() {
    let _alone = RINGS.write().unwrap_or_else(PoisonError::into_inner);
    listening(|ns| {
        let program = ns.compile("hundreds");
        let watch = listen(ns, "--interval 50ms");
        // A stopped watch reads nothing, so the ring buffers are full after some ten thousand calls.
        nix::sys::signal::kill(watch.running.pid(), Signal::SIGSTOP).expect("the watch");
        ns.run(program.to_str().expect("a path"), ["25000"]);
        nix::sys::signal::kill(watch.running.pid(), Signal::SIGCONT).expect("the watch");
        wait_until("it reports lost records", || watch.lines().iter().any(|line| line.contains("\"event\":\"lost\"")));
        let pid = watch.running.pid();
        let resident = fs::read_to_string(format!("/proc/{pid}/status")).expect("its status");
        let resident = resident.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("its peak");
        let kib: u64 = resident.trim().trim_end_matches(" kB").parse().expect("a number");
        assert!(kib < 200_000, "{kib} KiB");
        let marker = ns.run("perl", ["-e", "print shmget(42, 10, 01600) // die"]);
        let marked = |line: &String| line.contains("\"created\"") && line.contains(&format!("\"id\":{marker},"));
        wait_until("it continues", || watch.lines().iter().any(marked));
        let records_read = records(&watch.end());
        let lost: i64 = records_read.iter().filter_map(|record| record["lost"].as_i64()).sum();
        let is_read = |record: &&Value| record["source"] == "kernel" && record["lost"].is_null();
        let events = i64::try_from(records_read.iter().filter(is_read).count()).expect("a number");
        // Each call has two records. For a few calls only one was kept.
        assert!(lost > 0 && 2 * events + lost > 195_000, "{events} events, {lost} records lost");
    });
}
