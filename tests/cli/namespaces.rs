//! `--ns` and other IPC namespaces, compared with nsenter, lsns and the kernel.

mod all;
mod containers;
mod kept;
mod owners;
mod single;

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::process::{Command, Stdio};

use nix::unistd::{Pid, geteuid, gettid};
use serde_json::Value;

use crate::support::{
    Ended, Namespace, Row, Running, ended, in_namespace, in_namespace_as_root, rows, shmadm_path, skip, skippable,
    wait_until,
};

/// Returns the inode of a process's, or a thread's, IPC namespace.
#[track_caller]
fn inode(pid: Pid) -> u64 {
    fs::metadata(format!("/proc/{pid}/ns/ipc")).expect("a process").ino()
}

/// A process that does nothing, in another IPC namespace.
struct OtherNamespace {
    process: Running,
    pid: String,
    inode: u64,
}

impl OtherNamespace {
    fn new(ns: &Namespace) -> OtherNamespace {
        OtherNamespace::start(ns.program("unshare").args(["--ipc", "--", "sleep", "1000"]))
    }

    /// Starts a command, which must become sleep(1) in its own namespace.
    fn start(command: &mut Command) -> OtherNamespace {
        let process = Running(command.spawn().expect("a program"));
        let pid = process.pid().to_string();
        let is_there = || fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|comm| comm == "sleep\n");
        wait_until("it sleeps in its namespace", is_there);
        let inode = inode(process.pid());
        assert_ne!(inode, self::inode(gettid()));
        OtherNamespace { process, pid, inode }
    }

    /// Runs a program in that namespace.
    #[track_caller]
    fn run(&self, ns: &Namespace, words: &[&str]) -> String {
        let ipc = format!("--ipc=/proc/{}/ns/ipc", self.pid);
        ns.run("nsenter", [&[ipc.as_str(), "--"], words].concat())
    }

    /// Returns the rows of the kernel's table in that namespace.
    #[track_caller]
    fn table(&self, ns: &Namespace) -> Vec<Row> {
        let table = self.run(ns, &["cat", "/proc/sysvipc/shm"]);
        rows(&table)
    }
}

/// Returns the segments of this namespace in the output of `list --all-namespaces -f json`.
fn segments(list: &Value, inode: u64) -> Vec<&Value> {
    list["segments"].as_array().expect("an array").iter().filter(|segment| segment["ns"] == inode).collect()
}

/// Returns the entry of this namespace in the same output.
#[track_caller]
fn namespace(list: &Value, inode: u64) -> &Value {
    let mut namespaces = list["namespaces"].as_array().expect("an array").iter().filter(|known| known["ns"] == inode);
    let found = namespaces.next().unwrap_or_else(|| panic!("{inode} is not there: {list}"));
    assert!(namespaces.next().is_none(), "{inode} appears twice: {list}");
    found
}

/// Lists all namespaces of the machine, as JSON.
#[track_caller]
fn list_all(ns: &Namespace, words: &[&str]) -> Value {
    ns.shmadm([&["list", "--all-namespaces", "-f", "json"], words].concat()).json()
}

#[test]
fn every_command_acts_in_the_chosen_namespace() {
    in_namespace(|ns| {
        ns.shmadm(["create", "42", "--size", "4096"]).ok();
        let own = ns.table();
        let there = OtherNamespace::new(ns);
        for named in [there.pid.clone(), format!("/proc/{}/ns/ipc", there.pid)] {
            let run = |words: &[&str]| ns.shmadm([&["--ns", named.as_str()], words].concat());
            run(&["create", "42", "--size", "8192"]).ok();
            let [row] = &there.table(ns)[..] else { panic!("one segment: {:?}", there.table(ns)) };
            assert_eq!((row.key.as_str(), row.size.as_str()), ("42", "8192"));
            let id = row.id.clone();
            run(&["attach-write", "42", "hello"]).ok();
            let look = "shmread(shmget(42, 0, 0), my $bytes, 0, 6) or die $!; print $bytes";
            assert_eq!(there.run(ns, &["perl", "-e", look]), "hello\0");
            assert_eq!(run(&["read", "42", "--format", "string", "--length", "6"]).ok().trim_end(), "hello");
            assert_eq!(run(&["list", "-q"]).ok(), format!("id:{id}\n"));
            assert_eq!(run(&["stat", "42", "-f", "json"]).json()[0]["size"], 8192);
            run(&["set", "42", "--mode", "640"]).ok();
            assert_eq!(there.table(ns)[0].mode, "640");
            let limits = run(&["limits", "-f", "json"]).json();
            assert_eq!((&limits["usage"]["segments"], &limits["usage"]["pages"]), (&1.into(), &2.into()));
            run(&["remove", "42"]).ok();
            assert!(there.table(ns).is_empty());
            run(&["stat", "42"]).fails(3);
        }
        // The option may also follow the command.
        ns.shmadm(["create", "1", "--size", "1", "--ns", &there.pid]).ok();
        assert_eq!(there.table(ns).len(), 1);
        assert_eq!(ns.table(), own);
    });
}

#[test]
fn limits_are_those_of_the_namespace() {
    in_namespace(|ns| {
        let there = OtherNamespace::new(ns);
        there.run(ns, &["sh", "-c", "echo 5 >/proc/sys/kernel/shmmni; echo 1 >/proc/sys/kernel/shm_rmid_forced"]);
        let limits = ns.shmadm(["--ns", &there.pid, "limits", "-f", "json"]).json();
        let of = |limits: &Value| {
            let all = limits["limits"].as_array().expect("an array").clone();
            all.into_iter().find(|limit| limit["name"] == "SHMMNI").expect("SHMMNI")["limit"].clone()
        };
        assert_eq!(of(&limits), 5);
        assert_ne!(of(&ns.shmadm(["limits", "-f", "json"]).json()), 5);
        let created = ns.shmadm(["--ns", &there.pid, "create", "1", "--size", "1"]);
        assert!(created.err.contains("shm_rmid_forced"), "{created:?}");
    });
}

#[test]
fn guard_runs_its_command_there_only_if_it_is_shared() {
    in_namespace(|ns| {
        let there = OtherNamespace::new(ns);
        let leak = ["--", "perl", "-e", "defined shmget(42, 5000, 01600) or die $!"];
        let guard = |options: &[&str]| ns.shmadm([&["--ns", there.pid.as_str(), "guard"], options, &leak].concat());
        assert!(guard(&[]).usage_error().contains("--shared"));
        assert!(there.table(ns).is_empty());
        let shared = guard(&["--shared"]);
        assert!(shared.code == Some(1) && shared.err.contains("0x0000002a"), "{shared:?}");
        assert_eq!(there.table(ns)[0].key, "42");
        assert!(ns.table().is_empty());
    });
}

#[test]
fn a_mounted_namespace_file_is_enough() {
    in_namespace(|ns| {
        let there = OtherNamespace::new(ns);
        ns.shmadm(["--ns", &there.pid, "create", "42", "--size", "8192"]).ok();
        let file = ns.file("mounted", "");
        // The last process ends, and only the mount keeps the namespace.
        let script = "set -e; mount --bind /proc/$2/ns/ipc \"$3\"; kill -9 $2
            for i in $(seq 200); do [ -e /proc/$2/ns/ipc ] || break; sleep .02; done
            [ ! -e /proc/$2/ns/ipc ]; $1 --ns \"$3\" list -o key,size,ns -f raw --no-headings";
        let file = file.to_str().expect("UTF-8");
        let args = ["--mount", "sh", "-c", script, "sh", shmadm_path(), &there.pid, file];
        let listed = ns.run("unshare", args);
        assert_eq!(listed, format!("0x0000002a 8192 {}\n", there.inode));
        drop(there.process);
    });
}

#[test]
fn a_bad_namespace_is_an_error_and_nothing_is_done() {
    in_namespace(|ns| {
        let file = ns.file("file", "text");
        let fifo = ns.path("fifo");
        ns.run("mkfifo", [&fifo]);
        let (file, fifo) = (file.to_str().expect("UTF-8"), fifo.to_str().expect("UTF-8"));
        for (named, cause) in [
            ("4194304", "no such process"),
            ("2147483647", "no process, mount or open file of it"),
            (file, "not a file of an IPC namespace"),
            (fifo, "not a file of an IPC namespace"),
            ("/proc/self/ns", "not a file of an IPC namespace"),
            ("/proc/self/ns/net", "not a file of an IPC namespace"),
            ("/proc/self/ns/user", "not a file of an IPC namespace"),
            ("nowhere", "No such file or directory"),
        ] {
            let error = ns.shmadm(["--ns", named, "create", "1", "--size", "1"]).fails(1);
            assert!(error.contains(cause), "{named}: {error}");
        }
        for word in ["0", "", "99999999999999999999", "99999999999999999999"] {
            ns.shmadm(["--ns", word, "create", "1", "--size", "1"]).usage_error();
        }
        assert!(ns.table().is_empty());
        let failed = ns.shmadm(["--ns", "4194304", "list", "-f", "json"]);
        let failed: Value = serde_json::from_str(&failed.out).expect("JSON");
        assert_eq!(failed["error"]["errno"], "ENOENT");
    });
}

#[test]
fn without_privilege_only_the_own_namespace_is_accessible() {
    in_namespace(|ns| {
        ns.shmadm(["create", "42", "--size", "4096"]).ok();
        let there = OtherNamespace::new(ns);
        let error = ns.shmadm_unprivileged(["--ns", &there.pid, "list"]).fails(1);
        assert!(error.contains("permission denied"), "{error}");
        for own in ["$$", "/proc/$$/ns/ipc"] {
            let mut shell = ns.unprivileged("sh");
            shell.args(["-c", &format!("exec {} --ns {own} list -f raw --no-headings -o key,ns", shmadm_path())]);
            assert_eq!(ended(&mut shell).ok(), format!("0x0000002a {}\n", inode(gettid())), "{own}");
        }
    });
}

/// Returns a program as a user without any privilege who may create user namespaces: as root uid 1234, else the user
/// who runs the tests.
fn ordinary(program: &str) -> Command {
    let mut command = Command::new("setpriv");
    if geteuid().is_root() {
        command.args(["--reuid", "1234", "--regid", "1234", "--clear-groups"]);
    } else {
        command.arg("--no-new-privs");
    }
    command.args(["--", program]).current_dir("/").env("LC_ALL", "C").stdin(Stdio::null());
    command
}

/// Skips the test unless an ordinary user may create namespaces.
fn needs_namespaces_of_users() {
    let tried = Ended::from(ordinary("unshare").args(["--user", "--ipc", "true"]).output().expect("setpriv"));
    if tried.code != Some(0) {
        skip(format!("an ordinary user cannot make namespaces: {}", tried.err.trim()));
    }
}

#[test]
fn an_ordinary_user_enters_an_own_namespace_through_its_user_namespace() {
    skippable(|| {
        needs_namespaces_of_users();
        let root_there = ["--user", "--map-root-user", "--ipc", "sleep", "1000"];
        let there = OtherNamespace::start(ordinary("unshare").args(root_there));
        let shmadm = |words: &[&str]| ended(ordinary(shmadm_path()).args(words));
        shmadm(&["--ns", &there.pid, "create", "42", "--size", "8192"]).ok();
        shmadm(&["--ns", &there.pid, "write", "42", "hello"]).ok();
        // With nsenter(1), too, the user is root there.
        let mut nsenter = ordinary("nsenter");
        nsenter.args(["--user", "--preserve-credentials", "--ipc", "--target", &there.pid, "--"]);
        let table = ended(nsenter.args(["tail", "-n", "+2", "/proc/sysvipc/shm"])).ok();
        let row: Vec<_> = table.split_whitespace().collect();
        assert_eq!((row[0], row[1], row[3], row[7]), ("42", "0", "8192", "0"));
        let inside =
            shmadm(&["--ns", &there.pid, "list", "-f", "raw", "--no-headings", "-o", "key,size,uid,cgid"]).ok();
        assert_eq!(inside, "0x0000002a 8192 0 0\n");

        // In the list of all namespaces the owner of the same segment is the user.
        let list = shmadm(&["list", "--all-namespaces", "-f", "json"]);
        let notes = list.err.clone();
        let list = list.json();
        let found = segments(&list, there.inode);
        assert_eq!(found.len(), 1, "{list}");
        let uid = if geteuid().is_root() { 1234 } else { geteuid().as_raw() };
        assert_eq!((&found[0]["uid"], &found[0]["cuid"], &found[0]["id"]), (&uid.into(), &uid.into(), &0.into()));
        assert_eq!(found[0]["size"], 8192);
        assert_eq!(namespace(&list, there.inode)["pid"].to_string(), there.pid);
        assert_eq!(namespace(&list, there.inode)["command"], "sleep 1000");
        // A parent that ignores SIGCHLD changes nothing.
        let deaf = "$SIG{CHLD} = 'IGNORE'; exec @ARGV";
        let list =
            ended(ordinary("perl").args(["-e", deaf, shmadm_path(), "list", "--all-namespaces", "-f", "json"])).json();
        assert_eq!(segments(&list, there.inode).len(), 1, "{list}");
        // The note counts processes of other users. A container may have none.
        let is_of_others = |entry: &std::fs::DirEntry| {
            let is_process = entry.file_name().to_string_lossy().parse::<u32>().is_ok();
            is_process && entry.metadata().is_ok_and(|metadata| metadata.uid() != uid)
        };
        if std::fs::read_dir("/proc").expect("/proc").flatten().any(|entry| is_of_others(&entry)) {
            assert!(notes.lines().count() == 1 && notes.contains("cannot be inspected"), "{notes}");
        }
    });
}

#[test]
fn the_namespace_of_guard_can_be_listed() {
    skippable(|| {
        needs_namespaces_of_users();
        let script = format!("{} create 42 --size 5000 -q >/dev/null && exec sleep 1000", shmadm_path());
        let guard = Running(
            ordinary(shmadm_path())
                .args(["guard", "--", "sh", "-c", &script])
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .expect("shmadm"),
        );
        let pid = guard.pid().to_string();
        let uid = if geteuid().is_root() { 1234 } else { geteuid().as_raw() };
        let there = || fs::metadata(format!("/proc/{pid}/ns/ipc")).map(|ipc| ipc.ino()).ok();
        wait_until("guard is in its own namespace", || there() != Some(inode(gettid())));
        let expected = format!("42 5000 {uid}\n").replace("42", "0x0000002a");
        let list = ["--ns", &pid, "list", "-f", "raw", "--no-headings", "-o", "key,size,uid"];
        wait_until("the segment is seen", || ended(ordinary(shmadm_path()).args(list)).out == expected);
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).expect("guard");
        let command = Pid::from_raw(children.trim().parse().expect("the command"));
        nix::sys::signal::kill(command, nix::sys::signal::Signal::SIGTERM).expect("the command");
        let mut guard = guard;
        assert_eq!(guard.0.wait().expect("its exit status").code(), Some(128 + 15));
    });
}
