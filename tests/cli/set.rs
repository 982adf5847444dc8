//! `set`: exactly the named properties change in the kernel's table.

use std::process::Command;

use crate::support::{Ended, Namespace, Need, Row, ended, in_namespace, in_namespace_as_root, needs, shmadm_path};

/// Runs `set` with these words.
#[track_caller]
fn set(ns: &Namespace, words: &str) -> Ended {
    ns.shmadm(["set"].into_iter().chain(words.split_whitespace()))
}

/// Creates a segment as the user of this perl. Returns its identifier.
#[track_caller]
fn create(mut perl: Command, key: i32, size: u32, mode: u32) -> i32 {
    let make = "print shmget($ARGV[0], $ARGV[1], 01000 | $ARGV[2]) // die $!";
    let created = ended(perl.args(["-e", make, &key.to_string(), &size.to_string(), &mode.to_string()]));
    created.ok().parse().expect("an identifier")
}

/// Returns the kernel's table without the times of the last change, which every change updates.
fn table(ns: &Namespace) -> Vec<Row> {
    let mut table = ns.table();
    for row in &mut table {
        row.ctime.clear();
    }
    table
}

/// Runs `set` on the first segment, and expects only this change in its row.
#[track_caller]
fn changes(ns: &Namespace, words: &str, change: impl Fn(&mut Row)) {
    let mut expected = table(ns);
    change(&mut expected[0]);
    let silent = set(ns, words);
    assert_eq!((silent.code, &*silent.out, &*silent.err), (Some(0), "", ""), "{words}");
    assert_eq!(table(ns), expected, "{words}");
}

/// Returns a user's or group's number, as id(1) and getent(1) know it.
fn number(ns: &Namespace, flag: &str) -> String {
    ns.run("id", [flag, "nobody"]).trim_end().to_owned()
}

#[test]
fn a_mode_changes_alone() {
    in_namespace(|ns| {
        let id = create(ns.program("perl"), 42, 5000, 0o640);
        create(ns.program("perl"), 43, 5000, 0o640);
        let path = ns.path("").display().to_string();
        let ftok = "use IPC::SysV 'ftok'; print shmget(ftok($ARGV[0], 65), 1, 01600) // die $!";
        ns.run("perl", ["-e", ftok, &path]);
        for (mode, shown) in [("604", "604"), ("0777", "777"), ("0", "0"), ("7", "7"), ("660", "660")] {
            changes(ns, &format!("42 --mode {mode}"), |row| row.mode = shown.into());
            changes(ns, &format!("id:{id} -m 640"), |row| row.mode = "640".into());
        }
        set(ns, &format!("ftok:A:{path} --mode 4")).ok();
        assert_eq!((&*ns.table()[2].mode, &*ns.table()[0].mode), ("4", "640"));
    });
}

#[test]
fn a_lock_is_the_kernels_flag_and_a_mode_keeps_it() {
    in_namespace(|ns| {
        create(ns.program("perl"), 42, 5000, 0o640);
        changes(ns, "42 --unlock", |_| ());
        changes(ns, "42 --lock", |row| row.mode = "2640".into());
        changes(ns, "42 --lock", |_| ());
        changes(ns, "42 --mode 604", |row| row.mode = "2604".into());
        changes(ns, "42 --unlock", |row| row.mode = "604".into());
        changes(ns, "42 --lock --mode 0", |row| row.mode = "2000".into());
        changes(ns, "42 --unlock --mode 600", |row| row.mode = "600".into());
    });
}

#[test]
fn an_owner_and_a_group_change_alone_by_number_and_by_name() {
    in_namespace_as_root(|ns| {
        create(ns.program("perl"), 42, 5000, 0o640);
        let (uid, gid) = (number(ns, "-u"), number(ns, "-g"));
        let group = ns.run("id", ["-gn", "nobody"]);
        set(ns, "42 --lock").ok();
        changes(ns, "42 --owner 100000", |row| row.uid = "100000".into());
        changes(ns, "42 --group 100001", |row| row.gid = "100001".into());
        changes(ns, "42 --mode 604", |row| row.mode = "2604".into());
        changes(ns, "42 --owner nobody", |row| row.uid.clone_from(&uid));
        changes(ns, &format!("42 --group {group}"), |row| row.gid.clone_from(&gid));
        changes(ns, "42 --owner 4294967294", |row| row.uid = "4294967294".into());
        changes(ns, "42 --group 4294967294", |row| row.gid = "4294967294".into());
        changes(ns, "42 --unlock", |row| row.mode = "604".into());
    });
}

#[test]
fn several_changes_at_once() {
    in_namespace_as_root(|ns| {
        create(ns.program("perl"), 42, 5000, 0o640);
        create(ns.program("perl"), 43, 5000, 0o640);
        let all = |row: &mut Row| (row.uid, row.gid, row.mode) = ("100000".into(), "7".into(), "2604".into());
        changes(ns, "42 --owner 100000 --group 7 --mode 604 --lock", all);
        changes(ns, "--owner=0 --mode=600 --unlock 42", |row| (row.uid, row.mode) = ("0".into(), "600".into()));
    });
}

#[test]
fn each_of_several_segments_is_changed() {
    in_namespace(|ns| {
        for key in [42, 43, 44] {
            create(ns.program("perl"), key, 5000, 0o640);
        }
        let modes = || ns.table().into_iter().map(|row| row.mode).collect::<Vec<_>>();
        set(ns, "42 id:2 --mode 600").ok();
        assert_eq!(modes(), ["600", "640", "600"]);
        // A missing segment does not prevent changes of the others.
        let failed = set(ns, "42 9 43 id:9 --mode 604");
        assert_eq!((failed.code, failed.err.lines().count()), (Some(3), 2), "{failed:?}");
        assert!(failed.err.contains("0x00000009") && failed.err.contains("id:9"), "{failed:?}");
        assert_eq!(modes(), ["604", "604", "600"]);
    });
}

#[test]
fn an_owner_and_a_group_in_one_word() {
    in_namespace_as_root(|ns| {
        create(ns.program("perl"), 42, 5000, 0o640);
        let group = ns.run("id", ["-gn", "nobody"]);
        let (uid, gid) = (number(ns, "-u"), number(ns, "-g"));
        changes(ns, "42 --owner 100000:100001", |row| (row.uid, row.gid) = ("100000".into(), "100001".into()));
        changes(ns, &format!("42 --owner nobody:{}", group.trim_end()), |row| {
            (row.uid, row.gid) = (uid.clone(), gid.clone());
        });
    });
}

/// A script that runs shmadm in a user namespace, which maps 0 to user 1234, 65534 to itself, and no other number.
const IN_USER_NAMESPACE: &str = r#"
    pipe(my $made, my $made_end); pipe(my $mapped, my $mapped_end);
    my $pid = fork();
    if (!$pid) {
        syscall(272, 0x10000000) == 0 or die "unshare: $!";
        syswrite($made_end, "x"); sysread($mapped, my $byte, 1);
        $( = 0; $) = "0 0"; $< = 0; $> = 0;
        exec @ARGV;
    }
    sysread($made, my $byte, 1);
    for my $map ("uid_map", "gid_map") {
        open(my $file, ">", "/proc/$pid/$map") or die "$map: $!";
        syswrite($file, "0 1234 1\n65534 65534 1\n") or die "$map: $!";
    }
    syswrite($mapped_end, "x"); waitpid($pid, 0); exit($? >> 8);
"#;

#[test]
fn an_owner_without_a_number_here_is_not_changed() {
    in_namespace_as_root(|ns| {
        create(ns.unprivileged("perl"), 42, 5000, 0o640);
        ns.open_to_all();
        let inside = |words: &str| {
            let mut perl = ns.program("perl");
            perl.args(["-e", IN_USER_NAMESPACE, shmadm_path(), "set", "42"]).args(words.split(' '));
            ended(&mut perl)
        };
        // One of the two numbers is mapped here.
        for (owner, what) in [("5555:1234", "owner"), ("1234:5555", "group"), ("65534:1234", "owner")] {
            set(ns, &format!("42 --owner {owner} --mode 640")).ok();
            let before = ns.table();
            for words in ["--mode 600", "--mode 600 --lock"] {
                let error = inside(words).fails(1);
                assert!(error.contains(what) && error.contains(&format!("name the {what} with --{what}")), "{error}");
                assert_eq!(ns.table(), before, "{owner}: {words}");
            }
            inside("--lock").ok();
            set(ns, "42 --unlock").ok();
            inside("--mode 600 --owner 0:0").ok();
            let row = &ns.table()[0];
            assert_eq!((&*row.uid, &*row.gid, &*row.mode), ("1234", "1234", "600"));
        }
        inside("--mode 604").ok();
    });
}

#[test]
fn bad_usage_changes_nothing() {
    in_namespace(|ns| {
        create(ns.program("perl"), 42, 5000, 0o640);
        let before = ns.table();
        for words in [
            "",
            "42",
            "--mode 600",
            "42 --lock --unlock",
            "42 --mode 1600",
            "42 --mode 8",
            "42 --mode rw",
            "42 --mode=",
            "0 --mode 600",
            "42x --mode 600",
            "42 --mode 600 --owner no-such-user",
            "42 --mode 600 --owner 0:no-such-group",
            "42 --mode 600 --owner 0:",
            "42 --mode 600 --owner :0",
            "42 --mode 600 --owner 0:0 --group 0",
            "42 --mode 600 --group no-such-group",
            "42 --mode 600 --owner=",
            "42 --mode 600 --owner=-1",
            "42 --mode 600 --owner 4294967295",
            "42 --mode 600 --group 4294967296",
            // This error is found before the segment is looked up.
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
        create(ns.program("perl"), 42, 5000, 0o640);
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
fn an_identifier_with_a_reused_index_is_not_the_earlier_one() {
    in_namespace(|ns| {
        // The kernel uses its indices in turn, and then increments a sequence number in the higher bits (ipc/util.h).
        let make = "for (1 .. 100_000) {
            my $id = shmget(0, 1, 01600) // die $!;
            if ($id >= 32768) { print $id; exit }
            shmctl($id, 0, 0) or die $!
        }";
        let id: i32 = ns.run("perl", ["-e", make]).parse().expect("an identifier");
        changes(ns, &format!("id:{id} --mode 604"), |row| row.mode = "604".into());
        for stale in [id % 32768, id + 32768] {
            let error = set(ns, &format!("id:{stale} --mode 600")).fails(3);
            assert!(error.contains("no such segment"), "{error}");
        }
        assert_eq!(ns.table()[0].mode, "604");
    });
}

#[test]
fn only_owner_creator_and_root_may_change_a_segment() {
    in_namespace_as_root(|ns| {
        let id = create(ns.program("perl"), 42, 5000, 0o666);
        let before = ns.table();
        for change in ["--mode=600", "--owner=1234", "--group=1234", "--lock", "--unlock"] {
            let error = ns.shmadm_unprivileged(["set", "42", change]).fails(1);
            assert!(error.contains("0x0000002a") && error.contains(&format!("id {id}")), "{error}");
            assert_eq!(ns.table(), before, "{change}");
        }
        // An owner who is not the creator may change it, even to mode 0, and may set another owner.
        set(ns, "42 --owner 1234 --mode 0").ok();
        ns.shmadm_unprivileged(["set", "42", "--mode", "640"]).ok();
        assert_eq!(ns.table()[0].mode, "640");
        ns.shmadm_unprivileged(["set", "42", "--owner", "0"]).ok();
        assert_eq!(ns.table()[0].uid, "0");
        ns.shmadm_unprivileged(["set", "42", "--mode", "600"]).fails(1);
        assert_eq!(ns.table(), { before_with(ns, &before, "640") });

        // A creator who is not the owner may change it.
        create(ns.unprivileged("perl"), 43, 5000, 0);
        set(ns, "43 --owner 0 --group 0").ok();
        ns.shmadm_unprivileged(["set", "43", "--mode", "604"]).ok();
        assert_eq!((&*ns.table()[1].uid, &*ns.table()[1].gid), ("0", "0"));
        assert_eq!((&*ns.table()[1].mode, &*ns.table()[1].key), ("604", "43"));
    });
}

/// Returns an earlier table, changed so: the first segment has this mode, and its current time of last change.
fn before_with(ns: &Namespace, before: &[Row], mode: &str) -> Vec<Row> {
    let mut expected = before.to_vec();
    mode.clone_into(&mut expected[0].mode);
    expected[0].ctime.clone_from(&ns.table()[0].ctime);
    expected
}

#[test]
fn a_failed_lock_restores_the_mode() {
    in_namespace(|ns| {
        let id = create(ns.unprivileged("perl"), 42, 1 << 20, 0o640);
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
        // Without the limit it succeeds.
        changes(ns, "42 --lock --mode 600", |row| row.mode = "2600".into());
    });
}

#[test]
fn without_permission_the_lock_limit_is_not_blamed() {
    in_namespace_as_root(|ns| {
        create(ns.program("perl"), 42, 5000, 0o666);
        let lock = |ns: &Namespace| {
            let mut command = ns.unprivileged("prlimit");
            ended(command.args(["--memlock=0:0", "--", shmadm_path(), "set", "42", "--lock"])).fails(1)
        };
        let error = lock(ns);
        assert!(error.contains("only its owner") && !error.contains("ulimit"), "{error}");
        // For an owner who is not the creator and has no read permission, and for the creator, the limit is the reason.
        set(ns, "42 --owner 1234 --mode 0").ok();
        assert!(lock(ns).contains("ulimit -l"));
        ns.shmadm(["remove", "42"]).ok();
        create(ns.unprivileged("perl"), 42, 5000, 0);
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
        assert_eq!(ns.table()[0].mode, "1640");
        set(ns, "42 --mode 600").fails(3);
        changes(ns, "id:0 --mode 604", |row| row.mode = "1604".into());
        changes(ns, "id:0 --lock", |row| row.mode = "3604".into());
    });
}

#[test]
fn trace_shows_the_calls() {
    in_namespace(|ns| {
        create(ns.program("perl"), 42, 5000, 0o640);
        for (words, call) in [
            ("42 --mode 600", "shmctl(0, IPC_SET"),
            ("id:0 --owner 0", "shmctl(0, IPC_SET"),
            ("42 --lock", "shmctl(0, SHM_LOCK, NULL) = 0"),
            ("42 --unlock", "shmctl(0, SHM_UNLOCK, NULL) = 0"),
        ] {
            let traced = set(ns, &format!("--trace {words}"));
            let is_called = traced.err.lines().any(|line| line.starts_with(call) && line.ends_with(" = 0"));
            assert!(is_called, "{call}: {traced:?}");
            // Only the necessary calls are made: no IPC_SET for a lock, and no lock for a mode.
            let changing = ["IPC_SET", "SHM_LOCK", "SHM_UNLOCK", "IPC_RMID"];
            let called = traced.err.lines().filter(|line| changing.iter().any(|name| line.contains(name)));
            assert_eq!(called.count(), 1, "{words}: {traced:?}");
            traced.ok();
        }
        let failed = ns.shmadm(["--trace", "set", "id:9", "--mode", "600"]);
        assert!(failed.code == Some(3) && failed.err.contains("EINVAL"), "{failed:?}");
    });
}

#[test]
fn a_lock_that_cannot_be_undone_is_told() {
    in_namespace_as_root(|ns| {
        needs(Need::Strace);
        create(ns.program("perl"), 42, 5000, 0o640);
        // The calls look, lock, set the mode, and unlock.
        for (fails, mode, told) in [("3", "640", false), ("3+", "2640", true)] {
            let mut strace = ns.program("strace");
            strace.args(["-qq", "-o", "log", "-e", &format!("inject=shmctl:error=EPERM:when={fails}")]);
            let error = ended(strace.args([shmadm_path(), "set", "42", "--lock", "--mode", "600"])).fails(1);
            assert_eq!(error.contains("; it is locked now"), told, "{error}");
            assert_eq!(ns.table()[0].mode, mode, "{error}");
        }
    });
}
