//! The requirements of a test on the machine. Each is checked once for a run of the tests. A test with an unmet
//! requirement is skipped: it ends at that point, and its name and the reason are printed and counted.
//!
//! `cargo test` prints the count at its end (tests/skipped.rs). With `SHMADM_TEST_STRICT=1` a skipped test fails; with
//! `SHMADM_TEST_STRICT=but-root` it fails unless it is skipped because it needs root.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};

use rustix::fs::{Mode, OFlags, open};

use super::skips::skips_of_this_run;

/// Set in the copy of the test program that runs inside a user namespace.
pub(super) const INSIDE: &str = "SHMADM_TEST_INSIDE";
/// The file that collects skipped tests. Default: a file in the target directory for each run of cargo.
const SKIPS: &str = "SHMADM_TEST_SKIPS";
/// Makes a skipped test a failure.
const STRICT: &str = "SHMADM_TEST_STRICT";
/// The beginning of the reason if only root can run a test.
const NEEDS_ROOT: &str = "needs root";

/// Something that a machine may lack.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Need<'a> {
    /// The machine's root, outside of a user namespace.
    Root,
    /// A program in PATH.
    Program(&'a str),
    /// strace(1), with the right to trace and to make system calls fail.
    Strace,
    /// A file system of the tests' directories that has `O_TMPFILE` (open(2)).
    UnnamedFiles,
}

thread_local! {
    /// Whether this thread is in a test that may be skipped.
    static IS_SKIPPABLE: Cell<bool> = const { Cell::new(false) };
}

/// Ends the current test as skipped unless the machine has what it needs.
///
/// # Panics
///
/// If called before `in_namespace` or `skippable`, which catch the end: on a machine that lacks the program, the test
/// would fail.
#[track_caller]
pub(crate) fn needs(need: Need) {
    assert!(IS_SKIPPABLE.get(), "{need:?} is needed outside of in_namespace or skippable");
    if let Some(reason) = missing(need) {
        skip(reason);
    }
}

/// Returns whether a program is installed, for tests that only leave out a part.
pub(crate) fn is_installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|directory| Path::new(&directory).join(program).is_file())
}

/// Ends the current test as skipped.
pub(crate) fn skip(reason: impl Into<String>) -> ! {
    // Unlike a panic, this prints nothing; `skippable` catches it.
    resume_unwind(Box::new(Skipped(reason.into())))
}

/// Runs a test that may be skipped. `in_namespace` does that for its own tests.
pub(crate) fn skippable<F: FnOnce()>(test: F) {
    skippable_as(&name_of::<F>(), test);
}

/// Returns the name of a test for the test program: the path of its closure without the crate and `{{closure}}`.
pub(super) fn name_of<F>() -> String {
    let path = std::any::type_name::<F>();
    let path = path.strip_suffix("::{{closure}}").unwrap_or(path);
    path.split_once("::").map_or(path, |(_, rest)| rest).to_owned()
}

/// Runs a test of this name that may be skipped.
pub(super) fn skippable_as(name: &str, test: impl FnOnce()) {
    let before = IS_SKIPPABLE.replace(true);
    let ended = catch_unwind(AssertUnwindSafe(test));
    IS_SKIPPABLE.set(before);
    let Err(payload) = ended else { return };
    match payload.downcast::<Skipped>() {
        Ok(skipped) => report(&format!("SKIPPED {name}: {}", skipped.0)),
        Err(panic) => resume_unwind(panic),
    }
}

/// Reports again the skipped tests on the standard error of a copy of the test program in a user namespace.
pub(super) fn report_again(stderr: &str) {
    stderr.lines().filter(|line| line.starts_with("SKIPPED ")).for_each(report);
}

/// Unwinds from a test that is skipped.
struct Skipped(String);

/// Returns the reason why a need is not met, or `None` if it is met.
fn missing(need: Need) -> Option<String> {
    static ASKED: Mutex<BTreeMap<String, Option<String>>> = Mutex::new(BTreeMap::new());
    let mut asked = ASKED.lock().unwrap_or_else(PoisonError::into_inner);
    asked.entry(format!("{need:?}")).or_insert_with(|| ask(need)).clone()
}

fn ask(need: Need) -> Option<String> {
    match need {
        Need::Root if std::env::var_os(INSIDE).is_some() => Some(NEEDS_ROOT.into()),
        Need::Root => (!nix::unistd::geteuid().is_root()).then(|| NEEDS_ROOT.into()),
        // A minimal Debian has perl without most of its modules.
        Need::Program("perl") => failure("perl", &["-MIPC::SysV", "-MPOSIX", "-e", "1"])
            .map(|_| "perl is not installed with all its modules".into()),
        Need::Program(program) => (!is_installed(program)).then(|| format!("{program} is not installed")),
        Need::UnnamedFiles => open(std::env::temp_dir(), OFlags::TMPFILE | OFlags::WRONLY, Mode::RUSR)
            .err()
            .map(|error| format!("files without a name cannot be created here: {error}")),
        Need::Strace => ask(Need::Program("strace")).or_else(|| {
            let inject = ["-f", "-o", "/dev/null", "-e", "inject=mkdir:error=EINTR", "true"];
            failure("strace", &inject).map(|error| format!("strace cannot inject faults here: {error}"))
        }),
    }
}

/// Returns the error message of a program if it fails.
fn failure(program: &str, args: &[&str]) -> Option<String> {
    match Command::new(program).args(args).output() {
        Err(error) => Some(format!("{program}: {error}")),
        Ok(output) if output.status.success() => None,
        Ok(output) => Some(String::from_utf8_lossy(&output.stderr).trim().replace('\n', "; ")),
    }
}

/// Prints and counts a line about a skipped test, or fails.
fn report(line: &str) {
    // libtest captures the output of println! and eprintln!, and shows it only for failed tests.
    std::io::stderr().write_all(format!("{line}\n").as_bytes()).expect("standard error");
    if std::env::var_os(INSIDE).is_some() {
        // The outer test program reads this from standard error.
        return;
    }
    let given = std::env::var_os(SKIPS).map(PathBuf::from);
    let path = given.clone().unwrap_or_else(skips_of_this_run);
    let written = OpenOptions::new().create(true).append(true).open(&path);
    let written = written.and_then(|mut file| file.write_all(format!("{line}\n").as_bytes()));
    assert!(given.is_none() || written.is_ok(), "cannot write {}: {written:?}", path.display());
    let is_allowed = match std::env::var(STRICT).as_deref() {
        Ok("but-root") => line.contains(&format!(": {NEEDS_ROOT}")),
        Ok(strict) => strict.is_empty(),
        Err(_) => true,
    };
    assert!(is_allowed, "{line}, and {STRICT} is set");
}
