//! A private IPC namespace for a test, and the programs that are run in it.

use std::ffi::OsStr;
use std::fs::OpenOptions;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, geteuid};
use tempfile::TempDir;

/// Set in the copy of the test program that runs inside a user namespace.
const INSIDE: &str = "SHMADM_TEST_INSIDE";
/// A file that collects the names of tests that could not run; .ci/run fails on them.
const SKIPS: &str = "SHMADM_TEST_SKIPS";

/// An empty IPC namespace with its ids at 0, and a directory; both go with the test.
pub(crate) struct Namespace {
    directory: TempDir,
    /// Whether this is the machine's root, who can be several users; else one user who is root in a user namespace.
    pub is_root: bool,
}

/// Runs a test in a private IPC namespace: by unshare(2) in this thread as root, else in a copy of the test program
/// below `unshare --user`. Where neither is allowed the test is skipped, by name and loudly.
pub(crate) fn in_namespace<F: FnOnce(&Namespace)>(test: F) {
    let inside = std::env::var_os(INSIDE).is_some();
    if !inside && unshare(CloneFlags::CLONE_NEWIPC).is_err() {
        return in_user_namespace(&name_of::<F>());
    }
    let directory = tempfile::tempdir().expect("a temporary directory");
    test(&Namespace { directory, is_root: !inside && geteuid().is_root() });
}

/// The same, for a test that needs the machine's root (several users, limits that are the machine's own).
pub(crate) fn in_namespace_as_root<F: FnOnce(&Namespace)>(test: F) {
    if geteuid().is_root() && std::env::var_os(INSIDE).is_none() {
        in_namespace(test);
    } else {
        skip(&name_of::<F>(), "needs root");
    }
}

fn in_user_namespace(name: &str) {
    let me = std::env::current_exe().expect("the test program");
    let inside = Command::new("unshare")
        .args(["--user", "--map-root-user", "--ipc", "--"])
        .arg(me)
        .args(["--exact", name, "--nocapture", "--test-threads=1"])
        .env(INSIDE, "1")
        .output()
        .expect("unshare of util-linux");
    let text = String::from_utf8_lossy(&inside.stdout);
    if text.contains("1 passed") && inside.status.success() {
        return;
    }
    let errors = String::from_utf8_lossy(&inside.stderr);
    if text.contains("running 1 test") {
        panic!("{name} failed in a user namespace:\n{text}\n{errors}");
    }
    skip(name, &format!("no IPC namespace is to be had: {}", errors.trim()));
}

/// Says that a test could not run, and why.
pub(crate) fn skip(name: &str, reason: &str) {
    let line = format!("SKIPPED {name}: {reason}\n");
    std::io::stderr().write_all(line.as_bytes()).expect("standard error");
    if let Some(path) = std::env::var_os(SKIPS) {
        let mut file = OpenOptions::new().create(true).append(true).open(path).expect("the file of skips");
        file.write_all(line.as_bytes()).expect("the file of skips");
    }
}

/// The test's name as the test program takes it: the path of its closure without the crate and `{{closure}}`.
fn name_of<F>() -> String {
    let path = std::any::type_name::<F>();
    let path = path.strip_suffix("::{{closure}}").unwrap_or(path);
    path.split_once("::").map_or(path, |(_, rest)| rest).to_owned()
}

impl Namespace {
    /// A path below the test's own directory.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// A file below the test's own directory.
    pub(crate) fn file(&self, name: &str, contents: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, contents).expect("a file");
        path
    }

    /// Runs shmadm to its end, with nothing on its standard input.
    #[track_caller]
    pub(crate) fn shmadm<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Ended {
        ended(self.command(args).stdin(Stdio::null()))
    }

    /// Runs shmadm with these bytes on its standard input, which is a pipe.
    #[track_caller]
    pub(crate) fn shmadm_with_input<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>, input: &[u8]) -> Ended {
        with_input(&mut self.command(args), input)
    }

    /// Runs shmadm as somebody without any privilege: as root uid and gid 1234, else this user without capabilities.
    #[track_caller]
    pub(crate) fn shmadm_unprivileged<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Ended {
        let mut command = self.unprivileged(env!("CARGO_BIN_EXE_shmadm"));
        ended(command.args(args).stdin(Stdio::null()))
    }

    /// The command shmadm, in this namespace and directory.
    pub(crate) fn command<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Command {
        let mut command = self.program(env!("CARGO_BIN_EXE_shmadm"));
        command.args(args);
        command
    }

    /// Another program, in this namespace and directory, with an environment that changes nothing it prints.
    pub(crate) fn program(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command.current_dir(self.directory.path());
        command.env("LC_ALL", "C").env("TZ", "UTC").env_remove("NO_COLOR").env_remove("CLICOLOR_FORCE");
        command
    }

    /// Another program, as somebody without any privilege.
    pub(crate) fn unprivileged(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = self.program("setpriv");
        if self.is_root {
            command.args(["--reuid", "1234", "--regid", "1234", "--clear-groups", "--"]);
        } else {
            command.args(["--bounding-set", "-all", "--inh-caps", "-all", "--no-new-privs", "--"]);
        }
        command.arg(program);
        command
    }

    /// Runs another program to its end, which must be good, and returns what it printed.
    #[track_caller]
    pub(crate) fn run<A: AsRef<OsStr>>(&self, program: &str, args: impl IntoIterator<Item = A>) -> String {
        let ended = ended(self.program(program).args(args).stdin(Stdio::null()));
        assert!(ended.code == Some(0), "{program}: {ended:?}");
        ended.out
    }

    /// Starts shmadm and waits until it says on standard error that it holds the attachment.
    #[track_caller]
    pub(crate) fn hold<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Running {
        let log = self.path(&format!("hold-{}", fastrand::u64(..)));
        let file = std::fs::File::create(&log).expect("a log");
        let child = self.command(args).stdin(Stdio::null()).stdout(Stdio::null()).stderr(file).spawn().expect("shmadm");
        let running = Running(child);
        wait_until("the attachment is held", || std::fs::read_to_string(&log).is_ok_and(|log| log.contains("holding")));
        running
    }

    /// The rows of the kernel's own table, each split on blanks; the line of titles is left out.
    pub(crate) fn table(&self) -> Vec<Vec<String>> {
        // Read by another program: this thread's namespace is the test's own, and so is its child's.
        let table = self.run("cat", ["/proc/sysvipc/shm"]);
        table.lines().skip(1).map(|line| line.split_whitespace().map(str::to_owned).collect()).collect()
    }

    /// The kernel's row of the segment with this id.
    pub(crate) fn row(&self, id: i32) -> Option<Vec<String>> {
        self.table().into_iter().find(|row| row[1] == id.to_string())
    }

    /// Compiles a C program.
    #[track_caller]
    pub(crate) fn compile(&self, name: &str, source: &str) -> PathBuf {
        let (source, program) = (self.file(&format!("{name}.c"), source), self.path(name));
        self.run("cc", [OsStr::new("-o"), program.as_os_str(), source.as_os_str()]);
        program
    }

    /// A copy of a program, in the test's directory. Not made by this process: another test that starts a program just
    /// then would keep the copy open for writing, and it could not be run.
    pub(crate) fn copy(&self, program: &str, name: &str) -> PathBuf {
        let copy = self.path(name);
        self.run("cp", [OsStr::new(program), copy.as_os_str()]);
        copy
    }

    /// Makes the test's directory and what is in it usable by everyone, for tests of two users.
    pub(crate) fn open_to_all(&self) {
        self.run("chmod", [OsStr::new("-R"), OsStr::new("a+rwX"), self.directory.path().as_os_str()]);
    }
}

/// How a program ended, and what it printed.
#[derive(Debug)]
pub(crate) struct Ended {
    /// Its exit status, unless a signal ended it.
    pub code: Option<i32>,
    pub signal: Option<i32>,
    pub out: String,
    pub err: String,
    pub bytes: Vec<u8>,
}

impl Ended {
    /// Expects exit status 0, and returns standard output.
    #[track_caller]
    pub(crate) fn ok(self) -> String {
        assert_eq!(self.code, Some(0), "{self:?}");
        self.out
    }

    /// Expects exit status 0, and returns standard output as JSON.
    #[track_caller]
    pub(crate) fn json(self) -> serde_json::Value {
        assert_eq!(self.code, Some(0), "{self:?}");
        serde_json::from_str(&self.out).expect("JSON")
    }

    /// Expects this exit status and one line of complaint from shmadm itself, which it returns.
    #[track_caller]
    pub(crate) fn fails(self, code: i32) -> String {
        assert_eq!(self.code, Some(code), "{self:?}");
        assert!(self.err.starts_with("shmadm: ") && self.err.lines().count() == 1, "{self:?}");
        self.err
    }

    /// Expects a usage error: exit status 2, nothing on standard output, and a complaint, which it returns.
    #[track_caller]
    pub(crate) fn usage_error(self) -> String {
        assert_eq!(self.code, Some(2), "{self:?}");
        assert!(self.out.is_empty() && !self.err.is_empty(), "{self:?}");
        self.err
    }
}

impl From<Output> for Ended {
    fn from(output: Output) -> Ended {
        use std::os::unix::process::ExitStatusExt;
        let ended = Ended {
            code: output.status.code(),
            signal: output.status.signal(),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
            bytes: output.stdout,
        };
        assert!(!ended.err.contains("panicked"), "{ended:?}");
        ended
    }
}

/// The line on standard error for a failure that is this in JSON.
pub(crate) fn line_of(error: &serde_json::Value) -> String {
    let message = error["message"].as_str().expect("a message");
    let hint = error["hint"].as_str().map_or(String::new(), |hint| format!("; {hint}"));
    format!("shmadm: {message}{hint}\n")
}

/// Runs a command to its end.
#[track_caller]
pub(crate) fn ended(command: &mut Command) -> Ended {
    command.output().unwrap_or_else(|error| panic!("{command:?}: {error}")).into()
}

/// Runs a command to its end with these bytes on its standard input, a pipe. It need not read them.
#[track_caller]
pub(crate) fn with_input(command: &mut Command, input: &[u8]) -> Ended {
    let command = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let mut pipe = child.stdin.take().expect("a pipe");
    let input = input.to_owned();
    let writer = std::thread::spawn(move || drop(pipe.write_all(&input)));
    let ended = child.wait_with_output().expect("its end").into();
    writer.join().expect("the writer");
    ended
}

/// A process that is ended when the test is over, whatever comes.
pub(crate) struct Running(pub Child);

impl Running {
    pub(crate) fn pid(&self) -> Pid {
        Pid::from_raw(self.0.id().cast_signed())
    }

    /// Sends a signal, waits for the end, and returns the exit status or the signal that ended it.
    pub(crate) fn end(mut self, signal: Signal) -> (Option<i32>, Option<i32>) {
        use std::os::unix::process::ExitStatusExt;
        kill(self.pid(), signal).expect("the process");
        let status = self.0.wait().expect("its end");
        (status.code(), status.signal())
    }
}

impl Running {
    /// Waits for its end, and returns what it printed.
    #[track_caller]
    pub(crate) fn ended(mut self) -> Ended {
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        // One after the other: what is said on standard error is little.
        self.0.stdout.take().map(|mut stream| stream.read_to_end(&mut stdout).expect("its output"));
        self.0.stderr.take().map(|mut stream| stream.read_to_end(&mut stderr).expect("its complaints"));
        Output { status: self.0.wait().expect("its end"), stdout, stderr }.into()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Waits for something that another process does, five seconds at most.
#[track_caller]
pub(crate) fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(5);
    while !done() {
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        sleep(Duration::from_millis(10));
    }
}

/// What this line of sh prints on a terminal with these settings of stty, without carriage returns.
#[track_caller]
pub(crate) fn on_terminal(ns: &Namespace, settings: &str, line: &str) -> String {
    let mut script = ns.program("script");
    script
        .env("SHMADM", env!("CARGO_BIN_EXE_shmadm"))
        .env("TERM", "xterm")
        .env("SHELL", "/bin/sh")
        .stdin(Stdio::null());
    ended(script.args(["-qec", &format!("stty {settings}; {line}"), "/dev/null"])).ok().replace('\r', "")
}

/// Whether a program is installed.
pub(crate) fn is_installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|directory| Path::new(&directory).join(program).is_file())
}

/// Whether strace is there, and may make calls fail. Says so where it is not.
pub(crate) fn faults_can_be_injected(test: &str) -> bool {
    if !is_installed("strace") {
        skip(test, "strace is not installed");
        return false;
    }
    let tried = ended(Command::new("strace").args(["-f", "-o", "/dev/null", "-e", "inject=mkdir:error=EINTR", "true"]));
    if tried.code != Some(0) {
        skip(test, &format!("strace cannot inject faults here: {}", tried.err.trim()));
    }
    tried.code == Some(0)
}

/// A C program that runs another and says on standard error how much of it was resident at most, in KiB.
pub(crate) const MEASURE: &str = r#"
    #include <stdio.h>
    #include <sys/resource.h>
    #include <sys/wait.h>
    #include <unistd.h>
    int main(int argc, char **argv) {
        int status;
        struct rusage used;
        if (fork() == 0) { execv(argv[1], argv + 1); _exit(127); }
        wait4(-1, &status, 0, &used);
        fprintf(stderr, "%ld", used.ru_maxrss);
        return status != 0;
    }"#;

/// What [`MEASURE`] said of a program that ended well.
#[track_caller]
pub(crate) fn peak_kib(measured: &Ended) -> u64 {
    assert_eq!(measured.code, Some(0), "{measured:?}");
    measured.err.parse().unwrap_or_else(|_| panic!("{measured:?}"))
}

/// Makes a segment of 2 MiB in huge pages, for everyone, which there need not be. Why not, if there are no such segments.
pub(crate) fn huge_segment(ns: &Namespace, key: i32) -> Result<(), String> {
    // IPC_CREAT, SHM_HUGETLB and SHM_NORESERVE.
    let made = ended(ns.program("perl").args(["-e", "shmget($ARGV[0], 2 << 20, 015666) // die $!", &key.to_string()]));
    if made.code == Some(0) {
        Ok(())
    } else {
        Err(format!("no segment of huge pages can be made: {}", made.err.trim()))
    }
}

/// Whether huge pages of 2 MiB are to be had: enough for every test that takes one, or none at all; `None` where it cannot
/// be told.
pub(crate) fn huge_pages() -> Option<bool> {
    let number = |name: &str| -> Option<i64> {
        let path = format!("/sys/kernel/mm/hugepages/hugepages-2048kB/{name}_hugepages");
        std::fs::read_to_string(path).ok()?.trim().parse().ok()
    };
    let free = number("free")? - number("resv")?;
    match (free, number("nr_overcommit")?) {
        (..=0, 0) => Some(false),
        (4.., _) => Some(true),
        _ => None,
    }
}
