//! The filters of list and remove, and removal by them.

mod process;
mod removal;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::thread::sleep;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::support::{
    Ended, Namespace, Row, Running, ended, in_namespace, in_namespace_as_root, shmadm_path, state_of, wait_until,
    with_input,
};

// Columns of the kernel's table.
const CPID: usize = 4;

/// Long enough for `--older-than 4s`, in whichever direction seconds are rounded.
const AGE: Duration = Duration::from_secs(5);

const NONE: [i32; 0] = [];

/// A perl program that creates a segment and prints its identifier.
const MAKE: &str = "$| = 1; print 0 + shmget($ARGV[0], $ARGV[1], 01666), qq{\\n};";

/// Returns the identifier that perl prints as `5`, and shmadm as `id:5`.
#[track_caller]
fn number(printed: &str) -> i32 {
    printed.trim_start_matches("id:").parse().expect("an identifier")
}

/// Expects success and only an identifier as output.
#[track_caller]
fn id_of(printed: Ended) -> i32 {
    number(printed.ok().trim_end())
}

/// Creates a segment as this user. Its creator has exited.
#[track_caller]
fn create(ns: &Namespace, words: &str) -> i32 {
    id_of(ns.shmadm(["create", "-q"].into_iter().chain(words.split(' '))))
}

/// Creates a segment as user 1234. Its creator has exited.
#[track_caller]
fn create_as_other(ns: &Namespace, key: &str, size: &str) -> i32 {
    id_of(ended(ns.unprivileged("perl").args(["-e", MAKE, key, size])))
}

/// Creates a segment in a process that continues to run; with `MAKE;` this process is the creator.
#[track_caller]
fn create_and_stay(ns: &Namespace, program: &str) -> (i32, Running) {
    let mut perl = ns.program("perl");
    perl.args(["-e", &program.replace("MAKE;", MAKE), "0", "4096"]).stdin(Stdio::null()).stdout(Stdio::piped());
    let mut perl = Running(perl.spawn().expect("perl"));
    let mut line = String::new();
    BufReader::new(perl.0.stdout.take().expect("a pipe")).read_line(&mut line).expect("a line");
    (line.trim_end().parse().expect("an identifier"), perl)
}

/// Attaches a segment until the end of the test.
#[track_caller]
fn hold(ns: &Namespace, id: i32) -> Running {
    ns.hold(["read", &format!("id:{id}"), "--hold"])
}

/// Runs shmadm with the words of a line.
#[track_caller]
fn run(ns: &Namespace, words: &str) -> Ended {
    ns.shmadm(words.split(' '))
}

fn sorted(ids: impl IntoIterator<Item = i32>) -> Vec<i32> {
    let mut ids: Vec<_> = ids.into_iter().collect();
    ids.sort_unstable();
    ids
}

/// Returns the identifiers in the kernel's table.
fn existing(ns: &Namespace) -> Vec<i32> {
    sorted(ns.table().iter().map(|row| row.id.parse().expect("an identifier")))
}

/// Returns the identifiers that `list` shows with these filters.
#[track_caller]
fn listed(ns: &Namespace, filters: &str) -> Vec<i32> {
    let quiet = run(ns, &format!("list -q {filters}")).ok();
    sorted(quiet.lines().map(number))
}

/// Returns the outcome for each segment from the JSON of `remove`.
#[track_caller]
fn outcomes(printed: &str) -> BTreeMap<i32, String> {
    let json: Value = serde_json::from_str(printed).expect("JSON");
    let one = |removal: &Value| {
        let id = removal["id"].as_i64().and_then(|id| id.try_into().ok()).expect("an identifier");
        (id, removal["outcome"].as_str().expect("an outcome").to_owned())
    };
    json["removed"].as_array().expect("an array").iter().map(one).collect()
}

fn all(ids: &[i32], outcome: &str) -> BTreeMap<i32, String> {
    ids.iter().map(|id| (*id, outcome.to_owned())).collect()
}

/// Returns the time since a segment was created or changed, as a duration for a filter. A segment created [`AGE`] later
/// is younger, even on a slow machine.
fn age_of(ns: &Namespace, id: i32) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a time").as_secs();
    let change: u64 = ns.row(id).expect("a row").ctime.parse().expect("seconds");
    format!("{}s", now - change)
}

fn is_marked(ns: &Namespace, id: i32) -> bool {
    ns.row(id).is_some_and(|row| row.mode.len() == 4 && row.mode.starts_with('1'))
}

#[test]
fn only_old_unattached_segments_of_the_caller_are_removed() {
    in_namespace_as_root(|ns| {
        ns.open_to_all();
        let batch = || {
            let ours = [create(ns, "private -s 1"), create(ns, "private -s 2"), create(ns, "private -s 3")];
            let theirs = [create_as_other(ns, "0", "1"), create_as_other(ns, "0", "2"), create_as_other(ns, "0", "3")];
            (ours, theirs)
        };
        let (ours, theirs) = batch();
        sleep(AGE);
        let young = batch();
        let _holders = [ours[0], theirs[0], young.0[0], young.1[0]].map(|id| hold(ns, id));
        let mut left = existing(ns);
        assert_eq!(left.len(), 12);
        for (unprivileged, chosen) in [(false, &ours[1..]), (true, &theirs[1..])] {
            let filters = format!("--mine --unattached --older-than {}", age_of(ns, theirs[2]));
            let shmadm = |words: String| match unprivileged {
                true => ns.shmadm_unprivileged(words.split(' ')),
                false => ns.shmadm(words.split(' ')),
            };
            let list = shmadm(format!("list -q {filters}")).ok();
            assert_eq!(sorted(list.lines().map(number)), chosen);
            let dry = shmadm(format!("remove {filters} --dry-run -f json")).ok();
            assert_eq!(outcomes(&dry), all(chosen, "would-remove"));
            assert_eq!(existing(ns), left);
            let removed = shmadm(format!("remove {filters} -y -f json")).ok();
            assert_eq!(outcomes(&removed), all(chosen, "removed"));
            left.retain(|id| !chosen.contains(id));
            assert_eq!(existing(ns), left);
            assert!(!left.iter().any(|id| is_marked(ns, *id)));
        }
    });
}

#[test]
fn each_filter_agrees_with_the_kernels_table_and_several_must_all_match() {
    in_namespace_as_root(|ns| {
        let group = ns.run("id", ["-gn", "nobody"]).trim_end().to_owned();
        let (uid, gid) = (ns.run("id", ["-u", "nobody"]), ns.run("id", ["-g", "nobody"]));
        let (uid, gid) = (uid.trim_end(), gid.trim_end());
        let a = create(ns, "0x2a -s 4096");
        let b = create(ns, "0x50 -s 8192");
        let c = create_as_other(ns, "0", "1000000");
        let d = create(ns, &format!("-5 -s 100 --owner nobody:{group}"));
        let before = run(ns, "list -f json").ok();
        ns.file("before", before);
        sleep(AGE);
        let (e, _creator) = create_and_stay(ns, "MAKE; sleep");
        let f = create(ns, "7 -s 4097");
        let _holders = [hold(ns, b), hold(ns, f)];
        ns.run("ipcrm", ["-m", &f.to_string()]);

        // Checks the kernel's rows, which the cases below assume.
        let rows: Vec<_> = [a, b, c, d, e, f].map(|id| ns.row(id).expect("a row")).into();
        let columns = |column: fn(&Row) -> &String| rows.iter().map(column).collect::<Vec<_>>();
        assert_eq!(columns(|row| &row.key), ["42", "80", "0", "-5", "0", "0"]);
        assert_eq!(columns(|row| &row.nattch), ["0", "1", "0", "0", "0", "1"]);
        assert_eq!(columns(|row| &row.uid), ["0", "0", "1234", uid, "0", "0"]);
        assert_eq!(columns(|row| &row.gid), ["0", "0", "1234", gid, "0", "0"]);
        assert_eq!(columns(|row| &row.cuid), ["0", "0", "1234", "0", "0", "0"]);
        assert!(is_marked(ns, f));

        for (filters, expected) in [
            ("--owner root", vec![a, b, e, f]),
            ("--owner 0", vec![a, b, e, f]),
            ("--owner 1234", vec![c]),
            ("--owner nobody", vec![d]),
            ("--owner 4321", vec![]),
            ("--mine", vec![a, b, e, f]),
            ("--creator-user root", vec![a, b, d, e, f]),
            ("--creator-user 1234", vec![c]),
            ("--creator-user nobody", vec![]),
            (&format!("--group {group}"), vec![d]),
            ("--group 1234", vec![c]),
            ("--group 0", vec![a, b, e, f]),
            ("--key 0x2a", vec![a]),
            ("--key 052", vec![a]),
            ("--key 43", vec![]),
            ("--key 0x2a-0x50", vec![a, b]),
            ("--key 0x2b-0x50", vec![b]),
            ("--key 0x2a-0x4f", vec![a]),
            ("--key -5", vec![d]),
            ("--key 0xfffffffb", vec![d]),
            ("--key=-6--5", vec![d]),
            ("--key -4--1", vec![]),
            ("--key 80-0xffffffff", vec![b, d]),
            // A marked segment has no key.
            ("--key private", vec![c, e, f]),
            ("--key 7", vec![]),
            ("--attached", vec![b, f]),
            ("--unattached", vec![a, c, d, e]),
            ("--creator-exited", vec![a, b, c, d, f]),
            ("--orphaned", vec![a, c, d]),
            ("--marked", vec![f]),
            ("--min-size 4097", vec![b, c, f]),
            ("--min-size 8K", vec![b, c]),
            ("--max-size 4K", vec![a, d, e]),
            ("--max-size 99", vec![]),
            ("--older-than AGE", vec![a, b, c, d]),
            ("--older-than 1h", vec![]),
            // Attached after that time.
            ("--idle AGE", vec![a, c, d]),
            ("--not-in before", vec![e, f]),
            // Each filter excludes a segment that the other one includes.
            ("--owner root --unattached", vec![a, e]),
            ("--creator-user root --owner nobody", vec![d]),
            ("--orphaned --max-size 4K", vec![a, d]),
            ("--min-size 4K --max-size 8K", vec![a, b, e, f]),
            ("--not-in before --key private --unattached", vec![e]),
            ("--older-than AGE --attached --mine", vec![b]),
            ("--marked --creator-user 1234", vec![]),
        ] {
            let filters = &filters.replace("AGE", &age_of(ns, d));
            assert_eq!(listed(ns, filters), expected, "{filters}");
            let dry = run(ns, &format!("remove -n -f json --include-attached {filters}")).ok();
            assert_eq!(outcomes(&dry), all(&expected, "would-remove"), "{filters}");
        }
        assert_eq!(existing(ns), sorted([a, b, c, d, e, f]));
    });
}

#[test]
fn a_segment_is_an_orphan_if_its_creator_is_dead_or_a_zombie() {
    in_namespace(|ns| {
        let (live, creator) = create_and_stay(ns, "MAKE; sleep");
        let (of_zombie, _parent) = create_and_stay(ns, "if (!fork) { MAKE; exit } sleep");
        let zombie = ns.row(of_zombie).expect("a row").cpid.clone();
        wait_until("it is a zombie", || state_of(number(&zombie)) == "Z");
        let dead = create(ns, "private -s 1");
        for filter in ["--orphaned", "--creator-exited"] {
            assert_eq!(listed(ns, filter), [of_zombie, dead], "{filter}");
        }
        let removed = run(ns, "remove --orphaned -y -f json").ok();
        assert_eq!(outcomes(&removed), all(&[of_zombie, dead], "removed"));
        assert_eq!(existing(ns), [live]);
        creator.end(Signal::SIGKILL);
        assert_eq!(listed(ns, "--orphaned"), [live]);
    });
}

#[test]
fn a_creator_in_another_pid_namespace_has_not_exited() {
    in_namespace_as_root(|ns| {
        let (live, _creator) = create_and_stay(ns, "MAKE; sleep");
        let dead = create(ns, "private -s 1");
        let inside = |proc: &[&str], script: &str| {
            let mut command = ns.program("unshare");
            command.args(["--pid", "--fork"]).args(proc).args(["sh", "-c", script]);
            ended(command.arg(shmadm_path()).stdin(Stdio::null())).ok()
        };
        let rows = inside(&["--mount-proc"], "cat /proc/sysvipc/shm");
        assert!(rows.lines().skip(1).all(|row| row.split_whitespace().nth(CPID) == Some("0")), "{rows}");
        for proc in [&["--mount-proc"][..], &[]] {
            let creators = inside(proc, "$0 list -f raw -o creator --no-headings");
            assert_eq!(creators.lines().collect::<Vec<_>>(), ["unknown"; 2], "{proc:?}");
        }
        for filter in ["--orphaned", "--creator-exited"] {
            // A segment created there is an orphan there. With this /proc, which shows other pids, even that is
            // unknown.
            let script = format!("$0 create -q private -s 1 && $0 list -q {filter} && $0 remove {filter} -y -q");
            assert_eq!(inside(&[], &script).lines().count(), 1, "{filter}");
            let own = inside(&["--mount-proc"], &script);
            let own: Vec<_> = own.lines().collect();
            assert_eq!((own.len(), own[0]), (2, own[1]), "{filter}");
        }
        let left = existing(ns);
        assert!(left.len() == 4 && left.contains(&live) && left.contains(&dead), "{left:?}");
    });
}

#[test]
fn an_unnamed_removal_needs_a_filter_and_consent() {
    in_namespace(|ns| {
        let ids = [create(ns, "1 -s 1"), create(ns, "2 -s 8K")];
        for words in ["remove", "remove -y", "remove -n", "remove --include-attached -y"] {
            run(ns, words).usage_error();
        }
        for words in ["remove --all", "remove --mine", "remove --unattached -f json"] {
            let refused = run(ns, words);
            assert_eq!(refused.code, Some(2), "{refused:?}");
            assert!(refused.err.contains("--yes"), "{refused:?}");
            // An answer is not read from a pipe either.
            assert_eq!(ns.shmadm_with_input(words.split(' '), b"y\n").code, Some(2), "{words}");
        }
        let nothing = run(ns, "remove --min-size 1G -y");
        assert_eq!((nothing.code, nothing.out.as_str()), (Some(0), ""));
        assert_eq!(nothing.err, "shmadm: no segment matches: nothing to remove\n");
        assert_eq!(run(ns, "remove --min-size 1G -y -q").err, "");
        assert_eq!(outcomes(&run(ns, "remove --min-size 1G -y -f json").ok()), BTreeMap::new());
        assert_eq!(existing(ns), ids);

        let line = format!("removed segment 0x00000002 (id {}, 8192 bytes)\n", ids[1]);
        assert_eq!(run(ns, "remove --min-size 8K -y").ok(), line);
        assert_eq!(existing(ns), ids[..1]);
        let quiet = run(ns, "remove --all -y -q");
        assert_eq!((quiet.code, quiet.out.as_str(), quiet.err.as_str()), (Some(0), "", ""));
        assert_eq!(existing(ns), NONE);
        assert_eq!(run(ns, "remove --all -y").code, Some(0));
    });
}

#[test]
fn on_a_terminal_it_asks() {
    in_namespace(|ns| {
        let ids = [create(ns, "1 -s 1"), create(ns, "2 -s 8K"), create(ns, "3 -s 8K")];
        let asked = |line: &str, answer: &[u8]| {
            let line = line.replace("SHMADM", shmadm_path());
            with_input(ns.program("script").args(["-qec", &line, "/dev/null"]), answer)
        };
        for answer in ["n\n", "\n", "nonsense\n", "\u{4}"] {
            let no = asked("SHMADM remove --min-size 8K", answer.as_bytes());
            assert!(no.code == Some(1) && no.out.contains("2 segments"), "{answer:?}: {no:?}");
            assert_eq!(existing(ns), ids, "{answer:?}");
        }
        // One stream on a terminal is not enough.
        let refused = asked("echo y | SHMADM remove --all; one=$?; SHMADM remove --all 2>errors; exit $one$?", b"y\n");
        assert_eq!((refused.code, existing(ns)), (Some(22), ids.to_vec()), "{refused:?}");
        let yes = asked("SHMADM remove --min-size 8K", b"y\n");
        assert!(yes.code == Some(0) && yes.out.contains("removed segment 0x00000003"), "{yes:?}");
        assert_eq!(existing(ns), ids[..1]);
        // Without a matching segment, and in a dry run, nothing is asked.
        let nothing = asked("SHMADM remove --min-size 8K && SHMADM remove --all -n", b"");
        assert_eq!(nothing.code, Some(0), "{nothing:?}");
        assert_eq!(existing(ns), ids[..1]);
    });
}

#[test]
fn attached_segments_are_skipped_unless_included() {
    in_namespace(|ns| {
        let [held, free] = ["1 -s 1", "2 -s 1"].map(|words| create(ns, words));
        let holder = hold(ns, held);
        let removed = run(ns, "remove --mine -y -f json");
        assert!(removed.err.starts_with("shmadm: ") && removed.err.contains("--include-attached"), "{removed:?}");
        assert_eq!(outcomes(&removed.ok()), all(&[free], "removed"));
        assert!(existing(ns) == [held] && !is_marked(ns, held));
        assert_eq!(run(ns, "remove --attached -y").ok(), "");
        assert!(existing(ns) == [held] && !is_marked(ns, held));

        let marked = run(ns, "remove --attached --include-attached -y -f json");
        assert_eq!((outcomes(&marked.out), marked.err.as_str()), (all(&[held], "marked"), ""));
        assert!(marked.code == Some(0) && is_marked(ns, held));
        holder.end(Signal::SIGTERM);
        assert_eq!(existing(ns), NONE);
    });
}
