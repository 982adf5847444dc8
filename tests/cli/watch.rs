//! `watch` reports changes of segments by other programs, in their order.

mod kernel;

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Stdio};

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::support::{
    Namespace, Running, group_name, in_namespace, in_namespace_as_root, shmadm_path, user_name, wait_until,
};

/// A running `shmadm watch`.
struct Watch {
    running: Running,
    out: PathBuf,
}

impl Watch {
    /// Starts a watch, and waits until it says that it is watching.
    #[track_caller]
    fn start(ns: &Namespace, words: &str) -> Watch {
        let name = fastrand::u64(..);
        let (out, log) = (ns.path(&format!("watch-{name}")), ns.path(&format!("log-{name}")));
        let mut command = ns.command(["watch"].into_iter().chain(words.split_whitespace()));
        // watch/kernel.rs tests the kernel's tracepoints. With --for no test leaves a watch behind.
        for (option, value) in [("--source", "poll"), ("--for", "2m")] {
            if !words.contains(option) {
                command.args([option, value]);
            }
        }
        command.stdin(Stdio::null()).stdout(File::create(&out).expect("a file"));
        let child = command.stderr(File::create(&log).expect("a log")).spawn().expect("shmadm");
        let watch = Watch { running: Running(child), out };
        wait_until("it watches", || fs::read_to_string(&log).is_ok_and(|log| log.contains("watching")));
        watch
    }

    /// Returns the lines so far.
    fn lines(&self) -> Vec<String> {
        fs::read_to_string(&self.out).expect("its output").lines().map(str::to_owned).collect()
    }

    /// Waits for as many lines, and returns them.
    #[track_caller]
    fn wait_for(&self, lines: usize) -> Vec<String> {
        wait_until("the change is reported", || self.lines().len() >= lines);
        self.lines()
    }

    /// Ends it by SIGTERM. Returns its output.
    #[track_caller]
    fn end(self) -> Vec<String> {
        let out = self.out.clone();
        assert_eq!(self.running.end(Signal::SIGTERM), (None, Some(15)));
        fs::read_to_string(out).expect("its output").lines().map(str::to_owned).collect()
    }

    /// Waits until it ends by itself, with exit status 0. Returns its output.
    #[track_caller]
    fn ended(mut self) -> Vec<String> {
        wait_until("it ends", || self.running.0.try_wait().expect("its exit status").is_some());
        let status = self.running.0.wait().expect("its exit status");
        assert_eq!(status.code(), Some(0), "{status:?}");
        self.lines()
    }
}

/// A perl that runs statements on segments, one line of standard input at a time.
struct Perl {
    running: Running,
    input: ChildStdin,
}

impl Perl {
    fn start(ns: &Namespace) -> Perl {
        let script = "use IPC::SharedMem; while (<STDIN>) { eval; die $@ if $@ }";
        let mut child: Child = ns.program("perl").args(["-e", script]).stdin(Stdio::piped()).spawn().expect("perl");
        let input = child.stdin.take().expect("a pipe");
        Perl { running: Running(child), input }
    }

    fn does(&mut self, statement: &str) {
        writeln!(self.input, "{statement}").expect("perl");
    }
}

fn records(lines: &[String]) -> Vec<Value> {
    lines.iter().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

/// Returns each event with the identifier of its segment.
fn events(lines: &[String]) -> Vec<(String, i64)> {
    let event = |record: &Value| {
        let word = record["event"].as_str().expect("an event");
        (word.to_owned(), record["segment"]["id"].as_i64().expect("an id"))
    };
    records(lines).iter().map(event).collect()
}

fn words(lines: &[String]) -> Vec<String> {
    events(lines).into_iter().map(|(word, _)| word).collect()
}

/// Does all of this between two snapshots of a watch. Returns the reported lines.
#[track_caller]
fn in_one_snapshot(ns: &Namespace, acts: impl FnOnce()) -> Vec<String> {
    let watch = Watch::start(ns, "-f jsonl --interval 1h");
    acts();
    watch.end()
}

#[test]
fn the_life_of_a_segment_is_reported_in_order() {
    in_namespace(|ns| {
        let watch = Watch::start(ns, "-f jsonl --interval 100ms");
        let mut perl = Perl::start(ns);
        let pid = perl.running.pid().as_raw();

        perl.does("$s = IPC::SharedMem->new(42, 5000, 01640) or die $!");
        let lines = watch.wait_for(1);
        let row = &ns.table()[0];
        let [created] = &records(&lines)[..] else { panic!("{lines:?}") };
        let reported = &created["segment"];
        assert_eq!((&*row.key, &*row.size), ("42", "5000"));
        assert_eq!((&created["event"], &created["before"]), (&json!("created"), &Value::Null));
        assert_eq!(
            (&reported["key"], &reported["size"], &reported["mode"]),
            (&json!("0x0000002a"), &json!(5000), &json!("0640"))
        );
        assert_eq!((&reported["cpid"], &reported["nattch"]), (&json!(pid), &json!(0)));
        // The same second as in the kernel's time, or the next one.
        let (time, ctime) = (created["time"].as_str().expect("a time"), reported["ctime"].as_str().expect("a time"));
        assert!(time.len() == "2026-11-23T09:07:31.250Z".len() && time.ends_with('Z') && time[..19] >= ctime[..19]);

        perl.does("$s->attach or die $!");
        let attached = &records(&watch.wait_for(2))[1];
        assert_eq!((&attached["before"]["nattch"], &attached["segment"]["nattch"]), (&json!(0), &json!(1)));
        assert_eq!((ns.table()[0].nattch.as_str(), ns.table()[0].lpid.as_str()), ("1", &*pid.to_string()));
        assert_eq!(attached["segment"]["lpid"], json!(pid));

        ns.shmadm(["set", "42", "--mode", "604", "--lock"]).ok();
        let changed = &records(&watch.wait_for(3))[2];
        assert_eq!((&changed["before"]["mode"], &changed["segment"]["mode"]), (&json!("0640"), &json!("0604")));
        assert_eq!((&changed["before"]["status"], &changed["segment"]["status"]), (&json!([]), &json!(["locked"])));

        perl.does("$s->detach or die $!");
        watch.wait_for(4);
        perl.does("$s->remove or die $!");
        watch.wait_for(5);
        let lines = watch.end();
        assert_eq!(words(&lines), ["created", "attached", "changed", "detached", "removed"]);
        assert_eq!(ns.table(), []);
    });
}

#[test]
fn a_marked_segment_keeps_its_key_to_the_end() {
    in_namespace(|ns| {
        let mut perl = Perl::start(ns);
        perl.does("$s = IPC::SharedMem->new(42, 5000, 01600) or die $!; $s->attach or die $!");
        wait_until("it is attached", || ns.table().first().is_some_and(|row| row.nattch == "1"));
        let (all, by_key) =
            (Watch::start(ns, "-f jsonl --interval 50ms"), Watch::start(ns, "--key 42 --interval 50ms"));
        let other = Watch::start(ns, "--key 43 --interval 50ms");
        perl.does("$s->remove or die $!");
        all.wait_for(1);
        by_key.wait_for(1);
        assert_eq!(ns.table()[0].key, "0");
        perl.does("undef $s; exit");
        all.wait_for(3);
        by_key.wait_for(3);
        let lines = all.end();
        assert_eq!(words(&lines), ["marked", "detached", "removed"]);
        for record in records(&lines) {
            assert_eq!(record["segment"]["key"], json!("0x00000000"));
            assert_eq!(record["segment"]["original_key"], json!("0x0000002a"));
        }
        let text = by_key.end();
        assert!(text.len() == 3 && text.iter().all(|line| line.contains(" 0x0000002a id:0 ")), "{text:?}");
        assert_eq!(other.end(), [""; 0]);
    });
}

#[test]
fn changes_between_two_snapshots_are_reported_as_far_as_visible() {
    in_namespace(|ns| {
        let shm = |script: &str| ns.run("perl", ["-e", script]);
        // One segment is created and used, another one created and removed. Nothing of the second is visible.
        let lines = in_one_snapshot(ns, || {
            shm("$id = shmget(1, 10, 01600) // die; shmwrite($id, 'x', 0, 1) or die");
            shm("shmctl(shmget(2, 10, 01600) // die, 0, 0) or die");
        });
        assert_eq!(words(&lines), ["created", "attached", "detached"]);

        let lines = in_one_snapshot(ns, || drop(shm("shmctl(shmget(1, 10, 0) // die, 0, 0) or die")));
        assert_eq!(words(&lines), ["removed"]);

        // A segment is removed and created again with the same key, as by a restarted server. The removal is reported
        // first.
        shm("shmget(1, 10, 01600) // die");
        let lines =
            in_one_snapshot(ns, || drop(shm("shmctl(shmget(1, 10, 0), 0, 0) or die; shmget(1, 10, 01600) // die")));
        let [(removed, old), (created, new)] = &events(&lines)[..] else { panic!("{lines:?}") };
        assert_eq!((&**removed, &**created), ("removed", "created"));
        assert_ne!(old, new);
    });
}

#[test]
fn an_identifier_that_is_reused_is_another_segment() {
    in_namespace(|ns| {
        // The sysctl kernel.shm_next_id chooses the next identifier (CONFIG_CHECKPOINT_RESTORE).
        let make = |size: u32| {
            let script = "open $f, '>', '/proc/sys/kernel/shm_next_id'; print $f 5; close $f or die $!; \
                          print shmget(7, $ARGV[0], 01600) // die";
            ns.run("perl", ["-e", script, &size.to_string()])
        };
        assert_eq!(make(10), "5");
        let lines = in_one_snapshot(ns, || {
            ns.run("ipcrm", ["-m", "5"]);
            assert_eq!(make(20), "5");
        });
        assert_eq!(events(&lines), [("removed".to_owned(), 5), ("created".to_owned(), 5)]);
        let sizes: Vec<_> = records(&lines).iter().map(|record| record["segment"]["size"].clone()).collect();
        assert_eq!(sizes, [10, 20]);
    });
}

#[test]
fn filters_match_before_or_after_a_change() {
    in_namespace(|ns| {
        let mut perl = Perl::start(ns);
        let watches = ["--unattached", "--attached", "--min-size 6000", "--marked", "--older-than 1d"];
        let watches = watches.map(|filter| Watch::start(ns, &format!("-f jsonl --interval 1h {filter}")));
        let step = |perl: &mut Perl, statement: &str, nattch: &str| {
            perl.does(statement);
            wait_until("perl has done it", || ns.table().first().is_some_and(|row| row.nattch == nattch));
        };
        step(&mut perl, "$s = IPC::SharedMem->new(42, 5000, 01640) or die $!", "0");
        step(&mut perl, "$s->attach or die $!", "1");
        let reported: Vec<_> = watches.into_iter().map(|watch| words(&watch.end())).collect();
        // The first snapshot that has the segment shows it attached.
        assert_eq!(reported, [vec![], vec!["created", "attached"], vec![], vec![], vec![]]);

        let watches = ["--unattached", "--attached", "--key 0x2a", "--key private", "--marked"];
        let watches = watches.map(|filter| Watch::start(ns, &format!("-f jsonl --interval 1h {filter}")));
        step(&mut perl, "$s->detach or die $!", "0");
        let reported: Vec<_> = watches.into_iter().map(|watch| words(&watch.end())).collect();
        assert_eq!(reported, [vec!["detached"], vec!["detached"], vec!["detached"], vec![], vec![]]);
    });
}

#[test]
fn a_new_owner_is_reported_to_watchers_of_both() {
    in_namespace_as_root(|ns| {
        ns.run("perl", ["-e", "shmget(42, 5000, 01600) // die"]);
        let owners = ["root", "1234", "4321"];
        let watches = owners.map(|owner| Watch::start(ns, &format!("--interval 1h --owner {owner}")));
        ns.shmadm(["set", "42", "--owner", "1234", "--group", "4321"]).ok();
        let reported: Vec<_> = watches.into_iter().map(Watch::end).collect();
        let change = format!("  owner root -> {}, group root -> {}", user_name(1234), group_name(4321));
        assert!(reported[0].len() == 1 && reported[0][0].ends_with(&change), "{reported:?}");
        assert_eq!((reported[1].len(), reported[2].len()), (1, 0), "{reported:?}");
    });
}

#[test]
fn lines_for_people() {
    in_namespace(|ns| {
        let plain = Watch::start(ns, "--interval 1h");
        let coloured = Watch::start(ns, "--interval 1h --color always");
        let pid = "shmwrite(shmget(42, 65536, 01604) // die, 'x', 0, 1) or die; print $$";
        let pid = ns.run("perl", ["-e", pid]);
        let (lines, coloured) = (plain.end(), coloured.end());
        let rest: Vec<_> = lines.iter().map(|line| line.split_at(9).1).collect();
        let owner = ns.run("id", ["-un"]);
        let segment = format!("0x0000002a id:0       64K  {:<8}  ", owner.trim_end());
        let reported = [
            format!("created  {segment}mode 0604 by {pid}"),
            format!("attached {segment}meanwhile"),
            format!("detached {segment}meanwhile by {pid}"),
        ];
        assert_eq!(rest, reported);
        assert!(lines.iter().all(|line| line.len() <= 80), "{lines:?}");
        assert!(lines[0].as_bytes()[2] == b':' && lines[0].as_bytes()[5] == b':', "{lines:?}");
        assert!(coloured[0].contains("\x1b[32mcreated \x1b[0m 0x"), "{coloured:?}");
        assert_eq!(coloured[1].split_at(9).1, reported[1]);
    });
}

#[test]
fn it_ends_by_count_time_signal_and_closed_pipe() {
    in_namespace(|ns| {
        let make = |keys: &str| ns.run("perl", ["-e", &format!("shmget($_, 10, 01600) // die for {keys}")]);
        // Three changes in one snapshot: only two are reported.
        let counted = Watch::start(ns, "--count 2 --interval 300ms");
        make("1, 2, 3");
        // They may be in two snapshots.
        assert_eq!(counted.ended().len(), 2);

        let timed = Watch::start(ns, "--for 2s --interval 1h");
        make("4");
        assert_eq!(timed.ended().len(), 1, "the last snapshot is at the end");

        for (signal, number) in [(Signal::SIGTERM, 15), (Signal::SIGINT, 2), (Signal::SIGHUP, 1)] {
            let watch = Watch::start(ns, "--interval 1h");
            make(&(10 + number).to_string());
            let out = watch.out.clone();
            assert_eq!(watch.running.end(signal), (None, Some(number)));
            assert_eq!(
                fs::read_to_string(out).expect("its output").lines().count(),
                1,
                "the last snapshot is at the end"
            );
        }

        // Without any change it still notices that the pipe was closed.
        let mut command = ns.command(["watch", "--source", "poll", "--interval", "50ms", "--for", "2m"]);
        let mut child =
            command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("shmadm");
        drop(child.stdout.take());
        let mut running = Running(child);
        wait_until("it ends", || running.0.try_wait().expect("its exit status").is_some());
        assert_eq!(running.0.wait().expect("its exit status").signal(), Some(13));
    });
}

#[test]
fn a_full_disk_is_reported() {
    in_namespace(|ns| {
        let mut command = ns.command(["watch", "--source", "poll", "--interval", "50ms", "--for", "2m"]);
        let log = ns.path("log");
        command.stdin(Stdio::null()).stdout(File::options().write(true).open("/dev/full").expect("/dev/full"));
        let mut running = Running(command.stderr(File::create(&log).expect("a log")).spawn().expect("shmadm"));
        let log = || fs::read_to_string(&log).expect("the log");
        wait_until("it watches", || log().contains("watching"));
        ns.run("perl", ["-e", "shmget(1, 10, 01600) // die"]);
        wait_until("it ends", || running.0.try_wait().expect("its exit status").is_some());
        assert_eq!(running.0.wait().expect("its exit status").code(), Some(1));
        assert!(log().contains("shmadm: cannot write standard output: No space left on device"), "{}", log());
    });
}

#[test]
fn bad_usage() {
    in_namespace(|ns| {
        for words in [
            &["--interval", "0s"][..],
            &["--interval", "9ms"],
            &["--interval", "5"],
            &["--count", "0"],
            &["--for", "10"],
            &["--format", "json"],
            &["--attached", "--unattached"],
            &["nonsense"],
            &["--source", "ebpf"],
            &["--source", "poll", "--failures"],
        ] {
            ns.shmadm([&["watch"][..], words].concat()).usage_error();
        }
        let nobody = ns.shmadm(["watch", "--owner", "nobody-of-that-name", "--for", "0s"]);
        assert!(nobody.fails(2).contains("there is no user"));
    });
}

#[test]
fn it_works_without_proc() {
    in_namespace_as_root(|ns| {
        let shmadm = shmadm_path();
        for source in ["poll", "auto"] {
            let script = format!("mount -t tmpfs none /proc && exec {shmadm} watch --source {source} --for 0s");
            let ended = crate::support::ended(ns.program("unshare").args(["--mount", "--ipc", "sh", "-c", &script]));
            assert_eq!(ended.code, Some(0), "{ended:?}");
            assert!(ended.err.ends_with("shmadm: watching 0 segments, every 1s (source: poll)\n"), "{ended:?}");
        }
    });
}
