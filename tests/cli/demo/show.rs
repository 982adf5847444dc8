//! A lesson that pauses: pressing Enter, and what the current step shows.

use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::process::{ChildStdin, Command, Stdio};

use nix::unistd::Pid;
use rustix::fs::{OFlags, fcntl_setfl};

use crate::support::{Ended, Namespace, Running};

const QUESTION: &str = "\nEnter continues, Ctrl-D ends: ";

/// A lesson that pauses, with what it has shown since the last pause.
pub(super) struct Show {
    pub running: Running,
    pub enter: Option<ChildStdin>,
    pub out: Option<File>,
    /// What it said before the first step.
    pub opening: String,
    /// The lines of the current step.
    pub step: Vec<String>,
    /// What it has said on standard error, without the questions.
    pub err: String,
}

/// The number in `\n3 of 8: title`, and the count.
pub(super) fn title(text: &str) -> Option<(usize, usize)> {
    text.lines().find_map(|line| {
        let (number, rest) = line.split_once(" of ")?;
        let (count, _) = rest.split_once(": ")?;
        Some((number.rsplit(|c: char| !c.is_ascii_digit()).next()?.parse().ok()?, count.parse().ok()?))
    })
}

impl Show {
    /// Starts a lesson, and waits until it has shown this many steps.
    pub(super) fn at(ns: &Namespace, lesson: &str, step: usize) -> Show {
        Show::of(ns.command(["demo", lesson, "--pause"]), step)
    }

    pub(super) fn of(mut demo: Command, step: usize) -> Show {
        let (out, theirs) = io::pipe().expect("a pipe");
        fcntl_setfl(&out, OFlags::NONBLOCK).expect("a pipe that does not block");
        demo.env("LC_ALL", "C.UTF-8").stdin(Stdio::piped()).stdout(theirs).stderr(Stdio::piped());
        let mut child = demo.spawn().expect("shmadm");
        drop(demo);
        let enter = child.stdin.take();
        let (running, out) = (Running(child), Some(File::from(OwnedFd::from(out))));
        let mut show = Show { running, enter, out, opening: String::new(), step: Vec::new(), err: String::new() };
        assert!(show.listen(), "it has begun: {}", show.err);
        show.opening = show.step.join("\n");
        for _ in 0..step {
            show.next();
        }
        show
    }

    /// Presses Enter.
    pub(super) fn press(&mut self) {
        // Where it has ended, nobody reads.
        let _ = self.enter.as_mut().expect("an input").write_all(b"\n");
    }

    /// Presses Enter, and takes in what the next step shows.
    pub(super) fn next(&mut self) {
        self.press();
        assert!(self.listen(), "it has ended after {:?}: {}", self.step, self.err);
    }

    /// Reads until the next question. Returns false if it ends before.
    fn listen(&mut self) -> bool {
        let err = self.running.0.stderr.as_mut().expect("errors");
        let mut said = Vec::new();
        while !said.ends_with(QUESTION.as_bytes()) {
            let mut byte = [0];
            if err.read(&mut byte).expect("a question") == 0 {
                self.err.push_str(&String::from_utf8_lossy(&said));
                return false;
            }
            said.push(byte[0]);
        }
        said.truncate(said.len() - QUESTION.len());
        self.err.push_str(&String::from_utf8_lossy(&said));
        // Everything was written before the question.
        self.step = self.drain().lines().map(|line| line.trim_end().to_owned()).collect();
        true
    }

    /// What is in the pipe.
    fn drain(&mut self) -> String {
        let mut bytes = Vec::new();
        if let Some(out) = &mut self.out
            && let Err(error) = out.read_to_end(&mut bytes)
        {
            assert_eq!(error.kind(), ErrorKind::WouldBlock);
        }
        String::from_utf8(bytes).expect("UTF-8")
    }

    /// The number of steps. Only after the first one.
    pub(super) fn count(&self) -> usize {
        title(&self.step.join("\n")).expect("a title").1
    }

    /// The words of the first row.
    pub(super) fn row(&self) -> Vec<String> {
        let mut rows = self.step.iter().skip_while(|line| !line.starts_with("KEY "));
        rows.nth(1).expect("a row").split_whitespace().map(str::to_owned).collect()
    }

    /// The lines about what processes do, each with its process: `A  shmat(…) = …`.
    pub(super) fn acts(&self) -> Vec<&str> {
        self.step
            .iter()
            .filter_map(|line| line.strip_prefix("  ").filter(|act| act.chars().nth(1) == Some(' ')))
            .collect()
    }

    /// What the picture says in words: pids, key, addresses.
    pub(super) fn pictured(&self, name: &str) -> Option<String> {
        let mut picture = self.step.iter().skip_while(|line| !line.starts_with('┌')).take(8);
        picture.find_map(|line| {
            let (_, rest) = line.split_once(name)?;
            Some(rest.trim_start().split([' ', '│', '─']).next().expect("a word").to_owned())
        })
    }

    /// The processes of the picture, by their letters.
    pub(super) fn processes(&self) -> Vec<(char, Pid)> {
        let pictured = self.step.iter().flat_map(|line| line.split("┌ process ").skip(1));
        let process = |text: &str| {
            let (letter, rest) = text.split_once(", ").expect("a letter and a pid");
            let pid = rest.split(' ').next().expect("a pid").parse().expect("a pid");
            (letter.chars().next().expect("a letter"), Pid::from_raw(pid))
        };
        pictured.map(process).collect()
    }

    /// The pids of the processes of the picture.
    pub(super) fn pids(&self) -> Vec<Pid> {
        self.processes().into_iter().map(|(_, pid)| pid).collect()
    }

    /// Sees it end, and returns how, with what it printed since the last step.
    pub(super) fn end(mut self) -> Ended {
        drop(self.enter.take());
        while self.listen() {}
        let out = self.drain();
        let status = self.running.0.wait().expect("its end");
        let err = std::mem::take(&mut self.err);
        Ended { code: status.code(), signal: status.signal(), bytes: out.clone().into_bytes(), out, err }
    }
}
