//! Semaphore sets and message queues are leaks, too; and the report files for CI servers.

use super::*;
use crate::support::{Need, needs};

/// A perl program that leaves a semaphore set behind, and a message queue with a message.
const BOTH: &str = "defined semget(0x51, 3, 01640) or die $!; my $q = msgget(0x52, 01600) // die $!;
    msgsnd($q, pack('l! a*', 1, 'hello'), 0) or die $!;";

/// Returns the number of semaphore sets and message queues.
fn others(ns: &Namespace) -> usize {
    ns.run("sh", ["-c", "cat /proc/sysvipc/sem /proc/sysvipc/msg"]).lines().count() - 2
}

#[test]
fn a_semaphore_set_or_a_queue_alone_is_a_leak() {
    in_namespace(|ns| {
        create_others(ns);
        for way in ways() {
            for (perl, words) in [
                (
                    "defined semget(0x51, 3, 01640) or die $!;",
                    ["semaphore set 0x00000051", "3 semaphores", "mode 0640"],
                ),
                ("defined msgget(0x52, 01600) or die $!;", ["message queue 0x00000052", "0 messages", "mode 0600"]),
            ] {
                let leaky = guard(ns, way, "--exit-code 9", &["perl", "-e", perl]);
                assert_eq!(leaky.code, Some(9), "{way:?} {leaky:?}");
                assert!(words.iter().all(|word| leaky.err.contains(word)), "{way:?} {leaky:?}");
                assert_eq!(others(ns), usize::from(way.shared), "{way:?}");
                ns.run("ipcrm", ["-a"]);
                create_others(ns);
            }
        }
    });
}

#[test]
fn semaphores_and_queues_are_reported_and_removed() {
    in_namespace(|ns| {
        create_others(ns);
        for way in ways() {
            let leaky = guard(ns, way, "--report report --remove", &["perl", "-e", BOTH]);
            assert_eq!(leaky.code, Some(1), "{way:?} {leaky:?}");
            let report = report(ns);
            let (set, queue) = (&report["semaphores"][0], &report["queues"][0]);
            assert_eq!((&set["key"], &set["nsems"], &set["mode"]), (&json!("0x00000051"), &json!(3), &json!("0640")));
            assert_eq!(
                (&queue["key"], &queue["messages"], &queue["bytes"]),
                (&json!("0x00000052"), &json!(1), &json!(5))
            );
            assert_eq!(report["leaked"], json!([]), "{way:?}");
            // Without privilege guard does not know who created them in a shared namespace, so it keeps them.
            let is_traced = !set["created_by"].is_null();
            assert_eq!((&report["removed"], others(ns)), (&json!(is_traced), if is_traced { 0 } else { 2 }), "{way:?}");
            assert!(is_traced || way.shared, "{way:?} {leaky:?}");
            assert!(is_traced || leaky.err.contains("not known: "), "{leaky:?}");
            ns.run("ipcrm", ["-a"]);
            create_others(ns);
        }
    });
}

#[test]
fn objects_of_a_living_process_outside_of_the_command_are_kept() {
    in_namespace(|ns| {
        ns.open_to_all();
        for way in ways().filter(|way| way.shared) {
            // A process of the same user creates a set while the command runs, and continues to run.
            let perl = "until (-e 'go') { select undef, undef, undef, .01 } my $i = semget(0, 1, 01600); semop($i, pack 's!3', 0, 1, 0);
                defined shmget(0x61, 100, 01600) or die $!; open my $f, '>', 'made'; close $f; sleep 60";
            let mut stranger = if way.ordinary { ordinary(ns, "perl") } else { ns.program("perl") };
            let _stranger = Running(stranger.args(["-e", perl]).spawn().expect("perl"));
            let wait = "touch go; until test -e made; do sleep .01; done; rm go made";
            let clean = guard(ns, way, "--remove", &["timeout", "30", "sh", "-c", wait]);
            assert_eq!((clean.code, &*clean.err), (Some(0), ""), "{way:?}");
            assert_eq!((ns.table().len(), others(ns)), (1, 1), "{way:?}");
            ns.run("ipcrm", ["-a"]);
        }
    });
}

#[test]
fn junit_has_a_failed_case_for_each_leak_or_one_that_passed() {
    in_namespace(|ns| {
        needs(Need::Program("python3"));
        ns.open_to_all();
        let parse = "import sys, xml.etree.ElementTree as e; s = e.parse('junit').getroot().find('testsuite');
print(s.get('tests'), s.get('failures'), s.get('errors'), len(s.findall('testcase')), len(s.findall('testcase/failure')));
print(*[f.get('message') + f.text for f in s.findall('testcase/failure')])";
        let leaky = "defined shmget(0x2a, 100, 01600) or die $!; # <&\"'\x01\u{fffe}]]>";
        for (perl, counts) in [("1", "1 0 0 1 0\n"), (leaky, "1 1 0 1 1\n"), (BOTH, "2 2 0 2 2\n")] {
            for way in ways() {
                guard(ns, way, "--junit junit --remove", &["perl", "-e", perl]);
                let parsed = ns.run("python3", ["-c", parse]);
                assert!(parsed.starts_with(counts), "{way:?} {perl}: {parsed}");
                assert!(perl != leaky || parsed.contains("0x0000002a"), "{parsed}");
                ns.run("sh", ["-c", "rm junit; ipcrm -a"]);
            }
        }
    });
}

#[test]
fn github_gets_an_annotation_for_each_leak() {
    in_namespace(|ns| {
        let mut guard = command(ns, Way { ordinary: false, shared: false }, "", &["perl", "-e", BOTH]);
        let guard = ended(guard.env("GITHUB_ACTIONS", "true"));
        let annotations: Vec<_> = guard.err.lines().filter(|line| line.starts_with("::error ")).collect();
        assert_eq!(annotations.len(), 2, "{guard:?}");
        assert!(annotations[0].contains("semaphore set 0x00000051") && annotations[0].contains("%0A"), "{guard:?}");
        let silent = ended(
            command(ns, Way { ordinary: false, shared: false }, "", &["perl", "-e", BOTH]).env_remove("GITHUB_ACTIONS"),
        );
        assert!(!silent.err.contains("::error"), "{silent:?}");
    });
}
