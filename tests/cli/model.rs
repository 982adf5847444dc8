//! A model test. Random sequences of create, write, read, set, remove, hold and release are run by shmadm in one
//! private namespace and by system calls (tests/programs/model.c) in another. After each step both must have the same
//! segments with the same bytes.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{ChildStdin, ChildStdout, Stdio};

use crate::support::{Namespace, Running, in_namespace};
use fastrand::Rng;
use nix::sys::signal::Signal;

/// Set this variable to the seed of a failed sequence to repeat it.
const SEED: &str = "SHMADM_TEST_SEED";
const STEPS: usize = 400;
const KEYS: [i32; 4] = [42, -5, 0x1234_5678, i32::MIN];
const SIZES: [u64; 7] = [0, 1, 100, 4096, 4097, 10_000, 65_536];
const OWNERS: [i64; 4] = [-1, 0, 9, 100_000];

/// A running model.c, which answers each line with a line.
struct Model {
    _process: Running,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Model {
    /// Starts the program in this namespace, or after the words of `before` in another one.
    fn start(ns: &Namespace, program: &Path, before: &[&str]) -> Model {
        let mut command = ns.program(before.first().map_or(program.as_os_str(), |word| word.as_ref()));
        command.args(before.get(1..).unwrap_or_default());
        if !before.is_empty() {
            command.arg(program);
        }
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("the model");
        let (input, output) = (child.stdin.take().expect("a pipe"), child.stdout.take().expect("a pipe"));
        Model { _process: Running(child), input, output: BufReader::new(output) }
    }

    fn ask(&mut self, line: &str) -> String {
        writeln!(self.input, "{line}").expect("the model reads");
        let mut answer = String::new();
        self.output.read_line(&mut answer).expect("the model answers");
        assert!(answer.ends_with('\n'), "the model has ended at {line:?}");
        answer.trim_end().to_owned()
    }

    /// Returns the segments in the kernel's order: for each its identifier and all else.
    fn state(&mut self) -> Vec<(String, String)> {
        let state = self.ask("state");
        let rows = state.split_terminator(';').map(|row| row.split_once(' ').expect("an id and more"));
        rows.map(|(id, rest)| (id.to_owned(), rest.to_owned())).collect()
    }
}

/// A segment as both sides name it: by key, or by its identifier on each side.
struct Named {
    to_shmadm: String,
    to_model: String,
}

/// The two sides, and the processes that hold attachments.
struct Sides<'a> {
    ns: &'a Namespace,
    rng: Rng,
    /// A model.c that reports the state of shmadm's namespace.
    observer: Model,
    model: Model,
    holds: Vec<Running>,
    /// How often `read` has shown bytes, raw and in hexadecimal.
    shown: [usize; 2],
    /// Identifiers on both sides, in the same order. The last ones may be of removed segments.
    ids: Vec<(String, String)>,
}

impl Sides<'_> {
    fn name(&mut self) -> Named {
        if self.ids.is_empty() || self.rng.bool() {
            let key = self.rng.choice(KEYS).expect("a key");
            let word = if self.rng.bool() { key.to_string() } else { format!("{key:#x}") };
            return Named { to_shmadm: word, to_model: format!("k {key}") };
        }
        let (ours, theirs) = self.rng.choice(&self.ids).expect("an id");
        Named { to_shmadm: format!("id:{ours}"), to_model: format!("i {theirs}") }
    }

    /// Does one random step on both sides. Returns its description and the result of each side.
    fn step(&mut self) -> (String, &'static str, String) {
        let (line, asked) = match self.rng.u8(..22) {
            0..=3 => self.create(),
            16 => self.create_from(),
            17 => self.take(),
            18..=21 => return self.read(),
            4..=8 => self.write(),
            9..=11 => self.set(),
            12 => return self.release(),
            13 => return self.hold(),
            _ => {
                let Named { to_shmadm, to_model } = self.name();
                (vec!["remove".into(), to_shmadm], format!("remove {to_model}"))
            }
        };
        let ended = self.ns.shmadm(&line);
        let result = match ended.code {
            Some(0) => "ok",
            Some(1) => "failed",
            Some(3) => "missing",
            _ => panic!("{line:?}: {ended:?}"),
        };
        (format!("{line:?}"), result, self.model.ask(&asked))
    }

    fn create(&mut self) -> (Vec<String>, String) {
        let key = if self.rng.u8(..4) == 0 { None } else { self.rng.choice(KEYS) };
        let (size, mode) = (self.rng.choice(SIZES).expect("a size"), self.rng.u32(..=0o777));
        let word = key.map_or("private".into(), |key| key.to_string());
        let line = ["create", &word, "--size", &size.to_string(), "-m", &format!("{mode:o}")].map(Into::into);
        (line.into(), format!("create {} {size} {mode:o}", key.unwrap_or(0)))
    }

    fn create_from(&mut self) -> (Vec<String>, String) {
        let (key, mode) = (self.rng.choice(KEYS).expect("a key"), self.rng.u32(..=0o777));
        // An empty file gives no segment.
        let length = self.rng.choice([0, 1, 4096, 5000]).expect("a length");
        let (file, hex) = self.file(length);
        let line = ["create", &key.to_string(), "--from", &file, "-m", &format!("{mode:o}")].map(Into::into);
        (line.into(), format!("from {key} {mode:o} {hex}"))
    }

    /// `create --exist-ok`.
    fn take(&mut self) -> (Vec<String>, String) {
        let (key, mode) = (self.rng.choice(KEYS).expect("a key"), self.rng.u32(..=0o777));
        let mut line = ["create", &key.to_string(), "--exist-ok", "-m", &format!("{mode:o}")].map(Into::into).to_vec();
        let size = (self.rng.u8(..4) > 0).then(|| self.rng.choice(SIZES).expect("a size"));
        line.extend(size.iter().flat_map(|size| ["--size".into(), size.to_string()]));
        (line, format!("take {key} {} {mode:o}", size.map_or(-1, u64::cast_signed)))
    }

    /// Writes a file of random bytes. Returns its name and these bytes in hexadecimal.
    fn file(&mut self, length: usize) -> (String, String) {
        let bytes: Vec<_> = std::iter::repeat_with(|| self.rng.u8(..)).take(length).collect();
        (self.ns.file("input", &bytes).to_str().expect("a path").into(), hex(&bytes))
    }

    /// Reads on both sides. Compares the bytes here; the caller compares the results.
    fn read(&mut self) -> (String, &'static str, String) {
        let Named { to_shmadm, to_model } = self.name();
        let (offset, length) =
            (self.rng.choice(SIZES).expect("an offset"), self.rng.bool().then(|| self.rng.u64(..5000)));
        let mut line = ["read", &to_shmadm, "--offset", &offset.to_string()].map(String::from).to_vec();
        line.extend(length.iter().flat_map(|length| ["--length".into(), length.to_string()]));
        let answer = self.model.ask(&format!("read {to_model} {offset} {}", length.map_or(-1, u64::cast_signed)));
        let (word, bytes) = answer.split_once(' ').unwrap_or((&answer, ""));
        let is_hex = self.rng.bool();
        line.extend(["-f".into(), if is_hex { "hex" } else { "raw" }.into()]);
        let ended = self.ns.shmadm(&line);
        let result = match ended.code {
            // For no bytes at all, hexdump shows only the address.
            Some(0) if is_hex && !bytes.is_empty() => {
                // hexdump also gets the bytes before the offset, so that its addresses are right.
                let mut before = vec![b'x'; offset as usize];
                before.extend(unhex(bytes));
                let file = self.ns.file("dumped", before);
                let hexdump = self.ns.program("hexdump").args(["-C", "-s", &offset.to_string()]).arg(file).output();
                let hexdump = hexdump.expect("hexdump").stdout;
                assert!(ended.bytes == hexdump, "{line:?}: {} {}", ended.out, String::from_utf8_lossy(&hexdump));
                "ok"
            }
            Some(0) => {
                assert!(ended.bytes == unhex(bytes), "{line:?}: {} is not {bytes}", hex(&ended.bytes));
                "ok"
            }
            Some(1) => "failed",
            Some(3) => "missing",
            _ => panic!("{line:?}: {ended:?}"),
        };
        assert!(result == "ok" || ended.bytes.is_empty(), "{line:?}: {ended:?}");
        self.shown[usize::from(is_hex)] += usize::from(!ended.bytes.is_empty());
        (format!("{line:?}"), result, word.into())
    }

    fn write(&mut self) -> (Vec<String>, String) {
        let Named { to_shmadm, to_model } = self.name();
        let (offset, length) = (self.rng.choice(SIZES).expect("an offset"), self.rng.usize(..5000));
        let mut line = ["write", &to_shmadm, "--offset", &offset.to_string()].map(Into::into).to_vec();
        let bytes = if self.rng.bool() {
            let (file, bytes) = self.file(length);
            line.extend(["--file".into(), file]);
            bytes
        } else {
            let text: String = std::iter::repeat_with(|| self.rng.alphanumeric()).take(length % 50).collect();
            line.push(text.clone());
            hex(text.as_bytes()) + "00"
        };
        let zero = self.rng.u8(..4) == 0;
        line.extend(zero.then(|| "--zero".into()));
        let fill = (self.rng.u8(..4) == 0).then(|| self.rng.u8(..));
        line.extend(fill.map(|byte| format!("--fill={byte}")));
        let fill = fill.map_or(-1, i32::from);
        let what = format!("{offset} {} {fill} {bytes}", u8::from(zero));
        match to_model.strip_prefix("k ") {
            Some(key) if self.rng.u8(..3) == 0 => {
                let (size, mode) = (self.rng.choice(SIZES).expect("a size"), self.rng.u32(..=0o777));
                line.extend(["--create".into(), size.to_string(), format!("--mode={mode:o}")]);
                (line, format!("make {key} {size} {mode:o} {what}"))
            }
            _ => (line, format!("write {to_model} {what}")),
        }
    }

    fn set(&mut self) -> (Vec<String>, String) {
        let Named { to_shmadm, to_model } = self.name();
        let mut line = vec!["set".into(), to_shmadm, format!("--mode={:o}", self.rng.u32(..=0o777))];
        let mode = line[2]["--mode=".len()..].to_owned();
        // A user namespace has one user, whose limit on locked memory both sides share.
        let [mut uid, mut gid, mut lock] = [-1; 3];
        if self.ns.is_root {
            (uid, gid) = (self.rng.choice(OWNERS).expect("a uid"), self.rng.choice(OWNERS).expect("a gid"));
            lock = i64::from(self.rng.u8(..3)) - 1;
        }
        line.extend((uid >= 0).then(|| format!("--owner={uid}")));
        line.extend((gid >= 0).then(|| format!("--group={gid}")));
        line.extend((lock >= 0).then(|| if lock == 1 { "--lock".into() } else { "--unlock".into() }));
        let mode = i64::from_str_radix(&mode, 8).expect("octal");
        (line, format!("set {to_model} {uid} {gid} {mode} {lock}"))
    }

    fn hold(&mut self) -> (String, &'static str, String) {
        let Named { to_shmadm, to_model } = self.name();
        let answer = self.model.ask(&format!("hold {to_model}"));
        let line = ["read", &to_shmadm, "--length", "0", "--hold"];
        if answer == "ok" {
            self.holds.push(self.ns.hold(line));
            (format!("{line:?}"), "ok", answer)
        } else {
            self.ns.shmadm(line).fails(3);
            (format!("{line:?}"), "missing", answer)
        }
    }

    fn release(&mut self) -> (String, &'static str, String) {
        if self.holds.is_empty() {
            return ("nothing".into(), "ok", "ok".into());
        }
        let which = self.rng.usize(..self.holds.len());
        let ended = self.holds.swap_remove(which).end(Signal::SIGTERM);
        assert_eq!(ended, (None, Some(15)));
        (format!("release {which}"), "ok", self.model.ask(&format!("release {which}")))
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    let bytes = (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16));
    bytes.collect::<Result<_, _>>().expect("hexadecimal")
}

#[test]
#[allow(clippy::print_stderr, reason = "the harness shows it where the test fails")]
fn random_sequences_leave_what_the_system_calls_leave() {
    in_namespace(|ns| {
        let seed = std::env::var(SEED).map_or_else(|_| fastrand::u64(..), |seed| seed.parse().expect("a seed"));
        let program = ns.compile("model");
        let observer = Model::start(ns, &program, &[]);
        let model = Model::start(ns, &program, &["unshare", "--ipc"]);
        let rng = Rng::with_seed(seed);
        let mut sides = Sides { ns, rng, observer, model, holds: Vec::new(), shown: [0; 2], ids: Vec::new() };
        let mut done = [0; 3];
        eprintln!("{SEED}={seed}");
        for step in 0..STEPS {
            let (what, ours, theirs) = sides.step();
            eprintln!("{step}: {what}: {ours}");
            assert_eq!(ours, theirs, "step {step} of {SEED}={seed}: {what}");
            done[["ok", "failed", "missing"].iter().position(|word| *word == ours).expect("a result")] += 1;
            let (ours, theirs) = (sides.observer.state(), sides.model.state());
            let rest = |state: &[(String, String)]| state.iter().map(|(_, rest)| rest.clone()).collect::<Vec<_>>();
            assert_eq!(rest(&ours), rest(&theirs), "step {step} of {SEED}={seed}: {what}");
            // The identifier of a removed segment can still be used in later steps.
            let gone = sides.ids.iter().rfind(|(id, _)| ours.iter().all(|(other, _)| other != id)).cloned();
            sides.ids = ours.into_iter().zip(theirs).map(|((ours, _), (theirs, _))| (ours, theirs)).collect();
            sides.ids.extend(gone);
        }
        assert!(done.iter().all(|times| *times > STEPS / 50), "{SEED}={seed}: {done:?} is no mixture");
        assert!(sides.shown.iter().all(|times| *times > 1), "{SEED}={seed}: {:?} reads", sides.shown);
    });
}
