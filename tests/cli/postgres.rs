//! A real user of System V shared memory, a PostgreSQL server: its segments are not removed while it runs, and are
//! removed when it is dead.

use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::prctl::set_child_subreaper;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::waitpid;
use nix::unistd::{Pid, User};

use crate::support::{Ended, Namespace, Row, Running, children, ended, in_namespace_as_root, skip, wait_until};

/// The server uses only System V shared memory, and accepts connections only in its directory.
const SETTINGS: [&str; 6] = [
    "shared_memory_type=sysv",
    "dynamic_shared_memory_type=sysv",
    "shared_buffers=4MB",
    "listen_addresses=",
    "max_connections=10",
    "fsync=off",
];

/// A database cluster below the test's directory. It belongs to an ordinary user, because PostgreSQL refuses to run as
/// root.
struct Cluster<'a> {
    ns: &'a Namespace,
    programs: PathBuf,
    user: User,
    home: PathBuf,
}

/// A server with all its processes. Dropping this ends them by their pids.
struct Server(Running);

/// Returns the newest PostgreSQL that is installed.
fn installed() -> Option<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql").ok()?.filter_map(Result::ok);
    let number = |path: &Path| path.file_name()?.to_str()?.parse::<u32>().ok();
    let newest = versions.map(|version| version.path()).max_by_key(|path| number(path))?;
    Some(newest.join("bin")).filter(|programs| programs.join("initdb").is_file())
}

impl<'a> Cluster<'a> {
    fn new(ns: &'a Namespace, programs: PathBuf) -> Cluster<'a> {
        let named = |name| User::from_name(name).expect("the users");
        let user = named("postgres").or_else(|| named("nobody")).expect("a user who is not root");
        let home = ns.path("pg");
        fs::create_dir(&home).expect("a directory");
        let cluster = Cluster { ns, programs, user, home };
        let (uid, gid) = (cluster.user.uid.as_raw(), cluster.user.gid.as_raw());
        std::os::unix::fs::chown(&cluster.home, Some(uid), Some(gid)).expect("chown");
        ns.open_to_all();
        let data = cluster.data();
        let created = cluster.program("initdb").args(["--no-sync", "-A", "trust", "-D"]).arg(data).output();
        Ended::from(created.expect("initdb")).ok();
        cluster
    }

    fn data(&self) -> PathBuf {
        self.home.join("data")
    }

    /// Returns one of PostgreSQL's own programs, as that user.
    fn program(&self, name: &str) -> Command {
        let mut command = self.ns.program("setpriv");
        let (uid, gid) = (self.user.uid.to_string(), self.user.gid.to_string());
        command.args(["--reuid", &uid, "--regid", &gid, "--clear-groups", "--"]);
        command.arg(self.programs.join(name)).stdin(Stdio::null()).current_dir(&self.home);
        command
    }

    fn answers(&self) -> bool {
        let answer = self.query("select 6 * 7");
        answer.code == Some(0) && answer.out == "42\n"
    }

    fn query(&self, query: &str) -> Ended {
        ended(self.program("psql").arg("-h").arg(&self.home).args(["-d", "postgres", "-XAtc", query]))
    }

    /// Starts the server, in a process group of its own, and waits until it answers.
    #[track_caller]
    fn start(&self) -> Server {
        let path = self.ns.path("log");
        let log = File::create(&path).expect("a log");
        let mut command = self.program("postgres");
        command.arg("-D").arg(self.data()).arg("-k").arg(&self.home);
        command.args(SETTINGS.iter().flat_map(|setting| ["-c", setting]));
        command.stdout(log.try_clone().expect("a log")).stderr(log).process_group(0);
        let mut server = Server(Running(command.spawn().expect("postgres")));
        // A long deadline, because the server may have to recover from a crash.
        let deadline = Instant::now() + Duration::from_secs(60);
        while !self.answers() {
            let end = server.0.0.try_wait().expect("postgres");
            let log = || fs::read_to_string(&path).unwrap_or_default();
            assert!(end.is_none() && Instant::now() < deadline, "the server does not answer ({end:?}):\n{}", log());
            std::thread::sleep(Duration::from_millis(50));
        }
        server
    }

    /// Returns the kernel's rows of that user's segments.
    fn segments(&self) -> Vec<Row> {
        let uid = self.user.uid.to_string();
        self.ns.table().into_iter().filter(|row| row.uid == uid).collect()
    }
}

impl Server {
    /// Returns the postmaster and its children. Each has a session of its own, so there is no group to signal.
    fn pids(&self) -> Vec<Pid> {
        let postmaster = self.0.pid();
        [vec![postmaster], children(postmaster)].concat()
    }

    /// Ends all processes by SIGKILL, so that none cleans up.
    fn crash(&mut self) {
        // When the postmaster has ended, this process becomes the parent of its children. Stopping it first prevents
        // new ones.
        set_child_subreaper(true).expect("PR_SET_CHILD_SUBREAPER");
        let _ = kill(self.0.pid(), Signal::SIGSTOP);
        let pids = self.pids();
        for pid in &pids {
            // Some may have ended already.
            let _ = kill(*pid, Signal::SIGKILL);
        }
        let _ = self.0.0.wait();
        for pid in &pids[1..] {
            let _ = waitpid(*pid, None);
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if matches!(self.0.0.try_wait(), Ok(None)) {
            self.crash();
        }
    }
}

fn ids<'a>(rows: impl IntoIterator<Item = &'a Row>) -> Vec<String> {
    rows.into_iter().map(|row| row.id.clone()).collect()
}

#[test]
fn segments_of_a_running_server_stay_and_those_of_a_dead_one_are_removed() {
    in_namespace_as_root(|ns| {
        let Some(programs) = installed() else {
            skip("PostgreSQL is not installed");
        };
        let cluster = Cluster::new(ns, programs);
        let user = cluster.user.name.as_str();
        // Segments of another user, older and newer.
        let other = ns.shmadm(["create", "1", "--size", "4K", "-q"]).ok();
        let mut server = cluster.start();
        let running = ids(&cluster.segments());
        assert!(!running.is_empty(), "{:?}", ns.table());
        cluster.query("create table kept as select 42 as n").ok();

        let orphans = ns.shmadm(["list", "--orphaned", "--owner", user, "-q"]).ok();
        assert_eq!(orphans, "");
        let removed = ns.shmadm(["remove", "--all", "-y"]).ok();
        assert_eq!(
            removed,
            format!("removed segment 0x00000001 (id {}, 4096 bytes)\n", other.trim_end().trim_start_matches("id:"))
        );
        let spared = cluster.segments();
        assert_eq!((ids(&spared), ids(&ns.table())), (running.clone(), running));
        assert!(spared.iter().all(|row| row.nattch != "0" && row.mode.len() == 3), "{spared:?}");
        assert!(cluster.answers());

        server.crash();
        wait_until("all have detached", || ns.table().iter().all(|row| row.nattch == "0"));
        ns.shmadm(["create", "2", "--size", "4K"]).ok();
        let left = cluster.segments();
        assert!(!left.is_empty(), "{:?}", ns.table());
        let orphans = ns.shmadm(["list", "--orphaned", "--owner", user, "-q"]).ok();
        assert_eq!(orphans.lines().map(|id| id.trim_start_matches("id:")).collect::<Vec<_>>(), ids(&left));
        ns.shmadm(["remove", "--orphaned", "--owner", user, "-y"]).ok();
        let others: Vec<_> = ns.table().into_iter().map(|row| row.key.clone()).collect();
        assert_eq!(others, ["2"]);

        // The server recovers and creates new segments.
        let mut server = cluster.start();
        assert_eq!(cluster.query("select n from kept").ok(), "42\n");
        assert!(!cluster.segments().is_empty());
        server.crash();
    });
}
