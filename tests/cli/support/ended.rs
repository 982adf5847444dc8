//! Ended programs: exit status, output, and what a test expects of them.

use std::io::Write;
use std::process::{Command, Output, Stdio};

/// The exit status and the output of a program.
#[derive(Debug)]
pub(crate) struct Ended {
    /// The exit status, unless a signal ended the program.
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

    /// Expects this exit status and one line of error from shmadm itself. Returns this line.
    #[track_caller]
    pub(crate) fn fails(self, code: i32) -> String {
        assert_eq!(self.code, Some(code), "{self:?}");
        assert!(self.err.starts_with("shmadm: ") && self.err.lines().count() == 1, "{self:?}");
        self.err
    }

    /// Expects a usage error: exit status 2, nothing on standard output but the error in JSON, and an error message.
    /// Returns the message.
    #[track_caller]
    pub(crate) fn usage_error(self) -> String {
        assert_eq!(self.code, Some(2), "{self:?}");
        let tells_nothing_else = self.out.is_empty() || self.out.starts_with(r#"{"error":"#);
        assert!(tells_nothing_else && !self.err.is_empty(), "{self:?}");
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

/// Returns the line on standard error for a failure, from its JSON.
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

/// Runs a command to its end with these bytes in a pipe as its standard input. It need not read them.
#[track_caller]
pub(crate) fn with_input(command: &mut Command, input: &[u8]) -> Ended {
    let command = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let mut pipe = child.stdin.take().expect("a pipe");
    let input = input.to_owned();
    let writer = std::thread::spawn(move || drop(pipe.write_all(&input)));
    let ended = child.wait_with_output().expect("its exit status").into();
    writer.join().expect("the writer");
    ended
}
