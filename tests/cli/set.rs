//! `set`: what is named changes in the kernel's table, and all else stays.

use std::process::Command;

use crate::support::{Ended, Namespace, ended, in_namespace, in_namespace_as_root, shmadm_path};

// The columns of the kernel's table.
const KEY: usize = 0;
const MODE: usize = 2;
const UID: usize = 7;
const GID: usize = 8;
const CTIME: usize = 13;

/// Runs `set` with these words.
#[track_caller]
fn set(ns: &Namespace, words: &str) -> Ended {
    ns.shmadm(["set"].into_iter().chain(words.split_whitespace()))
}

/// Makes a segment as the user that perl runs as, and returns its identifier.
#[track_caller]
fn make(mut perl: Command, key: i32, size: u32, mode: u32) -> i32 {
    let make = "print shmget($ARGV[0], $ARGV[1], 01000 | $ARGV[2]) // die $!";
    let made = ended(perl.args(["-e", make, &key.to_string(), &size.to_string(), &mode.to_string()]));
    made.ok().parse().expect("an identifier")
}

/// Everything in the kernel's table but the times of the last change, which every change moves.
fn table(ns: &Namespace) -> Vec<Vec<String>> {
    let mut table = ns.table();
    for row in &mut table {
        row.remove(CTIME);
    }
    table
}

/// Runs `set` on the first segment, and expects nothing but that these columns changed to these values.
#[track_caller]
fn changes(ns: &Namespace, words: &str, columns: &[(usize, &str)]) {
    let mut expected = table(ns);
    for (column, value) in columns {
        (*value).clone_into(&mut expected[0][*column]);
    }
    let silent = set(ns, words);
    assert_eq!((silent.code, &*silent.out, &*silent.err), (Some(0), "", ""), "{words}");
    assert_eq!(table(ns), expected, "{words}");
}

/// A user's or group's number, as id(1) and getent(1) know it.
fn number(ns: &Namespace, flag: &str) -> String {
    ns.run("id", [flag, "nobody"]).trim_end().to_owned()
}

#[test]
fn a_mode_changes_alone() {
    in_namespace(|ns| {
        let id = make(ns.program("perl"), 42, 5000, 0o640);
        make(ns.program("perl"), 43, 5000, 0o640);
        let path = ns.path("").display().to_string();
        let ftok = "use IPC::SysV 'ftok'; print shmget(ftok($ARGV[0], 65), 1, 01600) // die $!";
        ns.run("perl", ["-e", ftok, &path]);
        for (mode, shown) in [("604", "604"), ("0777", "777"), ("0", "0"), ("7", "7"), ("660", "660")] {
            changes(ns, &format!("42 --mode {mode}"), &[(MODE, shown)]);
            changes(ns, &format!("id:{id} -m 640"), &[(MODE, "640")]);
        }
        set(ns, &format!("ftok:A:{path} --mode 4")).ok();
        assert_eq!((&*ns.table()[2][MODE], &*ns.table()[0][MODE]), ("4", "640"));
    });
}

#[test]
fn a_lock_is_the_kernels_flag_and_a_mode_keeps_it() {
    in_namespace(|ns| {
        make(ns.program("perl"), 42, 5000, 0o640);
        changes(ns, "42 --unlock", &[]);
        changes(ns, "42 --lock", &[(MODE, "2640")]);
        changes(ns, "42 --lock", &[]);
        changes(ns, "42 --mode 604", &[(MODE, "2604")]);
        changes(ns, "42 --unlock", &[(MODE, "604")]);
        changes(ns, "42 --lock --mode 0", &[(MODE, "2000")]);
        changes(ns, "42 --unlock --mode 600", &[(MODE, "600")]);
    });
}

#[test]
fn an_owner_and_a_group_change_alone_by_number_and_by_name() {
    in_namespace_as_root(|ns| {
        make(ns.program("perl"), 42, 5000, 0o640);
        let (uid, gid) = (number(ns, "-u"), number(ns, "-g"));
        let group = ns.run("id", ["-gn", "nobody"]);
        set(ns, "42 --lock").ok();
        changes(ns, "42 --owner 100000", &[(UID, "100000")]);
        changes(ns, "42 --group 100001", &[(GID, "100001")]);
        changes(ns, "42 --mode 604", &[(MODE, "2604")]);
        changes(ns, "42 --owner nobody", &[(UID, &uid)]);
        changes(ns, &format!("42 --group {group}"), &[(GID, &gid)]);
        changes(ns, "42 --owner 4294967294", &[(UID, "4294967294")]);
        changes(ns, "42 --group 4294967294", &[(GID, "4294967294")]);
        changes(ns, "42 --unlock", &[(MODE, "604")]);
    });
}

#[test]
fn several_changes_at_once() {
    in_namespace_as_root(|ns| {
        make(ns.program("perl"), 42, 5000, 0o640);
        make(ns.program("perl"), 43, 5000, 0o640);
        let all = [(UID, "100000"), (GID, "7"), (MODE, "2604")];
        changes(ns, "42 --owner 100000 --group 7 --mode 604 --lock", &all);
        changes(ns, "--owner=0 --mode=600 --unlock 42", &[(UID, "0"), (MODE, "600")]);
    });
}

#[test]
fn bad_usage_changes_nothing() {
    in_namespace(|ns| {
        make(ns.program("perl"), 42, 5000, 0o640);
        let before = ns.table();
        for words in [
            "",
            "42",
            "--mode 600",
            "42 43 --mode 600",
            "42 --lock --unlock",
            "42 --mode 1600",
            "42 --mode 8",
            "42 --mode rw",
            "42 --mode=",
            "0 --mode 600",
            "42x --mode 600",
            "42 --mode 600 --owner no-such-user",
            "42 --mode 600 --owner 0:0",
            "42 --mode 600 --group no-such-group",
            "42 --mode 600 --owner=",
            "42 --mode 600 --owner=-1",
            "42 --mode 600 --owner 4294967295",
            "42 --mode 600 --group 4294967296",
            // Found before the segment is looked for.
            "43 --owner no-such-user",
        ] {
            set(ns, words).usage_error();
            assert_eq!(ns.table(), before, "{words}");
        }
    });
}

#[test]
fn a_missing_segment_is_exit_3() {
    in_namespace(|ns| {
        make(ns.program("perl"), 42, 5000, 0o640);
        let before = ns.table();
        for segment in ["43", "id:1", "id:32768", "-42", "ftok:A:/"] {
            for change in ["--mode 600", "--owner 0", "--group 0", "--lock", "--unlock"] {
                let error = set(ns, &format!("{segment} {change}")).fails(3);
                assert!(error.contains("no such segment"), "{error}");
            }
        }
        set(ns, "ftok:A:missing --mode 600").fails(1);
        assert_eq!(ns.table(), before);
    });
}

#[test]
fn an_identifier_of_an_index_that_was_used_before_is_not_the_earlier_one() {
    in_namespace(|ns| {
        // The kernel goes through its indices in turn, and then counts a sequence above them.
        let make = "for (1 .. 100_000) {
            my $id = shmget(0, 1, 01600) // die $!;
            if ($id >= 32768) { print $id; exit }
            shmctl($id, 0, 0) or die $!
        }";
        let id: i32 = ns.run("perl", ["-e", make]).parse().expect("an identifier");
        changes(ns, &format!("id:{id} --mode 604"), &[(MODE, "604")]);
        for stale in [id % 32768, id + 32768] {
            let error = set(ns, &format!("id:{stale} --mode 600")).fails(3);
            assert!(error.contains("no such segment"), "{error}");
        }
        assert_eq!(ns.table()[0][MODE], "604");
    });
}

#[test]
fn only_owner_creator_and_root_may() {
    in_namespace_as_root(|ns| {
        let id = make(ns.program("perl"), 42, 5000, 0o666);
        let before = ns.table();
        for change in ["--mode=600", "--owner=1234", "--group=1234", "--lock", "--unlock"] {
            let error = ns.shmadm_unprivileged(["set", "42", change]).fails(1);
            assert!(error.contains("0x0000002a") && error.contains(&format!("id {id}")), "{error}");
            assert_eq!(ns.table(), before, "{change}");
        }
        // The owner may, who did not make it, even what nobody can read; and may give it away.
        set(ns, "42 --owner 1234 --mode 0").ok();
        ns.shmadm_unprivileged(["set", "42", "--mode", "640"]).ok();
        assert_eq!(ns.table()[0][MODE], "640");
        ns.shmadm_unprivileged(["set", "42", "--owner", "0"]).ok();
        assert_eq!(ns.table()[0][UID], "0");
        ns.shmadm_unprivileged(["set", "42", "--mode", "600"]).fails(1);
        assert_eq!(ns.table(), { before_with(ns, &before, "640") });

        // The creator may, who no longer owns it.
        make(ns.unprivileged("perl"), 43, 5000, 0);
        set(ns, "43 --owner 0 --group 0").ok();
        ns.shmadm_unprivileged(["set", "43", "--mode", "604"]).ok();
        assert_eq!(ns.table()[1][UID..=GID], ["0", "0"]);
        assert_eq!((&*ns.table()[1][MODE], &*ns.table()[1][KEY]), ("604", "43"));
    });
}

/// An earlier table with another mode of the first segment, and the time of its last change as it is now.
fn before_with(ns: &Namespace, before: &[Vec<String>], mode: &str) -> Vec<Vec<String>> {
    let mut expected = before.to_vec();
    mode.clone_into(&mut expected[0][MODE]);
    expected[0][CTIME].clone_from(&ns.table()[0][CTIME]);
    expected
}

#[test]
fn a_lock_that_fails_takes_the_mode_back() {
    in_namespace(|ns| {
        let id = make(ns.unprivileged("perl"), 42, 1 << 20, 0o640);
        let before = table(ns);
        for limit in ["4096", "0"] {
            for more in [&[][..], &["--mode", "600"], &["--mode", "0"]] {
                let mut command = ns.unprivileged("prlimit");
                command.args([&format!("--memlock={limit}:{limit}"), "--", shmadm_path()]);
                let error = ended(command.args(["set", "42", "--lock"]).args(more)).fails(1);
                assert!(error.contains("0x0000002a") && error.contains(&format!("id {id}")), "{error}");
                assert!(error.contains("ulimit -l"), "{limit}: {error}");
                assert_eq!(table(ns), before, "{limit} {more:?}");
            }
        }
        // With the limit out of the way it is done.
        changes(ns, "42 --lock --mode 600", &[(MODE, "2600")]);
    });
}

#[test]
fn a_limit_on_locks_is_no_excuse_for_a_stranger() {
    in_namespace_as_root(|ns| {
        make(ns.program("perl"), 42, 5000, 0o666);
        let lock = |ns: &Namespace| {
            let mut command = ns.unprivileged("prlimit");
            ended(command.args(["--memlock=0:0", "--", shmadm_path(), "set", "42", "--lock"])).fails(1)
        };
        let error = lock(ns);
        assert!(error.contains("only its owner") && !error.contains("ulimit"), "{error}");
        // To the owner, who did not make it and may not read it, and to the creator it is the reason.
        set(ns, "42 --owner 1234 --mode 0").ok();
        assert!(lock(ns).contains("ulimit -l"));
        ns.shmadm(["remove", "42"]).ok();
        make(ns.unprivileged("perl"), 42, 5000, 0);
        set(ns, "42 --owner 0").ok();
        assert!(lock(ns).contains("ulimit -l"));
    });
}

#[test]
fn a_marked_segment_can_be_changed_by_its_identifier() {
    in_namespace(|ns| {
        ns.shmadm(["create", "42", "--size", "4K", "-m", "640"]).ok();
        let _holder = ns.hold(["attach-write", "42", "x", "--hold"]);
        ns.run("ipcrm", ["-m", "0"]);
        assert_eq!(ns.table()[0][MODE], "1640");
        set(ns, "42 --mode 600").fails(3);
        changes(ns, "id:0 --mode 604", &[(MODE, "1604")]);
        changes(ns, "id:0 --lock", &[(MODE, "3604")]);
    });
}

#[test]
fn trace_shows_the_calls() {
    in_namespace(|ns| {
        make(ns.program("perl"), 42, 5000, 0o640);
        for (words, call) in [
            ("42 --mode 600", "shmctl(0, IPC_SET"),
            ("id:0 --owner 0", "shmctl(0, IPC_SET"),
            ("42 --lock", "shmctl(0, SHM_LOCK, NULL) = 0"),
            ("42 --unlock", "shmctl(0, SHM_UNLOCK, NULL) = 0"),
        ] {
            let traced = set(ns, &format!("--trace {words}"));
            let made = traced.err.lines().any(|line| line.starts_with(call) && line.ends_with(" = 0"));
            assert!(made, "{call}: {traced:?}");
            // What was not asked for is not called: neither IPC_SET for a lock nor the other way about.
            let changing = ["IPC_SET", "SHM_LOCK", "SHM_UNLOCK", "IPC_RMID"];
            let called = traced.err.lines().filter(|line| changing.iter().any(|name| line.contains(name)));
            assert_eq!(called.count(), 1, "{words}: {traced:?}");
            traced.ok();
        }
        let failed = ns.shmadm(["--trace", "set", "id:9", "--mode", "600"]);
        assert!(failed.code == Some(3) && failed.err.contains("EINVAL"), "{failed:?}");
    });
}
