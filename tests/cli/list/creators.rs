//! The creator of a segment: whether it still runs, and its command.

use super::*;
use crate::support::{Need, needs};

#[test]
fn a_creator_is_exited_when_all_its_threads_are() {
    in_namespace(|ns| {
        perl(ns, "shmget(1, 1, 01600)");
        let mut lives = start(ns.program("perl").args(["-e", STAYS]));
        // The creator of 2 is a zombie. In the creator of 3 the first thread has ended.
        let threads = start(&mut ns.program(ns.compile("threads")));
        let stat = format!("/proc/{}/stat", threads.pid());
        wait_until("the first thread has ended", || std::fs::read_to_string(&stat).expect("it").contains(") Z "));
        let creators = || list(ns, "-f raw --no-headings -o key,creator,status,cpid --sort key");
        let (dead, zombie) = (&ns.row(0).expect("a row").cpid, &ns.row(2).expect("a row").cpid);
        let orphans = format!("0x00000001 exited orphan {dead}\n0x00000002 exited orphan {zombie}\n");
        let alive = format!("0x00000003 alive - {}\n", threads.pid());
        assert_eq!(creators(), format!("{orphans}{alive}0x00000007 alive - {}\n", lives.pid()));
        // If its threads cannot be listed, they have not ended.
        needs(Need::Strace);
        let mut strace = ns.program("strace");
        strace.args(["-f", "-qq", "-o", "log", "-e", "trace=getdents64", "-e", "inject=getdents64:error=ENOMEM"]);
        strace.args(["-P", &format!("/proc/{}/task", threads.pid()), shmadm_path()]);
        let listed = ended(strace.args("list -f raw --no-headings -o key,creator,status,cpid --key 3".split(' ')));
        assert_eq!(listed.ok(), alive);
        assert!(std::fs::read_to_string(ns.path("log")).expect("a log").contains("(INJECTED)"));
        let pid = lives.pid();
        lives.0.kill().and_then(|()| lives.0.wait()).expect("its exit status");
        assert_eq!(creators(), format!("{orphans}{alive}0x00000007 exited orphan {pid}\n"));
    });
}

#[test]
fn a_younger_process_with_the_creators_pid_is_not_the_creator() {
    in_namespace(|ns| {
        // In a new pid namespace, where the next pid can be chosen. The segment is created as a second begins, and the
        // later process starts in the next second.
        let script = r#"
            pid=$(perl -MTime::HiRes=time -e 'select undef, undef, undef, 0.01 while time - int time > 0.3;
                                              shmget(1, 1, 01600) // die; print $$')
            sleep 1.1
            echo $((pid - 1)) >/proc/sys/kernel/ns_last_pid
            sleep 100 &
            [ $! = $pid ] && [ -d /proc/$pid ] && "$0" list -f raw --no-headings -o creator,status,command"#;
        let out = ns.run("unshare", ["--pid", "--fork", "--mount-proc", "sh", "-c", script, shmadm_path()]);
        assert_eq!(out, "exited orphan -\n");
    });
}

#[test]
fn an_invisible_creator_is_unknown_and_its_segment_no_orphan() {
    in_namespace(|ns| {
        perl(ns, "shmget(1, 1, 01600)");
        let columns = ["list", "-f", "raw", "--no-headings", "-o", "cpid,creator,status,command"];
        // No process has its pid in that namespace.
        let out = ns.run("unshare", ["--pid", "--fork", "--mount-proc", shmadm_path()].iter().chain(&columns));
        assert_eq!(out, "0 unknown - -\n");
        // The pid is known, but /proc shows the outer pid namespace.
        let script = r#"pid=$(perl -e 'shmget(2, 1, 01600) // die; print $$'); echo $pid; "$@"; exit $?"#;
        let out =
            ns.run("unshare", ["--pid", "--fork", "sh", "-c", script, "sh", shmadm_path()].iter().chain(&columns));
        let (pid, rows) = out.split_once('\n').expect("lines");
        assert_eq!(rows, format!("0 unknown - -\n{pid} unknown - -\n"));
    });
}

/// Bytes that control a terminal, end a line, are not UTF-8, change the direction of text, or are special in a shell.
const HOSTILE: &[u8] = b"\x1b[31m\n\r\x7f \xc2\x9b \xff \xe2\x80\xae \" $(touch pwned) `touch pwned` \\ , \\";

/// Decodes `\xNN`.
fn decoded(shown: &str) -> Vec<u8> {
    let (first, rest) = shown.split_once("\\x").unwrap_or((shown, ""));
    match rest.get(..2).and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
        Some(byte) => [first.as_bytes(), &[byte], &decoded(&rest[2..])].concat(),
        None => shown.into(),
    }
}

#[test]
fn a_command_cannot_steer_a_terminal_in_any_format() {
    in_namespace(|ns| {
        let command = [b"perl -e ", STAYS.as_bytes(), b" ", HOSTILE].concat();
        let lives = start(ns.program("perl").args(["-e", STAYS]).arg(OsStr::from_bytes(HOSTILE)));
        let json = ns.shmadm(["list", "-f", "json"]).json()["segments"][0]["command"].clone();
        for (format, shown) in [
            ("json", json.as_str().expect("a string").to_owned()),
            ("csv", csv(&list(ns, "-f csv -o id,command"))[1][1].clone()),
            ("table", list(ns, "--no-headings -o command").trim_end_matches('\n').to_owned()),
            ("raw", text(list(ns, "-f raw --no-headings -o id,command,cpid"))[0][1].clone()),
        ] {
            let is_plain = shown.bytes().all(|byte| (b' '..=b'~').contains(&byte));
            assert!(is_plain && decoded(&shown) == command, "{format}: {shown:?}");
        }
        lives.end(Signal::SIGKILL);
        assert_eq!(ns.shmadm(["list", "-f", "json"]).json()["segments"][0]["command"], Value::Null);
        assert_eq!(list(ns, "-f raw --no-headings -o command"), "-\n");
        assert_eq!(list(ns, "-f export -o command,id"), "COMMAND=\"\" ID=\"0\"\n");
    });
}

#[test]
fn a_shell_can_eval_export() {
    in_namespace(|ns| {
        let command = [b"perl -e ", STAYS.as_bytes(), b" ", HOSTILE].concat();
        let _lives = start(ns.program("perl").args(["-e", STAYS]).arg(OsStr::from_bytes(HOSTILE)));
        let out = ns.run("sh", ["-c", r#"eval "$1" && printf %s "$COMMAND""#, "sh", &list(ns, "-f export")]);
        assert!(!ns.path("pwned").exists());
        assert!(decoded(&out) == command, "{out}");
    });
}

#[test]
fn the_commands_of_many_creators_need_few_threads() {
    in_namespace(|ns| {
        needs(Need::Strace);
        let program = STAYS.replace('7', "$ARGV[0]");
        let creator = |key: i32| start(ns.program("perl").args(["-e", &program, &key.to_string()]));
        let creators: Vec<_> = (1..=20).map(creator).collect();
        let log = ns.file("strace.log", "");
        for words in ["list", "list -f jsonl", "list -f csv -o command,lcommand", "remove --all -n"] {
            let mut strace = ns.program("strace");
            strace.args(["-f", "-qq", "-e", "trace=clone,clone3", "-e", "signal=none", "-o"]).arg(&log);
            let out = ended(strace.arg(shmadm_path()).args(words.split(' '))).ok();
            assert_eq!(out.matches("perl -e shmget").count(), creators.len(), "{words}: {out}");
            let threads = std::fs::read_to_string(&log).expect("strace's log").lines().count();
            assert!((1..=3).contains(&threads), "{words}: {threads} threads");
        }
    });
}
