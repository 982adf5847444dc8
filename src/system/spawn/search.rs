//! Finding the file for a command's name and executing it, by the rules of execvp(3).

use std::env;
use std::ffi::{CStr, CString, OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use nix::errno::Errno;

/// The search path while PATH is not set: confstr(3) `_CS_PATH` of glibc.
const DEFAULT_PATH: &str = "/bin:/usr/bin";
/// The interpreter of a script without a `#!` line.
const SHELL: &CStr = c"/bin/sh";

/// A command, and the files that its name may refer to.
#[derive(Debug)]
pub(crate) struct Program {
    arguments: Vec<CString>,
    /// In the order in which they are tried.
    paths: Vec<CString>,
}

impl Program {
    /// Parses a command: its name and its arguments. A name without a slash is searched in the directories of PATH.
    ///
    /// # Errors
    /// `ENOENT` for an empty name, `EINVAL` for a word that contains a NUL byte.
    pub(crate) fn new(command: &[OsString]) -> Result<Program, Errno> {
        Program::in_path(command, env::var_os("PATH").as_deref().unwrap_or(OsStr::new(DEFAULT_PATH)))
    }

    fn in_path(command: &[OsString], path: &OsStr) -> Result<Program, Errno> {
        let c_string = |bytes: Vec<u8>| CString::new(bytes).map_err(|_| Errno::EINVAL);
        let arguments: Vec<_> =
            command.iter().map(|word| c_string(word.clone().into_vec())).collect::<Result<_, _>>()?;
        let name = arguments.first().filter(|name| !name.is_empty()).ok_or(Errno::ENOENT)?;
        if name.as_bytes().contains(&b'/') {
            return Ok(Program { paths: vec![name.clone()], arguments });
        }
        let in_directory = |directory: &[u8]| match directory {
            // An empty component means the current directory.
            b"" => Ok(name.clone()),
            directory => c_string([directory, name.as_bytes()].join(&b'/')),
        };
        let paths = path.as_bytes().split(|byte| *byte == b':').map(in_directory).collect::<Result<_, _>>()?;
        Ok(Program { arguments, paths })
    }

    /// Executes the first file that can be executed. `attempt` gets a path and the arguments; it is posix_spawn(3), or
    /// execve(2), which returns only on errors. A file in no executable format (`ENOEXEC`) is executed by the shell,
    /// from the path where it was found.
    ///
    /// # Errors
    /// The first error of `attempt` that does not mean a missing file. Otherwise `EACCES` if a file was found that may
    /// not be executed, else the error of the last directory, usually `ENOENT`.
    pub(crate) fn execute<T>(&self, mut attempt: impl FnMut(&CStr, &[&CStr]) -> Result<T, Errno>) -> Result<T, Errno> {
        let arguments: Vec<&CStr> = self.arguments.iter().map(CString::as_c_str).collect();
        let (mut last, mut is_denied) = (Errno::ENOENT, false);
        for path in &self.paths {
            match attempt(path, &arguments) {
                Err(Errno::ENOEXEC) => {
                    return attempt(SHELL, &[&[SHELL, path.as_c_str()], &arguments[1..]].concat());
                }
                Err(Errno::EACCES) => is_denied = true,
                // The errors after which glibc's execvpe (posix/execvpe.c) goes on to the next directory.
                Err(errno @ (Errno::ENOENT | Errno::ESTALE | Errno::ENOTDIR | Errno::ENODEV | Errno::ETIMEDOUT)) => {
                    last = errno
                }
                result => return result,
            }
        }
        Err(if is_denied { Errno::EACCES } else { last })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the attempts for `name a` in this PATH, and the result. Each listed path fails with its error; others
    /// succeed.
    fn attempts(name: &str, path: &str, errors: &[(&str, Errno)]) -> (Vec<String>, Result<(), Errno>) {
        let program = Program::in_path(&[name.into(), "a".into()], OsStr::new(path)).expect("a command");
        let mut attempted = Vec::new();
        let result = program.execute(|path, arguments| {
            let words = arguments.iter().map(|word| word.to_string_lossy());
            attempted.push(format!("{} {}", path.to_string_lossy(), words.collect::<Vec<_>>().join(",")));
            let error = errors.iter().find(|(failing, _)| path.to_str() == Ok(failing));
            error.map_or(Ok(()), |(_, errno)| Err(*errno))
        });
        (attempted, result)
    }

    #[test]
    fn the_first_executable_file_is_executed() {
        let (attempted, result) = attempts("t", "/a:/b:/c", &[("/a/t", Errno::ENOENT)]);
        assert_eq!((attempted, result), (vec!["/a/t t,a".into(), "/b/t t,a".into()], Ok(())));
    }

    #[test]
    fn the_shell_executes_the_script_that_was_found() {
        let (attempted, result) = attempts("t", "/a:/b", &[("/a/t", Errno::EACCES), ("/b/t", Errno::ENOEXEC)]);
        assert_eq!(attempted[2], "/bin/sh /bin/sh,/b/t,a");
        assert_eq!(result, Ok(()));
    }

    #[test]
    fn the_current_directory_is_searched_only_if_path_names_it() {
        assert_eq!(attempts("t", "/a", &[("/a/t", Errno::ENOENT)]).1, Err(Errno::ENOENT));
        assert_eq!(attempts("t", ":/a", &[]).0, ["t t,a"]);
        assert_eq!(attempts("./t", "/a", &[]).0, ["./t ./t,a"]);
    }

    #[test]
    fn a_denied_file_takes_precedence_over_a_missing_one() {
        let denied = [("/a/t", Errno::EACCES), ("/b/t", Errno::ENOENT)];
        assert_eq!(attempts("t", "/a:/b", &denied).1, Err(Errno::EACCES));
        assert_eq!(attempts("t", "/a:/b", &[("/a/t", Errno::E2BIG)]).1, Err(Errno::E2BIG));
    }

    #[test]
    fn a_command_without_a_name_is_not_found() {
        assert_eq!(Program::in_path(&["".into()], OsStr::new("/a")).err(), Some(Errno::ENOENT));
    }
}
