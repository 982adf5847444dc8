//! Names of users and groups: from the files in /etc, and from name services only through getent(1).

use std::path::Path;

use crate::support::{Ended, Namespace, Need, ended, in_namespace_as_root, needs, peak_kib, shmadm_path, skip};

/// Runs a line of sh in a new mount namespace, where `$SHMADM` is the program.
#[track_caller]
fn in_mounts(ns: &Namespace, line: &str) -> Ended {
    let mut unshare = ns.program("unshare");
    ended(unshare.args(["--mount", "sh", "-ec", line]).env("SHMADM", shmadm_path()))
}

/// Replaces getent(1) by a script.
fn getent_is(ns: &Namespace, script: &str) -> String {
    let path = ns.file("getent", format!("#!/bin/sh\n{script}\n"));
    ns.run("chmod", ["755".as_ref(), path.as_os_str()]);
    format!("mount --bind {} /usr/bin/getent", path.display())
}

#[test]
fn a_user_known_only_to_the_name_services() {
    in_namespace_as_root(|ns| {
        if !Path::new("/var/lib/extrausers").is_dir() {
            skip("libnss-extrausers is not installed");
        }
        ns.file("nsswitch.conf", "passwd: files extrausers\ngroup: files extrausers\n");
        ns.file("passwd", "directory:x:31234:31234::/:/bin/sh\n");
        ns.file("group", "staff-of-ldap:x:31234:\n");
        let printed = in_mounts(
            ns,
            "mount --bind nsswitch.conf /etc/nsswitch.conf
             mount -t tmpfs none /var/lib/extrausers && cp passwd group /var/lib/extrausers
             $SHMADM create 0x2a --size 4K --owner directory:staff-of-ldap -q
             $SHMADM create 0x2c --size 4K --owner 31236 -q
             $SHMADM list -o key,owner,uid,group --no-headings -f raw
             $SHMADM list --owner directory -o key --no-headings -f raw",
        )
        .ok();
        let rows: Vec<_> = printed.lines().filter(|line| line.starts_with("0x")).collect();
        let expected = ["0x0000002a directory 31234 staff-of-ldap", "0x0000002c 31236 31236 root", "0x0000002a"];
        assert_eq!(rows, expected, "{printed}");
    });
}

#[test]
fn getent_is_run_once_for_all_numbers_and_by_its_path() {
    in_namespace_as_root(|ns| {
        for key in 1..=40 {
            let owner = format!("{}:{}", 40_000 + key, 50_000 + key);
            ns.shmadm(["create", &key.to_string(), "--size", "1", "--owner", &owner, "-q"]).ok();
        }
        std::fs::create_dir(ns.path("planted")).expect("a directory");
        let planted = ns.file("planted/getent", "#!/bin/sh\necho run >>\"$PWD/planted.log\"\n");
        ns.run("chmod", ["755".as_ref(), planted.as_os_str()]);
        let log = ns.path("calls.log");
        let mount = getent_is(
            ns,
            &format!(
                "echo \"$# $1\" >>{0}; case $1 in passwd) echo known:x:40007:1::/:/bin/sh;; group) echo crew:x:50009:;; esac",
                log.display()
            ),
        );
        let line =
            format!("{mount}; PATH=$PWD/planted:$PATH; $SHMADM list -f json; $SHMADM list -o owner,group -f csv");
        let printed = in_mounts(ns, &line).ok();
        assert!(printed.contains(r#""user":"known""#) && printed.contains(r#""group":"crew""#), "{printed}");
        assert!(printed.contains("known,\n") && printed.contains("40009,crew\n"), "{printed}");
        // 40 numbers and the name of the database. The names of the creator are in /etc.
        let calls = std::fs::read_to_string(&log).expect("the calls");
        assert_eq!(calls.lines().collect::<Vec<_>>(), ["41 passwd", "41 group", "41 passwd", "41 group"]);
        assert!(!ns.path("planted.log").exists(), "a getent of PATH was run");
    });
}

#[test]
fn a_name_service_that_hangs_costs_only_names() {
    in_namespace_as_root(|ns| {
        ns.shmadm(["create", "42", "--size", "1", "--owner", "40001", "-q"]).ok();
        for script in ["sleep 60", "exit 1", "echo 'nonsense'; printf '\\377:x:7'", "yes x", "kill -9 $$"] {
            let printed = in_mounts(ns, &format!("{}; $SHMADM list -o key,owner -f raw", getent_is(ns, script))).ok();
            assert_eq!(printed, "KEY OWNER\n0x0000002a 40001\n", "{script}");
        }
        let missing = in_mounts(ns, "mount --bind /dev/null /usr/bin/getent; $SHMADM list -o owner -f raw").ok();
        assert_eq!(missing, "OWNER\n40001\n");
        let unknown = in_mounts(ns, "$SHMADM list --owner nobody-has-this-name || echo status $?");
        assert!(unknown.out.contains("status 2") && unknown.err.contains("there is no user"), "{unknown:?}");
        // A word that getent(1) would parse as an option.
        let option = in_mounts(ns, "$SHMADM list --owner=--help || echo status $?");
        assert!(option.out.contains("status 2"), "{option:?}");
    });
}

#[test]
fn a_user_who_cannot_be_looked_up_is_not_missing() {
    in_namespace_as_root(|ns| {
        let list = |before: &str, user: &str| {
            in_mounts(ns, &format!("{before} $SHMADM list -q --owner {user} || echo status $?"))
        };
        let mut answers = Vec::new();
        for script in ["sleep 60", "exit 1", "kill -9 $$"] {
            answers.push((script, list(&format!("{};", getent_is(ns, script)), "somebody")));
            // Digits are a number, if no name in /etc/passwd is the same.
            assert_eq!(list(&format!("{};", getent_is(ns, script)), "40001").ok(), "", "{script}");
        }
        needs(Need::Strace);
        for (calls, error) in [("openat", "EACCES"), ("read", "EIO")] {
            let strace = format!("strace -qq -o log -P /etc/passwd -e trace={calls} -e inject={calls}:error={error}");
            for user in ["somebody", "40001"] {
                answers.push((error, list(&strace, user)));
                assert!(std::fs::read_to_string(ns.path("log")).expect("a log").contains("(INJECTED)"), "{error}");
            }
        }
        for (why, ended) in answers {
            assert_eq!(ended.out, "status 1\n", "{why}: {ended:?}");
            assert!(ended.err.starts_with("shmadm: cannot look up user \""), "{why}: {ended:?}");
        }
        let missing = list(&format!("{};", getent_is(ns, "exit 2")), "somebody");
        assert!(missing.out == "status 2\n" && missing.err.contains("there is no user"), "{missing:?}");
    });
}

#[test]
fn a_fifo_in_place_of_the_time_zone_is_not_read() {
    in_namespace_as_root(|ns| {
        ns.shmadm(["create", "1", "--size", "1", "-q"]).ok();
        // Of a link, the target.
        let run = "mkfifo fifo; mount --bind fifo \"$(realpath /etc/localtime)\"; unset TZ; \
            timeout 20 $SHMADM list -o ctime --time-format iso --no-headings -f raw || echo status $?";
        let time = in_mounts(ns, run).ok();
        assert!(!time.contains("status"), "{time}");
    });
}

#[test]
fn a_fifo_in_place_of_a_file_of_names_is_not_read() {
    in_namespace_as_root(|ns| {
        ns.shmadm(["create", "1", "--size", "1", "-q"]).ok();
        let mounts = format!(
            "{}; [ -p fifo ] || mkfifo fifo; for file in passwd group; do mount --bind fifo /etc/$file; done",
            getent_is(ns, "exit 2")
        );
        let in_time = |line: &str| in_mounts(ns, &format!("{mounts}; timeout 20 $SHMADM {line} || echo status $?"));
        assert_eq!(in_time("list -o owner,group -f raw").ok(), "OWNER GROUP\n0 -\n");
        let named = in_time("list --owner somebody");
        assert_eq!(named.out, "status 1\n", "{named:?}");
        assert!(named.err.contains("it is not a regular file"), "{named:?}");
        let completed = in_time("completions bash --words-before 3 -- shmadm list --owner ''");
        assert!(completed.code == Some(0) && !completed.out.contains("status"), "{completed:?}");
    });
}

#[test]
fn a_file_of_names_that_is_far_too_large_is_not_read() {
    in_namespace_as_root(|ns| {
        ns.shmadm(["create", "1", "--size", "1", "-q"]).ok();
        let measure = ns.compile("measure");
        let mounts = format!(
            "{}; rm -f large; truncate -s 8T large; for file in passwd group; do mount --bind large /etc/$file; done",
            getent_is(ns, "touch called; exit 2")
        );
        let measured = in_mounts(ns, &format!("{mounts}; {} $SHMADM list -o owner,cuser -f raw", measure.display()));
        assert_eq!(measured.out, "OWNER CUSER\n0 -\n", "{measured:?}");
        assert!(peak_kib(&measured) < 32 << 10, "{measured:?}");
        let named = in_mounts(ns, &format!("{mounts}; $SHMADM list --owner somebody || echo status $?"));
        assert_eq!(named.out, "status 1\n", "{named:?}");
        assert!(
            named.err.starts_with("shmadm: cannot look up user \"somebody\": cannot read /etc/passwd"),
            "{named:?}"
        );
        let line = "completions bash --words-before 3 -- shmadm list --owner ''";
        let completed = in_mounts(ns, &format!("{mounts}; {} $SHMADM {line}", measure.display()));
        assert!(peak_kib(&completed) < 32 << 10, "{completed:?}");
        assert!(!ns.path("called").exists(), "getent would read the same file");
    });
}
