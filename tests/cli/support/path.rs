//! The program under test, at a path that every user can reach.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

/// Names the program in the copy of the test program that runs inside a user namespace.
pub(super) const PROGRAM: &str = "SHMADM_TEST_PROGRAM";

/// Returns the path of the program under test. Tests run it as several users, and only root may be able to open cargo's
/// target directory: then this is a copy in the directory for temporary files, removed when the test program ends.
pub(crate) fn shmadm_path() -> &'static str {
    static FOUND: OnceLock<String> = OnceLock::new();
    FOUND.get_or_init(|| {
        let built = env!("CARGO_BIN_EXE_shmadm");
        match std::env::var(PROGRAM) {
            Ok(path) => path,
            Err(_) if is_open_to_all(Path::new(built)) => built.to_owned(),
            Err(_) => copied(built),
        }
    })
}

/// Returns whether every user can reach and run this program.
fn is_open_to_all(program: &Path) -> bool {
    program.ancestors().all(|path| std::fs::metadata(path).is_ok_and(|it| it.permissions().mode() & 0o005 == 0o005))
}

fn copied(program: &str) -> String {
    let directory = tempfile::Builder::new()
        .prefix("shmadm-program.")
        .permissions(std::fs::Permissions::from_mode(0o755))
        .tempdir()
        .expect("a directory")
        .keep();
    // This shell ends when its standard input ends: when this process, the last one with the other end, is gone. A test
    // program cannot run code at its end, least of all when a signal ends it.
    let remover = Command::new("sh")
        .args(["-c", "trap '' HUP INT QUIT TERM; cat; rm -r \"$0\""])
        .arg(&directory)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn();
    std::mem::forget(remover.expect("sh").stdin.expect("a pipe"));
    let copy = directory.join("shmadm");
    let status = Command::new("cp").args([program.as_ref(), copy.as_os_str()]).status().expect("cp");
    assert!(status.success(), "cannot copy {program} to {}", copy.display());
    std::fs::set_permissions(&copy, std::fs::Permissions::from_mode(0o755)).expect("its mode");
    copy.into_os_string().into_string().expect("UTF-8")
}
