//! Programs that run beside a test, and waiting for their effects.

use std::io::Read;
use std::process::{Child, Output, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::{Ended, Namespace, ended, shmadm_path};

/// A process that is killed at the end of the test, also if the test fails.
pub(crate) struct Running(pub Child);

impl Running {
    pub(crate) fn pid(&self) -> Pid {
        Pid::from_raw(self.0.id().cast_signed())
    }

    /// Sends a signal, waits for the end, and returns the exit status or the signal that ended it.
    #[track_caller]
    pub(crate) fn end(mut self, signal: Signal) -> (Option<i32>, Option<i32>) {
        use std::os::unix::process::ExitStatusExt;
        kill(self.pid(), signal).expect("the process");
        // With an ignored SIGINT inherited from the user's shell the process would never end.
        wait_until(&format!("{signal} ends it"), || self.0.try_wait().expect("its state").is_some());
        let status = self.0.wait().expect("its exit status");
        (status.code(), status.signal())
    }

    /// Waits for its end. Returns its output.
    #[track_caller]
    pub(crate) fn ended(mut self) -> Ended {
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        // Reads one stream after the other: standard error is short enough for the pipe.
        self.0.stdout.take().map(|mut stream| stream.read_to_end(&mut stdout).expect("its output"));
        self.0.stderr.take().map(|mut stream| stream.read_to_end(&mut stderr).expect("its complaints"));
        Output { status: self.0.wait().expect("its exit status"), stdout, stderr }.into()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Returns the children of a process, as the kernel lists them.
#[track_caller]
pub(crate) fn children(pid: Pid) -> Vec<Pid> {
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).expect("a process");
    children.split_whitespace().map(|pid| Pid::from_raw(pid.parse().expect("a pid"))).collect()
}

/// Returns whether a process has a new file open that is longer than `bytes` and not in place yet: it has no name, or a
/// temporary one.
pub(crate) fn writes_new_file(pid: Pid, bytes: u64) -> bool {
    let files = std::fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    let mut files = files.map(|entry| entry.path());
    files.any(|file| {
        let is_new = std::fs::read_link(&file).is_ok_and(|name| {
            let name = name.to_string_lossy();
            name.contains("/.shmadm-") || name.contains("/#") && name.ends_with(" (deleted)")
        });
        is_new && std::fs::metadata(&file).is_ok_and(|file| file.is_file() && file.len() > bytes)
    })
}

/// Returns the state of a process, as a letter: S for one that sleeps, Z for a zombie.
#[track_caller]
pub(crate) fn state_of(pid: i32) -> String {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("a process");
    // The name in parentheses may contain any character.
    let (_, state) = stat.rsplit_once(") ").expect("a state");
    state[..1].to_owned()
}

/// Waits for something that another process does, 30 seconds at most.
#[track_caller]
pub(crate) fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !done() {
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        sleep(Duration::from_millis(10));
    }
}

/// Returns the output of a line of sh on a terminal with these settings of stty, without carriage returns.
#[track_caller]
pub(crate) fn on_terminal(ns: &Namespace, settings: &str, line: &str) -> String {
    let mut script = ns.program("script");
    script.env("SHMADM", shmadm_path()).env("TERM", "xterm").env("SHELL", "/bin/sh").stdin(Stdio::null());
    ended(script.args(["-qec", &format!("stty {settings}; {line}"), "/dev/null"])).ok().replace('\r', "")
}
