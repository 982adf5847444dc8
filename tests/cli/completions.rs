//! `shmadm completions` in real shells on a terminal, with a real TAB key.

mod quoting;

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{Read, Write};
use std::process::{ChildStdin, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::support::{Ended, Namespace, Need, Running, ended, in_namespace, needs, shmadm_path, wait_until};

const SHELLS: [&str; 4] = ["bash", "zsh", "fish", "elvish"];

/// Creates three segments: two with keys, and one without.
fn three_segments(ns: &Namespace) {
    ns.run("perl", ["-e", "shmget($_, 1 << 20, 01600) // die for 0x2a, 0x1234abcd, 0"]);
}

/// Returns the candidates that a script gets for the last of these words, one per line.
fn candidates(ns: &Namespace, shell: &str, words: &[&str]) -> Vec<String> {
    let before = (words.len() - 1).to_string();
    let asked = ns.shmadm([&["completions", shell, "--words-before", &before, "--"], words].concat());
    assert_eq!(asked.err, "", "{words:?}");
    asked.ok().lines().map(str::to_owned).collect()
}

/// A shell on its own terminal, with shmadm's completions loaded.
struct Terminal {
    script: Running,
    keyboard: ChildStdin,
    screen: Arc<Mutex<Vec<u8>>>,
}

/// The key that makes a shell show its command line between brackets: Ctrl-T.
const SHOW: &str = "\x14";

impl Terminal {
    /// Starts a shell. Skips the test if the shell is not installed.
    fn start(ns: &Namespace, shell: &str) -> Terminal {
        needs(Need::Program(shell));
        let completions = ns.shmadm(["completions", shell]).ok();
        ns.file("completions", completions);
        let (start, init) = match shell {
            "bash" => ("bash --norc", r#"source completions; bind -x '"\C-t": echo "[[$READLINE_LINE]]"'"#),
            "zsh" => (
                "zsh -f",
                // As a package installs it: compinit finds the file, and the first TAB loads it.
                "mkdir functions; cp completions functions/_shmadm; fpath=(functions $fpath); \
                 autoload -U compinit; compinit -D -u; \
                 show() { print -r \"[[$BUFFER]]\" }; zle -N show; bindkey '^T' show",
            ),
            "fish" => ("fish --no-config", "source completions; bind \\ct 'echo \"[[\"(commandline)\"]]\"'"),
            "elvish" => (
                "elvish -norc",
                "eval (slurp <completions); set edit:insert:binding[Ctrl-T] = { echo '[['$edit:current-command']]' }",
            ),
            _ => panic!("{shell} is no shell that is tested"),
        };
        let line = format!("stty cols 200 rows 50; exec {start}");
        let bin = std::path::Path::new(shmadm_path()).parent().expect("a directory").display().to_string();
        let mut script = ns.program("script");
        script.args(["-qec", &line, "/dev/null"]).stdin(Stdio::piped()).stdout(Stdio::piped());
        script.env("PATH", format!("{bin}:{}", std::env::var("PATH").expect("PATH")));
        // The shell leaves its history, log and sockets only in the temporary directory of the test.
        script.env("TERM", "xterm").env("HOME", ns.path("")).env("TMPDIR", ns.path("")).env("HISTFILE", "/dev/null");
        for base in ["CONFIG_HOME", "DATA_HOME", "STATE_HOME", "RUNTIME_DIR"] {
            script.env_remove(format!("XDG_{base}"));
        }
        let mut script = Running(script.spawn().expect("script"));
        let keyboard = script.0.stdin.take().expect("a pipe");
        let mut output = script.0.stdout.take().expect("a pipe");
        let screen = Arc::new(Mutex::new(Vec::new()));
        let shown = Arc::clone(&screen);
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(count @ 1..) = output.read(&mut bytes) {
                shown.lock().expect("the screen").extend_from_slice(&bytes[..count]);
            }
        });
        let mut terminal = Terminal { script, keyboard, screen };
        terminal.type_in(&format!("{init}; echo RE''ADY\r"));
        terminal.wait_for("READY");
        terminal
    }

    fn type_in(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).expect("the terminal");
    }

    /// Returns the text shown since the screen was cleared last.
    fn shown(&self) -> String {
        String::from_utf8_lossy(&self.screen.lock().expect("the screen")).into_owned()
    }

    #[track_caller]
    fn wait_for(&self, text: &str) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while !self.shown().contains(text) {
            assert!(Instant::now() < deadline, "waited in vain for {text:?} in {:?}", tail(&self.shown()));
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Types a line and TAB. Returns the command line after that, and clears it.
    #[track_caller]
    fn complete(&mut self, line: &str) -> String {
        self.screen.lock().expect("the screen").clear();
        self.type_in(&format!("{line}\t{SHOW}"));
        self.wait_for("]]");
        let shown = self.shown();
        self.type_in("\x15");
        let (_, rest) = shown.split_once("[[").unwrap_or_else(|| panic!("no command line in {shown:?}"));
        rest.split_once("]]").expect("its end").0.to_owned()
    }

    /// Ends the shell.
    #[track_caller]
    fn leave(mut self) {
        self.type_in("exit\r");
        wait_until("the shell ends", || self.script.0.try_wait().expect("its state").is_some());
    }
}

/// Returns the end of the shown text, without the spaces with which a shell fills lines.
fn tail(shown: &str) -> String {
    let words: Vec<_> = shown.split_whitespace().collect();
    words[words.len().saturating_sub(40)..].join(" ")
}

/// Checks the completions that every shell must offer.
fn completes(ns: &Namespace, shell: &str) {
    three_segments(ns);
    ns.file("some file", "");
    let mut terminal = Terminal::start(ns, shell);
    for (line, completed) in [
        ("shmadm lim", "shmadm limits "),
        ("shmadm stat 0x12", "shmadm stat 0x1234abcd "),
        ("shmadm stat 0x2a 0x1", "shmadm stat 0x2a 0x1234abcd "),
        ("shmadm rm -n 4", "shmadm rm -n 42 "),
        ("shmadm stat id:2", "shmadm stat id:2 "),
        ("shmadm set id:1 --unl", "shmadm set id:1 --unlock "),
        ("shmadm list --sort nat", "shmadm list --sort nattch "),
        ("shmadm stat 0x2a -f js", "shmadm stat 0x2a -f json "),
    ] {
        if shell == "elvish" && line == completed.trim_end() {
            // With nothing left to insert elvish opens its list, in which the key has another meaning.
            continue;
        }
        assert_eq!(terminal.complete(line).trim_end(), completed.trim_end(), "{shell}");
    }
    if shell == "elvish" {
        // Elvish shows files, even a single one, in its own list, in which the key has another meaning.
        terminal.type_in("shmadm create 1 --from so\t");
        terminal.wait_for("some file");
        return;
    }
    let file = terminal.complete("shmadm create 1 --from so");
    assert!(file.contains("some\\ file"), "{shell}: {file}");
    terminal.leave();
}

#[test]
fn bash_completes() {
    in_namespace(|ns| completes(ns, "bash"));
}

#[test]
fn zsh_completes() {
    in_namespace(|ns| completes(ns, "zsh"));
}

#[test]
fn fish_completes() {
    in_namespace(|ns| completes(ns, "fish"));
}

#[test]
fn elvish_completes() {
    in_namespace(|ns| completes(ns, "elvish"));
}

#[test]
fn several_candidates_are_shown_with_explanations() {
    in_namespace(|ns| {
        three_segments(ns);
        for shell in ["zsh", "fish", "elvish"] {
            let mut terminal = Terminal::start(ns, shell);
            terminal.type_in("shmadm stat id:\t");
            for explained in ["key 0x0000002a, 1M, ", "key 0x1234abcd, 1M, ", "no key, 1M, "] {
                terminal.wait_for(explained);
            }
        }
        let mut sourced = Terminal::start(ns, "zsh");
        sourced.type_in("unfunction _shmadm; source completions; echo SOUR''CED\r");
        sourced.wait_for("SOURCED");
        assert_eq!(sourced.complete("shmadm stat 0x12"), "shmadm stat 0x1234abcd ");
        let mut bash = Terminal::start(ns, "bash");
        bash.type_in("shmadm stat 0x\t\t");
        bash.wait_for("0x0000002a  0x1234abcd");
    });
}

#[test]
fn segments_are_offered_in_the_notation_of_the_word() {
    in_namespace(|ns| {
        three_segments(ns);
        for (word, offered) in [
            ("", &["0x0000002a", "0x1234abcd", "id:2"][..]),
            ("0x", &["0x0000002a", "0x1234abcd"]),
            ("0x2", &["0x2a"]),
            ("4", &["42"]),
            ("id:", &["id:0", "id:1", "id:2"]),
            ("id:9", &[]),
            ("x", &[]),
            ("ftok:A:/proc/sys/kernel/shmmn", &["ftok:A:/proc/sys/kernel/shmmni"]),
        ] {
            assert_eq!(candidates(ns, "bash", &["shmadm", "stat", "0x2a", word]), offered, "{word:?}");
        }
        // Each command that has a SEGMENT argument.
        for command in ["read", "attach-write", "write", "stat", "remove", "set"] {
            assert_eq!(candidates(ns, "bash", &["shmadm", "--trace", command, "0x1"]), ["0x1234abcd"], "{command}");
        }
        ns.run("ipcrm", ["-a"]);
        assert_eq!(candidates(ns, "bash", &["shmadm", "stat", "0x"]), [""; 0]);
    });
}

#[test]
fn segments_are_those_of_the_chosen_namespace() {
    in_namespace(|ns| {
        three_segments(ns);
        let mut other = ns.program("unshare");
        let other = other.args(["--ipc", "perl", "-e", "$| = 1; shmget(77, 1, 01600) // die; print 1; sleep 100"]);
        let mut other = Running(other.stdout(Stdio::piped()).spawn().expect("unshare"));
        other.0.stdout.take().expect("a pipe").read_exact(&mut [0]).expect("its segment");
        let pid = other.pid().to_string();
        assert_eq!(candidates(ns, "bash", &["shmadm", "--ns", &pid, "stat", ""]), ["0x0000004d"]);
        assert_eq!(candidates(ns, "bash", &["shmadm", "stat", &format!("--ns={pid}"), "7"]), ["77"]);
        assert_eq!(candidates(ns, "bash", &["shmadm", "--ns", "/nowhere", "stat", ""]), [""; 0]);
    });
}

#[test]
fn values_are_offered_by_their_kind() {
    in_namespace(|ns| {
        three_segments(ns);
        for (words, offered) in [
            (&["list", "-o", "key,nat"][..], &["key,nattch"][..]),
            (&["list", "--sort", "own"], &["owner"]),
            (&["list", "--color=n"], &["--color=never"]),
            (&["list", "--key", "0x1"], &["0x1234abcd"]),
            (&["list", "--owner", "roo"], &["root"]),
            (&["set", "0x2a", "--owner", "roo"], &["root"]),
            (&["set", "0x2a", "--group", "roo"], &["root"]),
            (&["create", "ra"], &["random"]),
            (&["create", "1", "--owner", "roo"], &["root"]),
            (&["list", "--not-in", ""], &[":files"]),
            (&["list", "--not-in=x"], &[":files"]),
            (&["guard", "--", "ma"], &[":files"]),
            (&["ftok", "/"], &[":files"]),
            (&["ftok", "--find", "0x1"], &["0x1234abcd"]),
            (&["completions", "e"], &["elvish"]),
        ] {
            let words = [&["shmadm"], words].concat();
            assert_eq!(candidates(ns, "bash", &words), offered, "{words:?}");
        }
    });
}

#[test]
fn a_word_count_past_the_end_offers_nothing() {
    in_namespace(|ns| {
        // The word after the last one is still empty.
        let ask = |before: &str| ns.shmadm(["completions", "bash", "--words-before", before, "--", "shmadm"]);
        assert!(ask("1").ok().starts_with("create\n"));
        for before in ["2", "99999999999999", "18446744073709551615"] {
            let asked = ask(before);
            assert_eq!((asked.code, asked.out.as_str(), asked.err.as_str()), (Some(0), "", ""), "{before}");
        }
    });
}

#[test]
fn every_command_and_option_is_offered() {
    in_namespace(|ns| {
        let help = ns.shmadm(["--help"]).ok();
        let (_, commands) = help.split_once("Commands:\n").expect("commands");
        let (commands, _) = commands.split_once("\n\n").expect("their end");
        let commands: Vec<_> = commands.lines().filter_map(|line| line.split_whitespace().next()).collect();
        assert!(commands.len() > 10, "{commands:?}");
        assert_eq!(candidates(ns, "bash", &["shmadm", ""]), commands);
        for command in commands.into_iter().filter(|command| *command != "help") {
            let help = ns.shmadm([command, "--help"]).ok();
            let option = |line: &str| {
                let line = line.trim_start();
                let (_, option) = line.split_once("--").filter(|(before, _)| before.len() <= 4)?;
                line.starts_with('-').then(|| option.split([' ', '[', '=']).next().unwrap_or_default().to_owned())
            };
            // Text further to the right is an explanation.
            let lines = help.lines().filter(|line| line.starts_with("  -") || line.starts_with("      -"));
            let wanted: BTreeSet<_> = lines.filter_map(option).map(|option| format!("--{option}")).collect();
            let offered: BTreeSet<_> = candidates(ns, "bash", &["shmadm", command, "-"]).into_iter().collect();
            assert!(wanted.contains("--help"), "{command}: {wanted:?}");
            assert_eq!(offered, wanted, "{command}");
        }
    });
}

#[test]
fn without_the_kernels_table_nothing_is_offered_or_printed() {
    in_namespace(|ns| {
        let line =
            "mount -t tmpfs none /proc/sysvipc && exec \"$0\" completions zsh --words-before 2 -- shmadm stat ''";
        let mut unshare = ns.program("unshare");
        let asked = ended(unshare.args(["--mount", "sh", "-c", line, shmadm_path()]));
        assert_eq!((asked.code, asked.err.as_str()), (Some(0), ""), "{asked:?}");
        assert!(!asked.out.contains("0x") && !asked.out.contains("id:"), "{asked:?}");
    });
}

#[test]
fn a_full_disk_is_exit_1_with_a_message() {
    in_namespace(|ns| {
        for shell in SHELLS {
            let full = File::options().write(true).open("/dev/full").expect("/dev/full");
            let printed = ns.command(["completions", shell]).stdout(full).stderr(Stdio::piped()).output();
            let error = Ended::from(printed.expect("shmadm"));
            assert!(error.fails(1).contains("No space left on device"), "{shell}");
        }
        ns.shmadm(["completions"]).usage_error();
        ns.shmadm(["completions", "powershell"]).usage_error();
    });
}
