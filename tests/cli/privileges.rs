//! The program refuses to run with privileges from its file (setuid, setgid, capabilities), and works with those of its
//! caller.

use std::ffi::OsStr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::support::{Ended, Namespace, Need, ended, in_namespace_as_root, needs, shmadm_path, skip};

/// Copies a program for everyone to run.
fn copy(ns: &Namespace, program: &str, name: &str) -> PathBuf {
    let copy = ns.copy(program, name);
    ns.open_to_all();
    set_mode(&copy, 0o755);
    copy
}

fn set_mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("a mode");
}

/// Skips the test where setuid has no effect: on a nosuid file system, or with no_new_privs.
fn needs_setuid(ns: &Namespace) {
    let id = copy(ns, "/usr/bin/id", "id");
    set_mode(&id, 0o4755);
    if !ended(ns.unprivileged(&id).stdin(Stdio::null())).ok().contains("euid=0") {
        skip("a setuid bit has no effect in the temporary directory");
    }
}

/// Tries every kind of command line, and expects a refusal before it is parsed.
#[track_caller]
fn refused(ns: &Namespace, program: &Path, how: &str) {
    ns.shmadm(["create", "42", "--size", "4096"]).ok();
    let before = ns.table();
    for args in [
        "--help",
        "--version",
        "nonsense",
        "",
        "list -f json",
        "read 42",
        "write 42 hello",
        "set 42 --mode 777",
        "create 43 --size 1",
        "remove 42",
        "stat 42 --ns 1",
        "guard -- touch made",
        "demo",
        "completions bash",
        "ftok .",
    ] {
        let mut shmadm = ns.unprivileged(program);
        let refused = ended(shmadm.args(args.split_whitespace()).stdin(Stdio::null()));
        assert_eq!(refused.out, "", "{args}");
        let line = refused.fails(1);
        assert!(line.starts_with(&format!("shmadm: cannot run {how}: ")), "{args}: {line}");
    }
    assert_eq!(ns.table(), before);
    assert!(!ns.path("made").exists());
    ns.shmadm(["remove", "42"]).ok();
}

#[test]
fn it_does_not_run_setuid_or_setgid() {
    in_namespace_as_root(|ns| {
        needs_setuid(ns);
        let shmadm = copy(ns, shmadm_path(), "shmadm");
        set_mode(&shmadm, 0o4755);
        refused(ns, &shmadm, "setuid");
        // For root these bits change nothing.
        assert!(ended(ns.program(&shmadm).arg("--version").stdin(Stdio::null())).ok().starts_with("shmadm"));
        set_mode(&shmadm, 0o2755);
        refused(ns, &shmadm, "setgid");
        // It also refuses to run with fewer privileges than its caller: it keeps the caller's real uid and could return
        // to it.
        set_mode(&shmadm, 0o755);
        let mut lesser = ns.program("setpriv");
        lesser.args(["--euid", "1234", "--"]).arg(&shmadm).arg("--version");
        assert!(ended(&mut lesser).fails(1).contains("uid 0 has the rights of uid 1234"));
    });
}

#[test]
fn it_does_not_run_with_capabilities_of_its_file() {
    in_namespace_as_root(|ns| {
        needs(Need::Program("setcap"));
        needs_setuid(ns);
        let shmadm = copy(ns, shmadm_path(), "shmadm");
        let setcap = |capabilities: &str| ns.run("setcap", [OsStr::new(capabilities), shmadm.as_os_str()]);
        for capabilities in ["cap_ipc_owner+ep", "cap_ipc_owner+p"] {
            setcap(capabilities);
            refused(ns, &shmadm, "with file capabilities");
        }
    });
}

/// Runs a command line of setpriv in front of `list`.
fn list_after(ns: &Namespace, program: &Path, setpriv: &str) -> Ended {
    let mut command: Command = ns.program("setpriv");
    ended(command.args(setpriv.split_whitespace()).arg("--").arg(program).args(["list", "-q"]).stdin(Stdio::null()))
}

#[test]
fn privileges_of_the_caller_are_accepted() {
    in_namespace_as_root(|ns| {
        let shmadm = copy(ns, shmadm_path(), "shmadm");
        let id = ns.shmadm(["create", "42", "--size", "1", "-q"]).ok();
        let user = "--reuid 1234 --regid 1234 --clear-groups";
        assert_eq!(list_after(ns, &shmadm, user).ok(), id);
        assert_eq!(list_after(ns, &shmadm, "--regid 1234 --clear-groups").ok(), id);
        // The way of a service manager (AmbientCapabilities=).
        let ambient = format!("{user} --inh-caps +ipc_owner,+sys_admin --ambient-caps +ipc_owner,+sys_admin");
        assert_eq!(list_after(ns, &shmadm, &ambient).ok(), id);
    });
}
