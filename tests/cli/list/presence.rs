//! Which process counts as the creator and as the last user, and what an orphan is.

use super::*;
use crate::support::{Need, in_namespace_as_root, needs};

/// A perl program that attaches and detaches the segment of a key, and waits.
const READS: &str =
    "my $id = shmget($ARGV[0], 0, 0) // die; shmread($id, my $x, 0, 1) or die; $| = 1; print qq(ready\\n); <STDIN>";

/// Runs a script as the first process of a new pid namespace, where `as PID command` runs a command with that pid. `$0`
/// is shmadm.
#[track_caller]
fn in_pid_namespace(ns: &Namespace, script: &str) -> String {
    let script = format!("as() {{ echo $(($1 - 1)) >/proc/sys/kernel/ns_last_pid; }}\n{script}");
    ns.run("unshare", ["--pid", "--fork", "--mount-proc", "sh", "-ec", &script, shmadm_path()])
}

#[test]
fn a_segment_is_no_orphan_while_its_last_user_lives() {
    in_namespace(|ns| {
        perl(ns, "shmget(0x77, 65536, 01600)");
        let columns = "-f raw --no-headings -o status,creator,lastuser,command,lcommand";
        assert_eq!(list(ns, columns), "orphan exited - - -\n");
        let reader = start(ns.program("perl").args(["-e", READS, "119"]));
        let row = list(ns, columns);
        assert!(row.starts_with(r"- exited alive (perl\x20-e\x20"), "{row}");
        assert_eq!(ns.shmadm(["list", "--orphaned", "-q"]).ok(), "");
        assert_eq!(ns.shmadm(["remove", "--orphaned", "-y"]).ok(), "");
        let json = ns.shmadm(["list", "-f", "json"]).json()["segments"][0].take();
        assert_eq!((&json["command"], &json["last_user"]), (&Value::Null, &json!("alive")));
        assert!(json["last_command"].as_str().is_some_and(|command| command.starts_with("perl -e ")), "{json}");
        let text = ns.shmadm(["stat", "0x77"]).ok();
        assert!(text.contains(&format!("last used by  process {} (alive): perl -e", reader.pid())), "{text}");
        reader.end(Signal::SIGKILL);
        assert_eq!(list(ns, columns), "orphan exited exited - -\n");
        assert_eq!(ns.shmadm(["list", "--orphaned", "-q"]).ok(), "id:0\n");
    });
}

#[test]
fn a_last_user_in_another_pid_namespace_is_unknown_and_counted() {
    in_namespace_as_root(|ns| {
        perl(ns, "shmget(0x77, 65536, 01600)");
        let mut unshare = ns.program("unshare");
        let _reader = start(unshare.args(["--pid", "--fork", "--mount-proc", "perl", "-e", READS, "119"]));
        // In that namespace the creator is unknown; here both are known.
        assert_eq!(list(ns, "-f raw --no-headings -o creator,lastuser"), "exited alive\n");
        perl(ns, "shmread(shmget(0x77, 0, 0), my $x, 0, 1) or die");
        let args = ["--pid", "--fork", "--mount-proc", shmadm_path()];
        let inside = |words: &str| {
            let mut unshare = ns.program("unshare");
            ended(unshare.args(args).args(words.split(' ')).stdin(std::process::Stdio::null()))
        };
        for words in ["list --orphaned -q", "remove --orphaned -y"] {
            let listed = inside(words);
            assert_eq!((listed.code, listed.out.as_str()), (Some(0), ""), "{listed:?}");
            assert!(listed.err.contains("1 segment") && listed.err.contains("--unattached --idle"), "{listed:?}");
        }
        assert_eq!(inside("list -f raw --no-headings -o creator,lastuser").ok(), "unknown unknown\n");
        assert_eq!(inside("remove --unattached --idle 0s -y").ok().lines().count(), 1);
    });
}

#[test]
fn a_later_process_with_the_pid_is_neither_creator_nor_last_user() {
    in_namespace_as_root(|ns| {
        // One process creates and uses the segment, and a later one gets its pid. Then IPC_SET sets ctime to a time
        // after the start of the later one.
        let out = in_pid_namespace(
            ns,
            r#"pid=$(perl -e '$id = shmget(1, 1, 01600); shmread($id, my $x, 0, 1) or die; print $$')
               sleep 2.1
               as $pid; sleep 100 &
               [ $! = $pid ]
               show() { "$0" list -f raw --no-headings -o creator,lastuser,command; "$0" list -q --pid $pid; }
               show
               sleep 1.1
               "$0" set id:0 --mode 644
               show
               "$0" remove --pid $pid -y"#,
        );
        assert_eq!(out, "exited exited -\nexited exited -\n");
    });
}

#[test]
fn after_ipc_set_an_earlier_start_proves_nothing() {
    in_namespace_as_root(|ns| {
        let out = in_pid_namespace(
            ns,
            r#"pid=$(perl -e 'shmget(1, 1, 01600) // die; print $$')
               sleep 2.1
               as $pid; sleep 100 &
               "$0" list -f raw --no-headings -o creator
               "$0" set id:0 --owner 1
               "$0" list -f raw --no-headings -o creator,status
               "$0" remove --pid $pid -y
               "$0" list --orphaned -q"#,
        );
        assert_eq!(out, "exited\nunknown -\n");
        // A process that created and then changed its segment is not known either, although it still runs.
        let _creator = start(ns.program("perl").args(["-e", STAYS]));
        ns.shmadm(["set", "0x7", "--owner", "1"]).ok();
        assert_eq!(list(ns, "-f raw --no-headings -o creator --key 7"), "unknown\n");
    });
}

#[test]
fn a_process_of_another_user_is_not_the_creator_within_the_second() {
    in_namespace_as_root(|ns| {
        needs(Need::Program("setpriv"));
        let out = in_pid_namespace(
            ns,
            r#"pid=$(perl -e 'select undef, undef, undef, 0.02 until substr(sprintf("%.1f", time), -1) eq "0";
                              $id = shmget(1, 1, 01600) // die; shmread($id, my $x, 0, 1) or die; print $$')
               as $pid; setpriv --reuid 1234 --clear-groups sleep 100 &
               sleep 0.2
               "$0" list -f raw --no-headings -o creator,lastuser,command
               "$0" list --pid $pid -q"#,
        );
        assert!(out == "unknown unknown -\n" || out == "exited exited -\n", "{out}");
    });
}

#[test]
fn a_time_namespace_makes_no_orphan() {
    in_namespace_as_root(|ns| {
        if !std::path::Path::new("/proc/self/ns/time").exists() {
            crate::support::skip("this kernel has no time namespaces");
        }
        let _creator = start(ns.program("perl").args(["-e", STAYS]));
        wait_until("it is older", || ns.shmadm(["list", "-q", "--older-than", "2s"]).ok() == "id:0\n");
        for offset in ["-UPTIME", "1000000000", "-1"] {
            let uptime: f64 = ns.run("cut", ["-d ", "-f1", "/proc/uptime"]).trim().parse().expect("seconds");
            let offset = offset.replace("UPTIME", &(uptime as u64).to_string());
            let list = |words: &[&str]| {
                let args = ["--time", "--boottime", &offset, "--fork", shmadm_path(), "list"];
                ns.run("unshare", args.iter().chain(words))
            };
            assert_eq!(list(&["-f", "raw", "--no-headings", "-o", "creator,status"]), "alive -\n", "{offset}");
            assert_eq!(list(&["-q", "--older-than", "2s"]), "id:0\n", "{offset}");
        }
    });
}

#[test]
fn a_clock_that_was_set_forward_makes_no_orphan_and_no_age() {
    in_namespace(|ns| {
        let source = format!("{}/tests/programs/clock_ahead.c", env!("CARGO_MANIFEST_DIR"));
        ns.run("cc", ["-shared", "-fPIC", "-o", "clock.so", &source]);
        let _creator = start(ns.program("perl").args(["-e", STAYS]));
        let ahead = |program: &str, line: &str| {
            let mut command = ns.program(program);
            command.env("LD_PRELOAD", ns.path("clock.so")).env("CLOCK_AHEAD", "2000000000");
            ended(command.args(line.split(' '))).ok()
        };
        assert!(ahead("date", "+%Y") > "2060".into());
        let row = ahead(shmadm_path(), "list -f raw --no-headings -o creator,status");
        if row == "alive -\n" {
            crate::support::skip("shmadm is static, so that its clock cannot be replaced");
        }
        assert_eq!(row, "unknown -\n");
        // The machine has not run for so long.
        assert_eq!(ahead(shmadm_path(), "list -q --older-than 10000d"), "");
        assert_eq!(ahead(shmadm_path(), "list -q --idle 10000d"), "");
    });
}
