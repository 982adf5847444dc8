//! The warning before a write of more than the free memory, and the progress bar of long writes.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::*;
use crate::support::{Need, Running, in_namespace_as_root, needs, shmadm_path, skip, wait_until};

/// Starts a write that waits for its input. Returns the first line of its standard error.
#[track_caller]
fn first_line(ns: &Namespace, command: &mut Command) -> (String, Running) {
    let log = ns.path(&format!("log-{}", fastrand::u64(..)));
    let file = File::create(&log).expect("a log");
    let running = Running(command.stdin(Stdio::piped()).stderr(file).spawn().expect("shmadm"));
    let line = || fs::read_to_string(&log).expect("the log");
    wait_until("it says something", || line().ends_with('\n'));
    (line(), running)
}

/// Runs a command, which must succeed. Returns its standard error.
#[track_caller]
fn complaint(command: &mut Command) -> String {
    let ended = ended(command.stdin(Stdio::null()));
    assert_eq!(ended.code, Some(0), "{ended:?}");
    ended.err
}

#[test]
fn a_fill_larger_than_the_free_memory_gives_a_warning_first() {
    in_namespace(|ns| {
        ns.shmadm(["create", "5", "--size", "16T", "--no-reserve", "--mode", "666"]).ok();
        ns.open_to_all();
        for mut command in [ns.program(shmadm_path()), ns.unprivileged(shmadm_path())] {
            let (line, _waits) = first_line(ns, command.args(["write", "5", "--fill", "1"]));
            assert!(line.starts_with("shmadm: warning: writing 16T to segment 0x00000005 (5, id 0) "), "{line}");
            assert!(line.contains("MemAvailable"), "{line}");
            assert_eq!(column(ns, |row| row.rss), "0");
        }
        assert_eq!(complaint(&mut ns.command(["write", "5", "hello"])), "");
    });
}

/// A memory cgroup with a limit, and one below it. Dropping this removes both.
pub(super) struct Cgroup {
    outer: PathBuf,
    limit: &'static str,
}

impl Cgroup {
    /// Creates them in the cgroup version, 1 or 2, whose memory controller this machine uses.
    pub(super) fn new(limit: &str) -> Option<Cgroup> {
        let name = format!("shmadm-test-{}", fastrand::u64(..));
        let roots = [("/sys/fs/cgroup/memory", "memory.limit_in_bytes"), ("/sys/fs/cgroup", "memory.max")];
        roots.into_iter().find_map(|(root, file)| {
            let cgroup = Cgroup { outer: Path::new(root).join(&name), limit: file };
            fs::create_dir(&cgroup.outer).ok()?;
            fs::write(cgroup.outer.join(file), limit).ok()?;
            // Forbids swap. Only one of these files exists, or neither.
            let _ = fs::write(cgroup.outer.join("memory.swap.max"), "0");
            let _ = fs::write(cgroup.outer.join("memory.swappiness"), "0");
            fs::create_dir(cgroup.inner()).ok()?;
            Some(cgroup)
        })
    }

    fn inner(&self) -> PathBuf {
        self.outer.join("inner")
    }

    /// Returns the number of bytes charged to the cgroup.
    pub(super) fn usage(&self) -> u64 {
        let file = if self.limit == "memory.max" { "memory.current" } else { "memory.usage_in_bytes" };
        let bytes = fs::read_to_string(self.outer.join(file)).expect("the usage");
        bytes.trim().parse().expect("a number")
    }

    /// Returns a shell script that runs in the inner cgroup.
    pub(super) fn sh(&self, ns: &Namespace, line: &str) -> Command {
        let mut sh = ns.program("sh");
        sh.args(["-ec", &format!("echo $$ > $1/cgroup.procs; {line}"), shmadm_path()]).arg(self.inner());
        sh
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        let _ = fs::remove_dir(self.inner());
        let _ = fs::remove_dir(&self.outer);
    }
}

#[test]
fn a_fill_larger_than_the_cgroups_limit_gives_a_warning_first() {
    in_namespace_as_root(|ns| {
        let Some(cgroup) = Cgroup::new("32M") else {
            skip("cannot make a memory cgroup");
        };
        ns.shmadm(["create", "5", "--size", "64M", "--mode", "666"]).ok();
        ns.open_to_all();
        for user in ["", "setpriv --reuid 1234 --regid 1234 --clear-groups"] {
            let (line, running) = first_line(ns, &mut cgroup.sh(ns, &format!("exec {user} $0 write 5 --fill 1")));
            assert!(line.contains("writing 64M to segment 0x00000005 (5, id 0)"), "{line}");
            assert!(line.contains(&format!("cgroup {} has left ({})", cgroup.outer.display(), cgroup.limit)), "{line}");
            assert_eq!(column(ns, |row| row.rss), "0");
            drop(running);
            // This write fits.
            let fits = format!("exec {user} $0 write 5 --offset 60M --fill 1");
            assert_eq!(complaint(&mut cgroup.sh(ns, &fits)), "");
            write(ns, "5 --zero").ok();
        }
        // Pages that exist already need no new memory.
        write(ns, "5 --fill 2").ok();
        assert_eq!(complaint(&mut cgroup.sh(ns, "exec $0 write 5 --fill 1")), "");
    });
}

#[test]
fn a_progress_bar_appears_after_a_second_and_is_cleared() {
    in_namespace(|ns| {
        needs(Need::Program("script"));
        create_filled(ns, 3000);
        let terminal = |line: &str| {
            let mut script = ns.program("script");
            script.args(["-qe", "-E", "never", "-c", line, "/dev/null"]).env("SHELL", "/bin/sh").env("TERM", "xterm");
            ended(script.env("shmadm", shmadm_path()).stdin(Stdio::null())).ok()
        };
        let slow = "head -c 1000 crosses; sleep 1.1; head -c 1000 crosses; sleep 0.1; head -c 1000 crosses";
        let seen = terminal(&format!("({slow}) | $shmadm write 5; echo end"));
        assert!(seen.contains("writing 2K") || seen.contains("writing 2.9K"), "{seen:?}");
        // The bar was cleared, and nothing is left on its line.
        assert!(seen.ends_with("\r\u{1b}[2Kend\r\n"), "{seen:?}");
        // No bar if the write takes less than a second, or if standard error is no terminal.
        for line in ["cat crosses | $shmadm write 5", &format!("({slow}) | $shmadm write 5 2>log; cat log")] {
            assert_eq!(terminal(&format!("{line}; echo end")), "end\r\n", "{line}");
        }
    });
}
