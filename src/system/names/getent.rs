//! getent(1), which queries the system's name services in a separate process.

use std::collections::BTreeSet;
use std::io::{self, Read};
use std::process::{ChildStdout, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use super::Database;
use super::account_file::{self, Account};
use crate::linux::cause;
use crate::system::deadline::UntilDeadline;

/// The program. It is not searched in PATH, because root runs it.
const PROGRAM: &str = "/usr/bin/getent";
/// The exit status if one of the keys is unknown.
const UNKNOWN_KEY: i32 = 2;
/// The maximum time that a directory server may take. A list without names is better than no list.
const TIMEOUT: Duration = Duration::from_secs(2);
/// The maximum number of ids in one query: more would not fit on a command line.
const MAX_NUMBERS: usize = 8192;
/// The maximum number of bytes read of an answer.
const MAX_BYTES: u64 = 16 << 20;

/// Returns the accounts with these ids. `None` if there is no getent, or it does not answer in time.
pub(super) fn by_number(database: Database, numbers: &BTreeSet<u32>) -> Option<Vec<Account>> {
    ask(database, numbers.iter().take(MAX_NUMBERS).map(u32::to_string)).ok().map(|(accounts, _)| accounts)
}

/// Returns the accounts with this name. There are none if there is no getent.
///
/// # Errors
/// getent cannot be started, fails, or does not answer in time.
pub(super) fn by_name(database: Database, name: &str) -> io::Result<Vec<Account>> {
    // Such a word would be an option, and cannot be a user's name (useradd(8)).
    if name.starts_with('-') || name.contains('\0') {
        return Ok(Vec::new());
    }
    match ask(database, [name.to_owned()]) {
        Ok((_, Some(status))) if !matches!(status.code(), Some(0 | UNKNOWN_KEY)) => {
            Err(io::Error::other(format!("{PROGRAM} failed ({status})")))
        }
        Ok((accounts, _)) => Ok(accounts),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(io::Error::new(error.kind(), format!("{PROGRAM}: {}", cause(&error)))),
    }
}

/// Returns the answer, and the exit status if it is known.
///
/// # Errors
/// Those of starting and reading getent. `FileTooLarge` if it would read a file of unreasonable size.
fn ask(database: Database, keys: impl IntoIterator<Item = String>) -> io::Result<(Vec<Account>, Option<ExitStatus>)> {
    if account_file::is_too_large(database) {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    // Without our environment, which the caller of sudo may control.
    let mut getent = Command::new(PROGRAM);
    getent.env_clear().arg(database.name()).args(keys);
    let mut child = getent.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
    let answer = child.stdout.take().ok_or(io::ErrorKind::BrokenPipe.into()).and_then(read_in_time);
    if answer.is_err() {
        // The process may already have ended.
        let _ = child.kill();
    }
    // The process has closed its output or was killed. Waiting for it fails only if the parent of shmadm has made it
    // ignore SIGCHLD. Then the kernel has reaped the process.
    let status = child.wait().ok();
    Ok((account_file::parse(&answer?[..]).collect(), status))
}

/// Reads all of the answer.
///
/// # Errors
/// `TimedOut` after [`TIMEOUT`], `FileTooLarge` for more than [`MAX_BYTES`], and those of poll(2) and read(2).
fn read_in_time(output: ChildStdout) -> io::Result<Vec<u8>> {
    let mut answer = Vec::with_capacity(4096);
    let reader = UntilDeadline { reader: output, deadline: Instant::now() + TIMEOUT };
    reader.take(MAX_BYTES + 1).read_to_end(&mut answer)?;
    if answer.len() as u64 > MAX_BYTES { Err(io::ErrorKind::FileTooLarge.into()) } else { Ok(answer) }
}
