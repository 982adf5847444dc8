//! `doctor`: each finding agrees with the real behaviour of the machine.

use serde_json::Value;

use crate::support::{Ended, Namespace, Need, ended, in_namespace, in_namespace_as_root, needs, shmadm_path, skip};

/// The names of all checks, in their order.
const NAMES: [&str; 10] = [
    "limits",
    "rmid-forced",
    "remove-ipc",
    "memory",
    "huge-pages",
    "memlock",
    "table",
    "processes",
    "kernel-watch",
    "private-namespace",
];

/// Runs doctor after a line of sh, in a new mount namespace.
fn after(ns: &Namespace, script: &str) -> Ended {
    let script = format!("{script} && exec {} doctor -f json", shmadm_path());
    ended(ns.program("unshare").args(["--mount", "sh", "-c", &script]))
}

#[track_caller]
fn check(ended: &Ended, name: &str) -> Value {
    let report: Value = serde_json::from_str(&ended.out).unwrap_or_else(|error| panic!("{error}: {ended:?}"));
    let checks = report["checks"].as_array().expect("checks").clone();
    checks.into_iter().find(|check| check["name"] == name).unwrap_or_else(|| panic!("no {name}: {ended:?}"))
}

#[track_caller]
fn status(ended: &Ended, name: &str) -> String {
    check(ended, name)["status"].as_str().expect("a status").to_owned()
}

#[test]
fn all_checks_in_both_formats() {
    in_namespace(|ns| {
        let report = ns.shmadm(["doctor", "-f", "json"]).json();
        let checks = report["checks"].as_array().expect("checks");
        let names: Vec<_> = checks.iter().map(|check| check["name"].as_str().expect("a name")).collect();
        assert_eq!(names, NAMES);
        for check in checks {
            let status = check["status"].as_str().expect("a status");
            assert!(["ok", "note", "warning", "problem", "unknown"].contains(&status), "{check}");
            assert!(!check["finding"].as_str().expect("a finding").is_empty(), "{check}");
            // A check that is ok has no remedy; every other one has a remedy.
            assert!(status != "ok" || check["remedy"].is_null(), "{check}");
            assert!(!["warning", "problem"].contains(&status) || check["remedy"].is_string(), "{check}");
        }
        let text = ns.shmadm(["doctor"]).ok();
        assert!(NAMES.iter().all(|name| text.contains(&format!("{name}: "))), "{text}");
        assert!(text.lines().all(|line| line.len() <= 80), "{text}");
        // doctor must not change anything.
        assert!(ns.table().is_empty());
    });
}

#[test]
fn limits_that_are_reached() {
    in_namespace_as_root(|ns| {
        ns.run("perl", ["-e", "shmget($_, 1, 01600) // die for 1 .. 4"]);
        for (limit, expected, code) in [(4096, "ok", 0), (5, "warning", 0), (4, "problem", 1)] {
            let doctor = after(ns, &format!("echo {limit} >/proc/sys/kernel/shmmni"));
            assert_eq!((status(&doctor, "limits").as_str(), doctor.code), (expected, Some(code)), "{doctor:?}");
        }
        let remedy = check(&after(ns, "true"), "limits")["remedy"].as_str().expect("a remedy").to_owned();
        assert!(remedy.contains("`sysctl -w kernel.shmmni=8`"), "{remedy}");
        // In a container only the runtime can set the limit.
        let doctor = after(ns, "mount --bind /proc/sys /proc/sys && mount -o remount,bind,ro /proc/sys");
        let remedy = check(&doctor, "limits")["remedy"].as_str().expect("a remedy").to_owned();
        assert!(remedy.contains("docker run --sysctl kernel.shmmni=8") && !remedy.contains("sysctl -w"), "{remedy}");
    });
}

#[test]
fn forced_removal() {
    in_namespace_as_root(|ns| {
        let set = |value: &str| after(ns, &format!("echo {value} >/proc/sys/kernel/shm_rmid_forced"));
        assert_eq!(status(&set("0"), "rmid-forced"), "ok");
        let forced = set("1");
        assert_eq!((status(&forced, "rmid-forced").as_str(), forced.code), ("warning", Some(0)));
        assert!(
            check(&forced, "rmid-forced")["remedy"]
                .as_str()
                .is_some_and(|remedy| remedy.contains("kernel.shm_rmid_forced=0"))
        );
        let hidden = after(ns, "mount -t tmpfs none /proc/sys");
        assert_eq!(status(&hidden, "rmid-forced"), "unknown");
    });
}

#[test]
fn removal_by_logind() {
    in_namespace_as_root(|ns| {
        // Imitates a machine that was booted with systemd.
        let booted =
            "mount -t tmpfs none /run && mkdir -p /run/systemd/system /run/systemd/users /run/systemd/logind.conf.d";
        let doctor = after(ns, "mount -t tmpfs none /run");
        assert_eq!(status(&doctor, "remove-ipc"), "ok");
        let set = |value: &str| {
            format!("{booted} && printf '[Login]\\nRemoveIPC={value}\\n' >/run/systemd/logind.conf.d/99-zz.conf")
        };
        // A value that somebody has set is a warning even while logind does not run.
        let stopped = format!("{} && rmdir /run/systemd/system /run/systemd/users", set("yes"));
        let stopped = check(&after(ns, &stopped), "remove-ipc");
        assert_eq!(stopped["status"], "warning", "{stopped}");
        assert_eq!(stopped["remedy"], "as root, set RemoveIPC=no in /run/systemd/logind.conf.d/99-zz.conf");
        // A FIFO in place of a file could block for ever.
        let fifo = format!("{booted} && mkfifo /run/systemd/logind.conf.d/99-zz.conf");
        assert_eq!(status(&after(ns, &fifo), "remove-ipc"), "unknown");
        let off = check(&after(ns, &set("no")), "remove-ipc");
        assert_eq!(off["status"], "ok");
        assert!(
            off["finding"]
                .as_str()
                .is_some_and(|text| text.contains("RemoveIPC=no (/run/systemd/logind.conf.d/99-zz.conf)")),
            "{off}"
        );
        // logind acts in the namespace of process 1: there it is a warning for every user. In other namespaces logind
        // removes nothing.
        for (program, expected) in [("", "warning"), ("unshare --ipc ", "note")] {
            let script = format!("{} && {program}{} doctor -f json", set("yes"), shmadm_path());
            let options = ["--mount", "--pid", "--fork", "--mount-proc", "sh", "-c", &script];
            let doctor = ended(ns.program("unshare").args(options));
            assert_eq!(status(&doctor, "remove-ipc"), expected, "{doctor:?}");
        }
    });
}

#[test]
fn missing_files_and_privileges() {
    in_namespace_as_root(|ns| {
        ns.open_to_all();
        let root = ns.shmadm(["doctor", "-f", "json"]);
        assert_eq!(status(&root, "private-namespace"), "ok");
        assert_eq!(status(&root, "memlock"), "ok");
        let user = ns.shmadm_unprivileged(["doctor", "-f", "json"]);
        assert_eq!((status(&user, "processes").as_str(), status(&user, "kernel-watch").as_str()), ("note", "note"));
        assert_eq!(status(&user, "memlock"), "note");
        // Without the table shmadm uses shmctl(2).
        let hidden = after(ns, "mount -t tmpfs none /proc/sysvipc");
        assert_eq!((status(&root, "table").as_str(), status(&hidden, "table").as_str()), ("ok", "note"));
    });
}

#[test]
fn what_cannot_be_read_is_unknown() {
    in_namespace_as_root(|ns| {
        needs(Need::Strace);
        let mut strace = ns.program("strace");
        strace.args(["-qq", "-o", "log", "-e", "trace=capget", "-e", "inject=capget:error=EPERM"]);
        let denied = ended(strace.args([shmadm_path(), "doctor", "-f", "json"]));
        assert_eq!(status(&denied, "memlock"), "unknown");
        let unmounted = after(ns, "umount --recursive --lazy /sys/fs/cgroup");
        if unmounted.out.is_empty() {
            skip("no cgroups are mounted at /sys/fs/cgroup");
        }
        assert_eq!(status(&unmounted, "memory"), "unknown");
    });
}
