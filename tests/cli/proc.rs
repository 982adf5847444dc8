//! Without /proc, with hidden processes, and on a kernel without System V shared memory each command works, or reports
//! in one line what is missing.

mod denied;
mod masked;

use std::process::Stdio;

use crate::support::{Ended, Namespace, ended, in_namespace, in_namespace_as_root, shmadm_path};

/// Every command, in an order in which each finds its segments. KEY stands for the key of the test's directory.
const LINES: &[&str] = &[
    "create 42 --size 4096",
    "write 42 hello",
    "read 42 -f string",
    "read 42 -f hex --length 16",
    "read 42 -o out",
    "read 42 -o out --hold=1ms",
    "write 42 hello --hold=1ms",
    "list",
    "list -q",
    "list -f json",
    "list --creator-exited --owner 0",
    "list --all-namespaces",
    "stat 42",
    "stat 42 -f json",
    "set 42 --mode 640",
    "limits",
    "limits --check 90",
    "watch --source poll --for 1ms",
    "metrics",
    "guard --shared -- sh -c :",
    "guard -- sh -c :",
    "demo",
    "ftok .",
    "ftok --find KEY .",
    "completions zsh",
    "remove 42",
    "create 43 --size 10",
    "write 43 hello --create 10 --hold=1ms",
    "remove 43 --wait",
    "remove 44 --ignore-missing --wait=1ms",
    "create random --size 1",
    "remove --all --yes",
];

fn with_key(ns: &Namespace, line: &str) -> String {
    if !line.contains("KEY") {
        return line.to_owned();
    }
    line.replace("KEY", ns.shmadm(["ftok", "."]).ok().trim())
}

/// Runs shmadm after this mount command, with another program before it.
#[track_caller]
fn shmadm(ns: &Namespace, mount: &str, before: &str, line: &str) -> Ended {
    let line = with_key(ns, line);
    let mut sh = ns.program("unshare");
    sh.args(["--mount", "sh", "-c", &format!(r#"{mount} && exec {before} "$@""#), "sh"]);
    ended(sh.arg(shmadm_path()).args(line.split_whitespace()).stdin(Stdio::null()))
}

/// Returns the line in which a command reports what it lacks, or `None` if it succeeded.
#[track_caller]
fn complaint(line: &str, ended: Ended) -> Option<String> {
    if ended.code == Some(0) {
        return None;
    }
    // The JSON of `stat` has an entry with an error for each missing segment.
    let in_json = if line.starts_with("stat") { r#"[{"segment":"42","error":"# } else { r#"{"error":"# };
    assert!(!line.ends_with("json") || ended.out.starts_with(in_json), "{line}: {ended:?}");
    Some(ended.fails(1))
}

#[test]
fn without_proc_only_commands_about_processes_fail() {
    in_namespace(|ns| {
        for line in LINES {
            let Some(message) = complaint(line, shmadm(ns, "mount -t tmpfs none /proc", "", line)) else { continue };
            assert!(message.contains("/proc") && message.contains("mounted"), "{line}: {message}");
            assert!(["list --all-namespaces", "demo"].contains(line), "{line}: {message}");
        }
        assert!(ns.table().is_empty());
        // An empty /proc does not mean that there are no processes.
        shmadm(ns, "mount -t tmpfs none /proc", "", "list --all-namespaces").fails(1);
    });
}

#[test]
fn without_the_table_each_command_works() {
    in_namespace(|ns| {
        for line in LINES.iter().filter(|line| !line.contains("--all-namespaces")) {
            let message = complaint(line, shmadm(ns, "mount -t tmpfs none /proc/sysvipc", "", line));
            assert_eq!(message, None, "{line}");
        }
        assert!(ns.table().is_empty());
    });
}

#[test]
fn a_kernel_without_shared_memory_is_reported() {
    in_namespace(|ns| {
        let before = ns.compile("without_shm");
        // The kernel has no table either. Some commands do not use segments.
        let without = ["--all-namespaces", "ftok", "completions"];
        for line in LINES.iter().filter(|line| !without.iter().any(|word| line.contains(word))) {
            let ended = shmadm(ns, "mount -t tmpfs none /proc/sysvipc", before.to_str().expect("a path"), line);
            let message = complaint(line, ended).unwrap_or_else(|| panic!("{line} is done"));
            let says =
                message.contains("this kernel has no System V shared memory") || message.contains("CONFIG_SYSVIPC");
            assert!(says, "{line}: {message}");
        }
    });
}

#[test]
fn an_ordinary_user_can_work_where_proc_hides_processes() {
    in_namespace_as_root(|ns| {
        let copy = ns.copy(shmadm_path(), "shmadm");
        ns.open_to_all();
        let user = "setpriv --reuid 1234 --regid 1234 --clear-groups --";
        let run = |line: &str| {
            let before = format!("{user} {}", copy.display());
            // The path of the program is left out, because the copy replaces it.
            let mut sh = ns.program("unshare");
            sh.args(["--mount", "sh", "-c"]);
            sh.arg(format!(r#"mount -t proc -o hidepid=2 proc /proc && exec {before} {line}"#));
            ended(sh.stdin(Stdio::null()))
        };
        for line in LINES {
            let done = run(&with_key(ns, line));
            assert_eq!(done.code, Some(0), "{line}: {done:?}");
        }
        // Processes of root exist but are hidden. Their segments must not be listed as orphans.
        ns.shmadm(["attach-write", "7", "", "--create", "1", "-m", "644"]).ok();
        let holder = ns.hold(["attach-write", "8", "", "--create", "1", "-m", "644", "--hold"]);
        assert_eq!(run("list --key 8 --creator-exited -q").ok(), "");
        assert!(run("list --key 8 -o CREATOR --no-headings").ok().contains("alive"));
        assert!(run("list --key 7 -o CREATOR --no-headings").ok().contains("exited"));
        let of_hidden = run(&format!("list --pid {} -o KEY --no-headings", holder.pid()));
        assert_eq!((of_hidden.code, of_hidden.out.trim()), (Some(0), "0x00000008"));
        let message =
            format!("cannot see what process {} has attached: /proc does not show that process", holder.pid());
        assert!(of_hidden.err.contains(&message), "{of_hidden:?}");
        // What cannot be seen is not nothing.
        for (line, missing) in
            [("list --key 8 -o PIDS", "cannot find all attachments: "), ("list --all-namespaces", "")]
        {
            let err = run(line).err;
            let says = err.contains(&format!("shmadm: {missing}/proc hides the processes of other users (hidepid)"));
            assert!(says, "{line}: {err}");
        }
        let doctor = run("doctor").ok();
        assert!(doctor.contains("note     processes: /proc hides the processes of other users"), "{doctor}");
        assert_eq!(run("list --pid 2147483646").err, "", "there is no such process");
        let hidden = run(&format!("list --ns {}", holder.pid())).fails(1);
        assert!(hidden.contains("/proc does not show that process"), "{hidden}");
        assert!(run("list --ns 4194304").fails(1).contains("there is no such process"));
    });
}

#[test]
fn hidden_processes_are_noticed_where_the_first_process_is_our_own() {
    in_namespace_as_root(|ns| {
        let copy = ns.copy(shmadm_path(), "shmadm");
        ns.open_to_all();
        let _holder = ns.hold(["attach-write", "8", "", "--create", "1", "-m", "644", "--hold"]);
        let list = |options: &str, groups: &str| {
            // The shell is the first process of its pid namespace, and then becomes that of an ordinary user.
            let user =
                format!("setpriv --reuid 1234 --regid 1234 {groups} -- sh -c '{} list -o PIDS; exit'", copy.display());
            let line = format!("mount -t proc -o {options} proc /proc && exec {user}");
            let mut unshare = ns.program("unshare");
            ended(unshare.args(["--pid", "--mount", "--fork", "sh", "-c", &line]).stdin(Stdio::null())).err
        };
        let told = "/proc hides the processes of other users (hidepid)";
        for (options, groups, is_told) in [
            ("hidepid=2", "--clear-groups", true),
            ("hidepid=2,gid=77", "--clear-groups", true),
            ("hidepid=2,gid=77", "--groups 76,77", false),
            ("hidepid=2,gid=1234", "--clear-groups", false),
            ("hidepid=4,gid=77", "--groups 77", true),
            ("hidepid=1", "--clear-groups", false),
            ("hidepid=0", "--clear-groups", false),
        ] {
            let err = list(options, groups);
            assert_eq!(err.contains(told), is_told, "{options} {groups}: {err}");
        }
    });
}

#[test]
fn the_processes_of_another_pid_namespace_are_noticed() {
    in_namespace_as_root(|ns| {
        let list = |options: &[&str], line: &str| {
            // In another pid namespace, the creator would have no pid.
            let script = format!("$0 create 1 --size 1 --exist-ok -q >made && exec $0 {line}");
            let mut unshare = ns.program("unshare");
            unshare.args(["--pid", "--fork"]).args(options).args(["sh", "-c", &script, shmadm_path()]);
            let list = ended(unshare.stdin(Stdio::null()));
            ns.shmadm(["remove", "--all", "--yes", "--quiet"]).ok();
            list
        };
        let told = "shmadm: cannot tell whether creators and last users are alive: /proc does not show";
        for line in ["list", "list -f json", "list -q --creator-exited", "metrics", "remove --orphaned --yes"] {
            let foreign = list(&[], line);
            assert_eq!((foreign.code, foreign.err.matches(told).count()), (Some(0), 1), "{line}: {foreign:?}");
            assert!(!list(&["--mount-proc"], line).err.contains(told), "{line}");
        }
        // Nothing about processes is shown here.
        for line in ["list -q", "list -o key,size -f raw", "limits", "read 1"] {
            assert_eq!(list(&[], line).err, "", "{line}");
        }
    });
}
