//! What systemd-logind does with a user's segments at logout: `RemoveIPC=` (logind.conf(5)), parsed as systemd does.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::regular_file;

/// The directories of systemd's configuration, highest priority first (systemd.conf(5), "CONFIGURATION DIRECTORIES AND
/// PRECEDENCE").
const DIRECTORIES: [&str; 4] = ["etc/systemd", "run/systemd", "usr/local/lib/systemd", "usr/lib/systemd"];

/// The last uid of system users if /etc/login.defs does not set it.
const SYSTEM_UID_MAX: u32 = 999;

/// A file or directory that cannot be read, and why.
pub(crate) type Unreadable = (PathBuf, io::Error);

/// The configured value of `RemoveIPC=`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RemoveIpc {
    /// Whether logind removes a user's segments when the user's last session ends.
    pub is_on: bool,
    /// The file that sets the value; `None` for the default.
    pub file: Option<PathBuf>,
}

impl RemoveIpc {
    /// Reads the configuration below this directory, which is `/` except in tests.
    ///
    /// The first logind.conf found is read, then the files of logind.conf.d in the order of their names. The last
    /// assignment wins. A file hides those of the same name in directories of lower priority. A value that is not a
    /// boolean is ignored.
    ///
    /// # Errors
    /// A file or directory that may set it cannot be read.
    pub(crate) fn read(root: &Path) -> Result<RemoveIpc, Unreadable> {
        let directories = DIRECTORIES.map(|directory| root.join(directory));
        let mains = directories.iter().map(|directory| read_existing(directory.join("logind.conf")));
        let main = mains.filter_map(Result::transpose).next();
        let mut parts = BTreeMap::<OsString, PathBuf>::new();
        for directory in directories.iter().rev() {
            let directory = directory.join("logind.conf.d");
            let found = existing(fs::read_dir(&directory).and_then(Iterator::collect::<io::Result<Vec<_>>>));
            let found = found.map_err(|error| (directory, error))?.unwrap_or_default().into_iter();
            let found = found.map(|entry| (entry.file_name(), entry.path()));
            parts.extend(found.filter(|(_, path)| path.extension().is_some_and(|extension| extension == "conf")));
        }
        // The compiled-in default of systemd, which a distribution can change.
        let default = RemoveIpc { is_on: true, file: None };
        let parts = parts.into_values().filter_map(|path| read_existing(path).transpose());
        main.into_iter().chain(parts).try_fold(default, |before, part| {
            let (path, text) = part?;
            // An empty file (a link to /dev/null) assigns nothing.
            let assigned = assignment(&String::from_utf8_lossy(&text));
            Ok(assigned.map_or(before, |is_on| RemoveIpc { is_on, file: Some(path) }))
        })
    }
}

/// Returns a file's contents with its path; `None` if it does not exist.
fn read_existing(path: PathBuf) -> Result<Option<(PathBuf, Vec<u8>)>, Unreadable> {
    match existing(regular_file::read(&path)) {
        Ok(text) => Ok(text.map(|text| (path, text))),
        Err(error) => Err((path, error)),
    }
}

/// Returns `None` for what does not exist.
fn existing<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        result => result.map(Some),
    }
}

/// Returns the value of the last valid assignment in a file.
fn assignment(text: &str) -> Option<bool> {
    let mut is_login = false;
    let mut value = None;
    for line in logical_lines(text) {
        let line = line.trim();
        if let Some(section) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            is_login = section == "Login";
        } else if is_login && let Some((name, word)) = line.split_once('=') {
            let word = boolean(word.trim()).filter(|_| name.trim() == "RemoveIPC");
            value = word.or(value);
        }
    }
    value
}

/// Joins lines that end in a backslash, and drops comments, including those between such lines (systemd.syntax(7)).
fn logical_lines(text: &str) -> Vec<String> {
    let mut lines = Vec::new();
    let mut begun = String::new();
    for line in text.lines() {
        if line.trim_start().starts_with(['#', ';']) {
            continue;
        }
        match line.strip_suffix('\\') {
            Some(part) => begun = begun + part + " ",
            None => lines.push(std::mem::take(&mut begun) + line),
        }
    }
    lines.push(begun);
    lines
}

/// Parses a boolean as systemd does (src/basic/parse-util.c, `parse_boolean`).
fn boolean(word: &str) -> Option<bool> {
    match word.to_ascii_lowercase().as_str() {
        "1" | "yes" | "y" | "true" | "t" | "on" => Some(true),
        "0" | "no" | "n" | "false" | "f" | "off" => Some(false),
        _ => None,
    }
}

/// Returns whether both systemd and logind are running.
pub(crate) fn is_running() -> bool {
    // The first directory is the test of sd_booted(3); logind creates the second.
    Path::new("/run/systemd/system").is_dir() && Path::new("/run/systemd/users").is_dir()
}

/// Returns the last uid of system users. logind does not remove their segments (login.defs(5)).
pub(crate) fn system_uid_max() -> u32 {
    let text = regular_file::read("/etc/login.defs").unwrap_or_default();
    String::from_utf8_lossy(&text)
        .lines()
        .filter_map(|line| line.trim().strip_prefix("SYS_UID_MAX"))
        .find_map(|value| value.trim().parse().ok())
        .unwrap_or(SYSTEM_UID_MAX)
}

/// Returns whether this user (by name) stays logged in without a session (loginctl(1), enable-linger).
pub(crate) fn lingers(user: &str) -> bool {
    !user.contains('/') && Path::new("/var/lib/systemd/linger").join(user).exists()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn assignments() {
        for (text, expected) in [
            ("[Login]\nRemoveIPC=no\n", Some(false)),
            ("[Login]\n RemoveIPC = No \n", Some(false)),
            ("[Login]\nRemoveIPC=no\nRemoveIPC=on\n", Some(true)),
            ("[Login]\nRemoveIPC=no\nRemoveIPC=maybe\nRemoveIPC=\n", Some(false)),
            ("[Login]\n#RemoveIPC=no\n;RemoveIPC=no\n", None),
            ("RemoveIPC=no\n[login]\nRemoveIPC=no\n[Other]\nRemoveIPC=no\n", None),
            ("[Login]\nremoveipc=no\nRemoveIPCs=no\n", None),
            ("[Other]\nx=\\\n[Login]\nRemoveIPC=no\n", None),
            ("[Login]\nRemoveIPC=\\\n# a comment between\n  no", Some(false)),
            ("", None),
        ] {
            assert_eq!(assignment(text), expected, "{text:?}");
        }
    }

    #[test]
    fn the_last_assignment_in_the_order_of_the_files_wins() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        let write = |path: &str, value: &str| {
            let path = root.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, format!("[Login]\nRemoveIPC={value}\n")).unwrap();
        };
        let read = || {
            let RemoveIpc { is_on, file } = RemoveIpc::read(root).unwrap();
            (is_on, file.map(|file| file.strip_prefix(root).unwrap().to_str().unwrap().to_owned()))
        };
        let by = |is_on, file: &str| (is_on, Some(file.to_owned()));
        assert_eq!(read(), (true, None));
        write("usr/lib/systemd/logind.conf", "no");
        assert_eq!(read(), by(false, "usr/lib/systemd/logind.conf"));
        // Only the first main file is read, whatever it contains.
        write("etc/systemd/logind.conf", "nonsense");
        assert_eq!(read(), (true, None));
        write("usr/lib/systemd/logind.conf.d/50-vendor.conf", "no");
        assert_eq!(read(), by(false, "usr/lib/systemd/logind.conf.d/50-vendor.conf"));
        // The file with the later name wins, whatever its directory. A file without .conf is ignored.
        write("run/systemd/logind.conf.d/40-early.conf", "yes");
        write("etc/systemd/logind.conf.d/90-late", "yes");
        assert_eq!(read(), by(false, "usr/lib/systemd/logind.conf.d/50-vendor.conf"));
        // A link to /dev/null hides the vendor's file.
        fs::create_dir_all(root.join("etc/systemd/logind.conf.d")).unwrap();
        std::os::unix::fs::symlink("/dev/null", root.join("etc/systemd/logind.conf.d/50-vendor.conf")).unwrap();
        assert_eq!(read(), by(true, "run/systemd/logind.conf.d/40-early.conf"));
        write("usr/local/lib/systemd/logind.conf.d/60-site.conf", "off");
        assert_eq!(read(), by(false, "usr/local/lib/systemd/logind.conf.d/60-site.conf"));
        // A file that cannot be read may set it. Root can read every file, but no directory as a file.
        let unreadable = root.join("etc/systemd/logind.conf.d/70-unreadable.conf");
        fs::create_dir(&unreadable).unwrap();
        let (path, error) = RemoveIpc::read(root).unwrap_err();
        assert_eq!((path, error.kind()), (unreadable, io::ErrorKind::IsADirectory));
    }
}
