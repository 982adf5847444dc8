//! A command that strace(1) stops after one of its calls, and a rival process that acts in between.

use std::collections::HashMap;
use std::fs;
use std::process::Stdio;
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::support::{Ended, Namespace, Need, Row, Running, needs, shmadm_path};

/// The segment that exists before the command runs.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Before {
    Nothing,
    Segment,
    /// A segment, and a process that keeps it attached until the rival has acted.
    Attached,
}

/// The action of the rival.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Act {
    Remove,
    Take,
    /// Removes the segment and creates another one with the same key and identifier.
    Reuse,
}

/// The step up to which a command may use the new segment, because it has not yet found or chosen its segment.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Until {
    Never,
    /// Its first look-up of the key, or its attempt to create the segment. If that segment is gone, --create uses the
    /// current one.
    Found,
    /// Its last read of the table, from which it chooses.
    Listed,
}

/// A command line and its permitted results.
#[derive(Clone, Copy)]
pub(super) struct Line {
    /// `{id}` is the segment's identifier; the key is 42.
    words: &'static str,
    before: Before,
    /// The permitted exit statuses.
    codes: &'static [i32],
    /// Each line of standard error must contain one of these. With exit status 3 "there is no such segment" is
    /// permitted, too.
    says: &'static [&'static str],
    uses: Until,
}

pub(super) const fn line(words: &'static str, codes: &'static [i32]) -> Line {
    Line { words, before: Before::Segment, codes, says: &[], uses: Until::Never }
}

impl Line {
    pub(super) const fn of(self, before: Before) -> Line {
        Line { before, ..self }
    }

    pub(super) const fn says(self, says: &'static [&'static str]) -> Line {
        Line { says, ..self }
    }

    pub(super) const fn uses(self, uses: Until) -> Line {
        Line { uses, ..self }
    }
}

/// A call after which the command is stopped: the index of the process, the name of the call, and which call of that
/// name.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Step {
    pub process: usize,
    pub call: String,
    pub nth: usize,
    /// Whether the table is not read after this step.
    pub is_last_read: bool,
    /// Whether the command tries to create the segment after this step.
    pub is_before_creation: bool,
}

/// A run of a command.
struct Round {
    /// The kernel's rows.
    old: Option<Row>,
    new: Option<Row>,
    ended: Ended,
    log: String,
    has_stopped: bool,
}

/// Returns the kernel's row without the fields that the kernel changes by itself.
fn identity(row: &Row) -> Row {
    Row { rss: String::new(), swap: String::new(), ..row.clone() }
}

/// Returns the traced processes in the order in which they came.
fn processes(log: &str) -> Vec<&str> {
    let mut pids = Vec::new();
    for pid in log.lines().filter_map(|line| line.split(' ').next()) {
        if !pids.contains(&pid) {
            pids.push(pid);
        }
    }
    pids
}

/// Returns the name of the call in a line of the log, if it is one for segments or a read of the table.
fn step_of(line: &str) -> Option<(&str, &str)> {
    let (pid, call) = line.split_once(' ')?;
    let (name, _) = call.trim_start().split_once('(')?;
    let is_read = name == "read" && line.contains("</proc/sysvipc/shm>");
    (is_read || name.starts_with("shm")).then_some((pid, name))
}

/// Returns the processes that make steps, in the order of their first ones. Threads that only read other files are
/// left out.
fn processes_with_steps(log: &str) -> Vec<&str> {
    let mut pids = Vec::new();
    for (pid, _) in log.lines().filter_map(step_of) {
        if !pids.contains(&pid) {
            pids.push(pid);
        }
    }
    pids
}

/// Returns the steps of a command, as strace saw them: its calls for segments, and its reads of the table.
fn steps(log: &str) -> Vec<Step> {
    let pids = processes_with_steps(log);
    let mut counts = HashMap::new();
    let mut steps = Vec::new();
    let (mut last_look, mut creation) = (0, 0);
    for line in log.lines() {
        let Some((pid, call)) = line.split_once(' ') else { continue };
        let Some((name, _)) = call.trim_start().split_once('(') else { continue };
        let nth = counts.entry((pid, name)).or_insert(0);
        *nth += 1;
        if step_of(line).is_some() {
            let is_read = name == "read";
            let process = pids.iter().position(|known| *known == pid).expect("a process");
            last_look = if is_read && process == 0 { steps.len() } else { last_look };
            creation = if line.contains("IPC_CREAT") && process == 0 { steps.len() } else { creation };
            steps.push(Step { process, call: name.into(), nth: *nth, is_last_read: false, is_before_creation: false });
        }
    }
    steps.iter_mut().skip(last_look).for_each(|step| step.is_last_read = true);
    steps.iter_mut().take(creation).for_each(|step| step.is_before_creation = true);
    steps
}

/// Returns whether a process has made the call of a step.
fn has_made(log: &str, pid: &str, step: &Step) -> bool {
    let call = format!("{}(", step.call);
    let calls = log.lines().filter_map(|line| line.split_once(' '));
    calls.filter(|(of, rest)| *of == pid && rest.trim_start().starts_with(&call)).count() >= step.nth
}

/// Runs a command under strace; where it stops, the rival acts.
fn run(ns: &Namespace, line: &Line, pause: Option<(&Step, Act)>) -> Round {
    if !ns.table().is_empty() {
        ns.run("ipcrm", ["--all=shm"]);
    }
    for file in ["out", "log"] {
        let _ = fs::remove_file(ns.path(file));
    }
    if line.before != Before::Nothing {
        ns.run("./rival", ["make", "42"]);
    }
    let old = ns.table().pop();
    let mut holder = (line.before == Before::Attached).then(|| {
        let mut rival = ns.program("./rival");
        let mut holder =
            Running(rival.args(["hold", "42"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("a rival"));
        let mut held = [0; 5];
        std::io::Read::read_exact(holder.0.stdout.as_mut().expect("a pipe"), &mut held).expect("it holds");
        holder
    });
    let id = old.as_ref().map_or("", |row| &*row.id);
    let words = line.words.replace("{id}", id);

    let mut strace = ns.program("strace");
    strace.args(["-f", "-qq", "-y", "-o", "log", "-e", "trace=shmget,shmat,shmctl,shmdt,read"]);
    if let Some((step, _)) = pause {
        strace.args(["-e", &format!("inject={}:signal=SIGSTOP:when={}", step.call, step.nth)]);
    }
    strace.arg(shmadm_path()).args(words.split(' '));
    let output = |name| fs::File::create(ns.path(name)).expect("a file");
    strace.stdin(Stdio::null()).stdout(output("stdout")).stderr(output("stderr"));
    let mut running = Running(strace.spawn().expect("strace"));

    let log = || fs::read_to_string(ns.path("log")).unwrap_or_default();
    let (mut seen, mut new, mut has_stopped) = (0, None, false);
    let deadline = Instant::now() + Duration::from_secs(30);
    while running.0.try_wait().expect("its state").is_none() {
        let log = log();
        if Instant::now() > deadline {
            // Otherwise a stopped process would remain after strace is gone.
            for pid in processes(&log) {
                let _ = kill(number(pid), Signal::SIGKILL);
            }
            panic!("{words:?}, {pause:?}: it does not end: {log}");
        }
        let stopped: Vec<_> = log.lines().filter(|line| line.ends_with("--- stopped by SIGSTOP ---")).collect();
        for stop in stopped.iter().skip(seen) {
            let pid = stop.split(' ').next().expect("a pid");
            let (step, act) = pause.expect("nobody else stops it");
            let named = processes_with_steps(&log).get(step.process).map(|pid| (*pid).to_owned());
            // The signal arrives after this call of each thread, and stops all threads of the process.
            if let Some(named) = named.filter(|named| !has_stopped && has_made(&log, named, step)) {
                if named == pid {
                    has_stopped = true;
                    new = rival(ns, act);
                } else if fs::exists(format!("/proc/{named}/task/{pid}")).unwrap_or(false) {
                    // The thread that made the call also stops at once.
                    continue;
                }
            }
            let _ = kill(number(pid), Signal::SIGCONT);
        }
        seen = stopped.len();
        // `remove --wait` waits until this process detaches.
        if has_stopped || (pause.is_none() && log.contains("IPC_RMID")) {
            holder = None;
        }
        sleep(Duration::from_millis(1));
    }
    drop(holder);
    let status = running.0.wait().expect("its exit status");
    let read = |name| fs::read(ns.path(name)).expect("its output");
    let (stdout, stderr) = (read("stdout"), read("stderr"));
    Round { old, new, ended: std::process::Output { status, stdout, stderr }.into(), log: log(), has_stopped }
}

fn number(pid: &str) -> Pid {
    Pid::from_raw(pid.parse().expect("a pid"))
}

/// Removes the existing segment, and for some actions creates another one in its place. Returns the row of the new one.
fn rival(ns: &Namespace, act: Act) -> Option<Row> {
    // The demo chooses a key itself.
    let key = ns.table().into_iter().map(|row| row.key).find(|key| key != "0");
    let key = key.unwrap_or_else(|| "42".into());
    if act == Act::Remove {
        ns.run("./rival", ["remove", &key]);
        return None;
    }
    ns.run("./rival", [if act == Act::Take { "take" } else { "reuse" }, &key]);
    let new = ns.table().into_iter().find(|row| row.key == key);
    assert!(new.is_some(), "it has taken {key}");
    new
}

/// Checks that the result of a round is permitted.
fn judge(ns: &Namespace, line: &Line, step: &Step, act: Act, round: &Round) {
    let Round { old, new, ended, .. } = round;
    let description =
        || format!("{:?}, {act:?} behind {step:?}: {ended:?}\nold {old:?}\nnew {new:?}\n{}", line.words, round.log);
    let code = ended.code.unwrap_or_else(|| panic!("{}", description()));
    assert!(line.codes.contains(&code), "{}", description());
    // Indented lines say how a leak came about.
    for message in ended.err.lines().filter(|line| !line.starts_with("shmadm:    ")) {
        let is_missing = code == 3 && message.contains("there is no such segment");
        let exists = step.is_before_creation && message.contains("it exists already");
        // A container may hide its first process even from root.
        let is_unread = message.contains("cannot find all attachments: ");
        assert!(
            is_missing || exists || is_unread || line.says.iter().any(|words| message.contains(words)),
            "{}",
            description()
        );
    }
    assert!(code == 0 || !ended.err.is_empty(), "{}", description());
    assert!(act != Act::Reuse || ended.err.contains("it changed since it was chosen"), "{}", description());

    // The rival's segment still exists and is unchanged.
    let table = ns.table();
    let may_use = match line.uses {
        Until::Never => false,
        Until::Found => step.is_before_creation || (step.call == "shmget" && step.nth == 1),
        Until::Listed => !step.is_last_read,
    };
    if let Some(new) = new.as_ref().filter(|_| !may_use) {
        let now = table.iter().find(|row| row.id == new.id);
        assert_eq!(now.map(identity), Some(identity(new)), "touched: {}", description());
    }
    // No other segment is left, unless a command reported that it created one.
    let is_known = |row: &Row| new.as_ref().is_some_and(|new| new.id == row.id);
    let makes = code == 0 && (line.words.starts_with("create ") || line.words.contains(" --create "));
    assert!(makes || table.iter().all(is_known), "{table:?} is left: {}", description());

    if line.words.starts_with("read ") {
        let file = fs::read(ns.path("out")).unwrap_or_default();
        let text = String::from_utf8_lossy(&file) + &*ended.out;
        let has = |letters: &str, hex: &str| text.contains(letters) || text.contains(hex);
        assert_eq!(has("oooo", "6f 6f 6f 6f"), code == 0, "{}", description());
        assert!(!has("s", "73 73"), "{}", description());
    }
    // All values that are shown for a segment belong to it.
    for shown in shown(&ended.out) {
        let row = [old, new].into_iter().flatten().find(|row| shown["id"].as_i64() == row.id.parse().ok());
        let row = row.unwrap_or_else(|| panic!("{shown}: {}", description()));
        assert_eq!(
            (shown["mode"].as_str(), shown["cpid"].to_string()),
            (Some(&*format!("0{}", row.mode)), row.cpid.clone())
        );
    }
}

/// Returns the segments in output that is JSON.
fn shown(out: &str) -> Vec<Value> {
    let values =
        out.lines().filter(|line| line.starts_with(['{', '['])).filter_map(|line| serde_json::from_str(line).ok());
    let each = values.flat_map(|value: Value| match value {
        Value::Array(values) => values,
        Value::Object(mut object) => match object.remove("segment").or_else(|| object.remove("segments")) {
            Some(Value::Array(values)) => values,
            Some(value) => vec![value],
            None => vec![Value::Object(object)],
        },
        _ => Vec::new(),
    });
    each.filter(|value| value["mode"].is_string() && value["cpid"].is_number()).collect()
}

/// Stops these lines after each of their steps, for each act. `chosen` leaves out unimportant steps.
pub(super) fn walk(ns: &Namespace, lines: &[Line], acts: &[Act], chosen: fn(&Step) -> bool) {
    needs(Need::Strace);
    ns.compile("rival");
    ns.file("in", "ZZZZ");
    ns.file("before", r#"{"segments":[]}"#);
    for line in lines {
        let plain = run(ns, line, None);
        assert!(line.codes.contains(&plain.ended.code.unwrap_or(-1)), "{:?}: {:?}", line.words, plain.ended);
        let steps = steps(&plain.log);
        let mut stopped = 0;
        for step in steps.iter().filter(|step| chosen(step)) {
            for &act in acts {
                let round = run(ns, line, Some((step, act)));
                // The number of repeated inspections depends on time.
                let varies = ["watch", "--wait"].iter().any(|word| line.words.contains(word));
                assert!(round.has_stopped || varies, "{:?} has no {step:?}: {}", line.words, round.log);
                if round.has_stopped {
                    stopped += 1;
                    judge(ns, line, step, act, &round);
                }
            }
        }
        assert!(stopped > 0, "{:?} was never stopped: {}", line.words, plain.log);
    }
}
