//! A private IPC namespace for a test, its directory, and programs that run there.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::sched::{CloneFlags, unshare};
use nix::unistd::geteuid;
use tempfile::TempDir;

use super::needs::{INSIDE, Need, name_of, needs, report_again, skip, skippable_as};
use super::{Ended, Row, Running, ended, rows, shmadm_path, wait_until, with_input};

/// An empty IPC namespace, whose identifiers begin at 0, and a directory. Both are removed with the test.
pub(crate) struct Namespace {
    directory: TempDir,
    /// Whether the test runs as the machine's root, who can act as several users. Otherwise one user is root in a user
    /// namespace.
    pub is_root: bool,
}

/// Runs a test in a private IPC namespace: as root with unshare(2) in this thread, else in a copy of the test program
/// under `unshare --user`. Skips the test if neither is permitted.
pub(crate) fn in_namespace<F: FnOnce(&Namespace)>(test: F) {
    let name = name_of::<F>();
    skippable_as(&name, || run(&name, test));
}

/// Runs a test that needs the machine's root: several users, or limits of the machine.
pub(crate) fn in_namespace_as_root<F: FnOnce(&Namespace)>(test: F) {
    let name = name_of::<F>();
    skippable_as(&name, || {
        needs(Need::Root);
        run(&name, test);
    });
}

fn run(name: &str, test: impl FnOnce(&Namespace)) {
    let inside = std::env::var_os(INSIDE).is_some();
    if !inside && unshare(CloneFlags::CLONE_NEWIPC).is_err() {
        return in_user_namespace(name);
    }
    let directory = tempfile::tempdir().expect("a temporary directory");
    test(&Namespace { directory, is_root: !inside && geteuid().is_root() });
}

fn in_user_namespace(name: &str) {
    let me = std::env::current_exe().expect("the test program");
    let inside = Command::new("unshare")
        .args(["--user", "--map-root-user", "--ipc", "--"])
        .arg(me)
        .args(["--exact", name, "--nocapture", "--test-threads=1"])
        .env(INSIDE, "1")
        .env(super::path::PROGRAM, shmadm_path())
        .output()
        .expect("unshare of util-linux");
    let text = String::from_utf8_lossy(&inside.stdout);
    let errors = String::from_utf8_lossy(&inside.stderr);
    if text.contains("1 passed") && inside.status.success() {
        return report_again(&errors);
    }
    if text.contains("running 1 test") {
        panic!("{name} failed in a user namespace:\n{text}\n{errors}");
    }
    let advice = "an ordinary user needs user namespaces for that: see user_namespaces(7), user.max_user_namespaces";
    skip(format!("cannot make a private IPC namespace: {} ({advice})", errors.trim()));
}

impl Namespace {
    /// Returns the mark of an attachment that shmadm cannot verify. Only the machine's root can verify the owner of the
    /// inode.
    pub(crate) fn doubt(&self) -> &'static str {
        if self.is_root { "" } else { "?" }
    }

    /// Returns a path below the test's own directory.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Creates a file below the test's own directory.
    pub(crate) fn file(&self, name: &str, contents: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, contents).expect("a file");
        path
    }

    /// Runs shmadm to its end with an empty standard input.
    #[track_caller]
    pub(crate) fn shmadm<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Ended {
        ended(self.command(args).stdin(Stdio::null()))
    }

    /// Runs shmadm with these bytes on its standard input, which is a pipe.
    #[track_caller]
    pub(crate) fn shmadm_with_input<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>, input: &[u8]) -> Ended {
        with_input(&mut self.command(args), input)
    }

    /// Runs shmadm as a user without any privilege: as root uid and gid 1234, else this user without capabilities.
    #[track_caller]
    pub(crate) fn shmadm_unprivileged<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Ended {
        let mut command = self.unprivileged(shmadm_path());
        ended(command.args(args).stdin(Stdio::null()))
    }

    /// Returns the command shmadm, in this namespace and directory.
    pub(crate) fn command<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Command {
        let mut command = self.program(shmadm_path());
        command.args(args);
        command
    }

    /// Returns another program, in this namespace and directory. Its environment does not affect what it prints. If it
    /// is not installed, the test is skipped.
    pub(crate) fn program(&self, program: impl AsRef<OsStr>) -> Command {
        let program = program.as_ref();
        if let Some(name) = program.to_str().filter(|name| !name.contains('/')) {
            needs(Need::Program(name));
        }
        let mut command = Command::new(program);
        command.current_dir(self.directory.path());
        command.env("LC_ALL", "C").env("TZ", "UTC").env_remove("NO_COLOR").env_remove("CLICOLOR_FORCE");
        command
    }

    /// Returns another program, as a user without any privilege.
    pub(crate) fn unprivileged(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = self.program("setpriv");
        if self.is_root {
            command.args(["--reuid", "1234", "--regid", "1234", "--clear-groups", "--"]);
        } else {
            command.args(["--bounding-set", "-all", "--inh-caps", "-all", "--no-new-privs", "--"]);
        }
        // Asks whether it is installed.
        command.arg(self.program(program).get_program());
        command
    }

    /// Runs another program to its end, expects exit status 0, and returns what it printed.
    #[track_caller]
    pub(crate) fn run<A: AsRef<OsStr>>(&self, program: &str, args: impl IntoIterator<Item = A>) -> String {
        let ended = ended(self.program(program).args(args).stdin(Stdio::null()));
        assert!(ended.code == Some(0), "{program}: {ended:?}");
        ended.out
    }

    /// Starts shmadm and waits until standard error says that it holds the attachment.
    #[track_caller]
    pub(crate) fn hold<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Running {
        let log = self.path(&format!("hold-{}", fastrand::u64(..)));
        let file = std::fs::File::create(&log).expect("a log");
        let child = self.command(args).stdin(Stdio::null()).stdout(Stdio::null()).stderr(file).spawn().expect("shmadm");
        let running = Running(child);
        wait_until("the attachment is held", || std::fs::read_to_string(&log).is_ok_and(|log| log.contains("holding")));
        running
    }

    /// Returns the rows of the kernel's own table.
    #[track_caller]
    pub(crate) fn table(&self) -> Vec<Row> {
        // The kernel shows the table of the opening thread, and this thread is in the test's namespace.
        rows(&std::fs::read_to_string("/proc/sysvipc/shm").expect("the kernel's table"))
    }

    /// Returns the kernel's row of the segment with this id.
    pub(crate) fn row(&self, id: i32) -> Option<Row> {
        self.table().into_iter().find(|row| row.id == id.to_string())
    }

    /// Compiles tests/programs/NAME.c to a program NAME in the test's directory.
    #[track_caller]
    pub(crate) fn compile(&self, name: &str) -> PathBuf {
        let source = format!("{}/tests/programs/{name}.c", env!("CARGO_MANIFEST_DIR"));
        let program = self.path(name);
        self.run("cc", [OsStr::new("-o"), program.as_os_str(), source.as_ref()]);
        program
    }

    /// Copies a program to the test's directory. This process does not write the copy itself: a child that another
    /// test starts meanwhile would hold it open for writing, and execve(2) would fail with ETXTBSY.
    pub(crate) fn copy(&self, program: &str, name: &str) -> PathBuf {
        let copy = self.path(name);
        self.run("cp", [Path::new(program), copy.as_path()]);
        copy
    }

    /// Gives every user access to the test's directory and its contents, for tests of two users.
    pub(crate) fn open_to_all(&self) {
        self.run("chmod", [OsStr::new("-R"), OsStr::new("a+rwX"), self.directory.path().as_os_str()]);
    }
}
