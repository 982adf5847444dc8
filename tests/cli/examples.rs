//! Types the sessions of the README, of docs/ and of the manual into a terminal and compares the output with the text.
//! Checks that shmadm understands every other command in them.

use std::fmt::Write as _;
use std::io::{Read, Write as _};
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use snapbox::{Assert, Redactions};

use crate::support::{
    Namespace, Need, Running, ended, in_namespace, in_namespace_as_root, needs, on_terminal, shmadm_path,
};

/// The prompt of the session's shell.
const PROMPT: &str = "<ready>";
/// The parts of the output that differ between days, machines and runs. Nothing else may differ.
const VARIES: &[(&str, &str)] = &[
    ("[PID]", r"(?m)(?:process |\bby |^\[\d\] )(?<redacted>\d+)"),
    // In the table of attachments, whose title is aligned with the last digit.
    ("[PIDS]", r"(?m)^(?<redacted> +(?:PID|\d+))  "),
    ("[ADDRESS]", "0x7[0-9a-f]{11}"),
    ("[DATE]", r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d\d:\d\d"),
    ("[TIME]", r"(?m)^(?<redacted>\d\d:\d\d:\d\d) "),
    ("[AGE]", r"(?m)(?<redacted> +\d+s)(?:$|  )"),
    ("[AGO]", r"\((?<redacted>\d+s) ago\)"),
    ("[DIRECTORY]", r"process \S+, in (?<redacted>/[^)]*)\)"),
    ("[AFTER]", r"(?<redacted>\d+\.\d) s after the start"),
    // The C library's own names are known only where its symbols are installed.
    ("[LIBC]", r"(?m)^shmadm: +(?<redacted>_+libc\S+ \(\S+\)|/\S+/libc\.so\S+)"),
    ("[PROGRAM]", r"_start \((?<redacted>/[^)]*)\)"),
];

/// A line after `$ ` or `# `, and the lines that follow it.
#[derive(Debug, PartialEq)]
struct Example {
    command: String,
    shown: String,
}

/// Returns the examples of a block.
fn examples(block: &str) -> Vec<Example> {
    let mut examples: Vec<Example> = Vec::new();
    for line in block.lines() {
        match (line.strip_prefix("$ ").or_else(|| line.strip_prefix("# ")), examples.last_mut()) {
            (Some(command), _) => examples.push(Example { command: command.into(), shown: String::new() }),
            (None, Some(last)) if last.command.ends_with(['|', '\\']) => {
                last.command.push('\n');
                last.command.push_str(line);
            }
            (None, Some(last)) => writeln!(last.shown, "{line}").expect("memory"),
            (None, None) => panic!("what is {line:?} the output of, in\n{block}"),
        }
    }
    examples
}

/// Returns the README and the pages of docs/, each with its name.
fn documents() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let pages = std::fs::read_dir(root.join("docs")).expect("docs/");
    let mut paths: Vec<_> = pages.map(|page| page.expect("a page").path()).collect();
    paths.push(root.join("README.md"));
    paths.sort();
    let read = |path: PathBuf| {
        let text = std::fs::read_to_string(&path).expect("a document");
        (path.file_name().expect("a name").display().to_string(), text)
    };
    paths.into_iter().filter(|path| path.extension().is_some_and(|end| end == "md")).map(read).collect()
}

/// Returns a document's blocks of this language.
fn fenced<'a>(document: &'a str, language: &str) -> Vec<&'a str> {
    let fence = format!("```{language}\n");
    let blocks: Vec<_> = document.split(fence.as_str()).skip(1).collect();
    blocks.into_iter().map(|rest| rest.split_once("```").expect("its end").0).collect()
}

/// Returns the C programs of a document. The name of each is the last file name before its block.
fn c_files(document: &str) -> Vec<(&str, &str)> {
    let mut before = document;
    let mut files = Vec::new();
    while let Some((text, rest)) = before.split_once("```c\n") {
        let (source, rest) = rest.split_once("```").expect("its end");
        let mut names = text.split('`').filter(|word| word.ends_with(".c") && !word.contains(' '));
        files.push((names.next_back().expect("the name of the file"), source));
        before = rest;
    }
    files
}

/// Returns the pages of the manual, each with the text of its `.Bd -literal` blocks and of its `.Dl` lines.
fn manual() -> Vec<(PathBuf, Vec<String>)> {
    let entries = std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("man")).expect("man/");
    let mut pages: Vec<_> =
        entries.map(|entry| entry.expect("a page").path()).map(|path| (blocks(&path), path)).collect();
    pages.sort_by(|(_, a), (_, b)| a.cmp(b));
    pages.into_iter().map(|(blocks, path)| (path, blocks)).collect()
}

fn blocks(page: &Path) -> Vec<String> {
    let mut blocks = Vec::new();
    let mut open: Option<String> = None;
    for line in std::fs::read_to_string(page).expect("a page").lines() {
        let text = line.replace("\\-", "-").replace("\\(aq", "'").replace("\\(dq", "\"").replace("\\e", "\\");
        if line.starts_with(".Bd -literal") {
            open = Some(String::new());
        } else if line == ".Ed" {
            blocks.extend(open.take());
        } else if let Some(block) = &mut open {
            writeln!(block, "{}", text.strip_prefix("\\&").unwrap_or(&text)).expect("memory");
        } else if let Some(line) = text.strip_prefix(".Dl ") {
            blocks.push(line.to_owned() + "\n");
        }
    }
    blocks
}

/// A shell on its own terminal, in its own IPC namespace.
struct Shell {
    input: ChildStdin,
    output: Receiver<Vec<u8>>,
    _ends_with_this: Running,
}

impl Shell {
    fn start(ns: &Namespace) -> Shell {
        let bin = Path::new(shmadm_path()).parent().expect("a directory").display().to_string();
        let path = format!("{bin}:{}", std::env::var("PATH").expect("PATH"));
        let bash = "unshare --ipc bash --norc --noprofile --noediting -i";
        let shell = format!("stty -echo -onlcr cols 80; PS1='{PROMPT}' exec {bash}");
        let mut command = ns.program("script");
        command.args(["--quiet", "--flush", "--return", "--command", &shell, "/dev/null"]);
        // No colours: a document has none.
        command.env("PATH", path).env("NO_COLOR", "1").env("SHELL", "/bin/bash");
        // Unset, this would be the history of the user who runs the tests.
        command.env_remove("PROMPT_COMMAND").env("HISTFILE", "/dev/null");
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("script of util-linux");
        let input = child.stdin.take().expect("a pipe");
        let mut pipe = child.stdout.take().expect("a pipe");
        let (sender, output) = channel();
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            // The loop ends with the terminal, or with the test.
            while let Ok(count @ 1..) = pipe.read(&mut buffer) {
                if sender.send(buffer[..count].to_vec()).is_err() {
                    break;
                }
            }
        });
        let mut shell = Shell { input, output, _ends_with_this: Running(child) };
        shell.until_ready(0);
        shell
    }

    /// Types a command. Returns the terminal's output until the shell is ready again.
    fn run(&mut self, example: &Example) -> String {
        writeln!(self.input, "{}", example.command).expect("the terminal");
        // A background job may print after the prompt.
        let lines = if example.command.ends_with('&') { example.shown.lines().count() } else { 0 };
        self.until_ready(lines)
    }

    fn until_ready(&mut self, lines: usize) -> String {
        let deadline = Instant::now() + Duration::from_secs(20);
        let mut bytes = Vec::new();
        loop {
            let text = String::from_utf8_lossy(&bytes).replace("\r\n", "\n");
            let shown = text.replace(PROMPT, "");
            let is_ready = shown.len() < text.len();
            if is_ready && shown.lines().count() >= lines && (lines == 0 || shown.ends_with('\n')) {
                return shown;
            }
            match self.output.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(more) => bytes.extend(more),
                // The comparison reports missing output.
                Err(RecvTimeoutError::Timeout) if is_ready => return shown,
                Err(error) => panic!("the shell is not ready: {error}, after {text:?}"),
            }
        }
    }
}

fn varies(patterns: &[(&'static str, &str)]) -> Redactions {
    let mut varies = Redactions::new();
    for (name, pattern) in patterns {
        varies.insert(name, regex::Regex::new(pattern).expect("a pattern")).expect("a placeholder");
    }
    varies
}

/// Types all examples of a document into one shell, and compares the output.
fn check(ns: &Namespace, document: &str, examples: &[Example]) {
    let mut shell = Shell::start(ns);
    let (mut written, mut seen) = (format!("{document}\n"), format!("{document}\n"));
    for example in examples {
        let line = &example.command;
        writeln!(written, "$ {line}\n{}", example.shown.trim_end()).expect("memory");
        // The documents show root's view, in which every attachment is verified.
        let shown = shell.run(example).replace("shmadm?", "shmadm").replace("?  root", "  root");
        // On a busy machine, a short program has ended before its user is read.
        let shown = shown.replace(" of an unknown user", "");
        writeln!(seen, "$ {line}\n{}", shown.trim_end()).expect("memory");
    }
    // A job in the background does not end with an interactive shell.
    shell.run(&Example { command: "kill $(jobs -p) 2>/dev/null".into(), shown: String::new() });
    let varies = varies(VARIES);
    Assert::new().eq(varies.redact(&seen), varies.redact(&written));
}

#[test]
fn the_sessions_of_the_documents_are_right() {
    in_namespace(|ns| {
        needs(Need::Program("cc"));
        let mut count = 0;
        let documents = documents();
        // A page can use the programs of another one.
        for (file, source) in documents.iter().flat_map(|(_, text)| c_files(text)) {
            ns.file(file, source);
        }
        for (name, text) in &documents {
            let examples: Vec<_> = fenced(text, "console").into_iter().flat_map(examples).collect();
            count += examples.len();
            if !examples.is_empty() {
                check(ns, name, &examples);
            }
        }
        assert!(count >= 20, "{count} examples");
    });
}

#[test]
fn the_sessions_of_root_are_right() {
    in_namespace_as_root(|ns| {
        for (name, text) in documents() {
            let examples: Vec<_> = fenced(&text, "console root").into_iter().flat_map(examples).collect();
            if !examples.is_empty() {
                check(ns, &name, &examples);
            }
        }
    });
}

#[test]
fn the_demo_prints_what_the_tour_shows() {
    in_namespace(|ns| {
        let tour = include_str!("../../docs/tour.md");
        let step = fenced(tour, "text")[0];
        let demo = on_terminal(ns, "rows 24 cols 80", "NO_COLOR=1 LC_ALL=C.UTF-8 $SHMADM demo");
        let (_, same) = demo.split_once("\n7 of 8").expect("the step");
        let (same, _) = same.split_once("\n8 of 8").expect("the next one");
        let varies = varies(&[
            ("[PROCESS]", "process [AB], (?<redacted>\\d+ ─+)"),
            ("[ADDRESS]", "0x7[0-9a-f]{11}"),
            ("[KEY]", "shmget\\((?<redacted>0x[0-9a-f]{8})"),
            ("[AGE]", "  (?<redacted> +\\d+s)  "),
        ]);
        Assert::new().eq(varies.redact(&format!("7 of 8{}\n", same.trim_end())), varies.redact(step));
    });
}

#[test]
fn the_sessions_of_the_manual_are_right() {
    in_namespace(|ns| {
        let mut sessions = 0;
        for (page, blocks) in manual() {
            let blocks = blocks.iter().filter(|block| block.starts_with(['$', '#'])).map(|block| examples(block));
            // A command without output is there to be adapted, so it is not run.
            let shown: Vec<_> =
                blocks.filter(|examples| examples.iter().any(|one| !one.shown.is_empty())).flatten().collect();
            if !shown.is_empty() {
                sessions += 1;
                check(ns, &page.display().to_string(), &shown);
            }
        }
        assert!(sessions > 3, "{sessions} pages have sessions");
    });
}

/// Returns the calls of shmadm in a line of shell. Words after `--` belong to another program, and
/// text after two spaces is an explanation.
fn calls(line: &str) -> Vec<&str> {
    let line = line.split(" -- ").next().and_then(|line| line.split("  ").next()).expect("a line");
    let starts = line.match_indices("shmadm ").map(|(at, _)| at);
    let starts = starts.filter(|at| *at == 0 || line[..*at].ends_with([' ', '(', '\n', '\'']));
    starts.map(|at| line[at..].split(['|', ';', '>', '<', ')', '&', '\n']).next().expect("a call").trim()).collect()
}

#[test]
fn every_command_in_the_documents_is_understood() {
    let mut named: Vec<(String, String)> = Vec::new();
    for (page, blocks) in manual() {
        let name = page.file_stem().expect("a name").display().to_string();
        let lines = blocks.iter().flat_map(|block| block.lines());
        named.extend(lines.flat_map(calls).map(|call| (name.clone(), call.to_owned())));
    }
    for (name, text) in documents() {
        let blocks =
            ["sh", "shell", "console", "console root", "ini"].into_iter().flat_map(|language| fenced(&text, language));
        let quoted = text.split('`').skip(1).step_by(2);
        let calls = blocks.flat_map(str::lines).chain(quoted).flat_map(calls);
        named.extend(calls.map(|call| (name.clone(), call.to_owned())));
    }
    assert!(named.len() > 100, "{} commands were found", named.len());
    for (place, call) in named {
        // The last word is wrong for certain. If clap complains about it, it has understood all words before it.
        let run = format!("shmadm() {{ '{}' \"$@\"; }}; id=5; key=1; {call} --color=nonsense", shmadm_path());
        let result = ended(Command::new("bash").args(["-c", &run]).stdin(Stdio::null()));
        let is_help = call.ends_with(" --help") && result.code == Some(0);
        assert!(is_help || result.err.contains("'nonsense' for '--color"), "{place}: {call}: {}", result.err);
    }
}
