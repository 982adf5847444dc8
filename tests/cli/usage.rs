//! Common to all commands: usage errors, help, version.

mod hints;

use std::process::{Command, Stdio};

use crate::support::{ended, in_namespace, shmadm_path};

fn shmadm(args: &[&str]) -> Command {
    let mut command = Command::new(shmadm_path());
    command.args(args).stdin(Stdio::null());
    command
}

#[test]
fn help_and_version_are_exit_0() {
    assert!(ended(&mut shmadm(&["--help"])).ok().contains("attach-write"));
    assert_eq!(ended(&mut shmadm(&["--version"])).ok(), format!("shmadm {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn bad_words_are_usage_errors_and_change_nothing() {
    in_namespace(|ns| {
        ns.shmadm(["create", "42", "--size", "4096"]).ok();
        let before = ns.table();
        let named: [&[&str]; 4] = [&["read"], &["stat"], &["remove"], &["attach-write"]];
        let words = [
            "",
            "0",
            "0x",
            "08",
            "0x100000001",
            "-2147483649",
            "id:",
            "id:-1",
            "id:2147483648",
            "id:0x",
            "42x",
            " 42",
            "ftok:",
            "ftok::/",
            "ftok:0:/",
            "ftok:256:/",
            "ftok:A:",
        ];
        for command in named {
            for word in words {
                ns.shmadm(command.iter().chain(&[word])).usage_error();
            }
        }
        // A valid word before or after a bad one has no effect either.
        ns.shmadm(["remove", "42", "nonsense"]).usage_error();
        ns.shmadm(["remove", "", "42"]).usage_error();
        for args in [
            &["frobnicate"][..],
            &[],
            &["list", "--frobnicate"],
            &["list", "-o", "KEY,NONSENSE"],
            &["list", "-f", "xml"],
            &["read", "42", "--offset", "1 K"],
            &["remove", "42", "--wait=soon"],
            &["remove", "42", "--wait="],
            &["attach-write", "42", "x", "--hold=soon"],
            &["attach-write", "42", "x", "--hold="],
            &["attach-write", "42", "x", "--fill", "256"],
            &["attach-write", "42", "x", "--file", "y"],
            &["attach-write", "42", "x", "--at", "0"],
            &["attach-write", "42", "x", "--round"],
            &["attach-write", "id:0", "x", "--create", "4K"],
            &["create", "43"],
            &["create", "43", "--size", "1", "--mode", "1777"],
            &["create", "id:5", "--size", "1"],
            &["create", "0", "--size", "1"],
            &["create", "43", "--size", "1", "--huge=3M"],
            &["remove"],
        ] {
            let error = ns.shmadm(args);
            assert_eq!(error.code, Some(2), "{args:?}: {error:?}");
        }
        assert_eq!(ns.table(), before);
    });
}

#[test]
fn global_options_stand_before_and_behind_the_command() {
    in_namespace(|ns| {
        ns.shmadm(["create", "42", "--size", "1"]).ok();
        for (words, is_coloured, is_traced) in [
            ("list", false, false),
            ("--color always stat 42", true, false),
            ("stat 42 --color always", true, false),
            ("--color always stat 42 --color never", false, false),
            ("--color never stat 42 --color always", true, false),
            ("--color always --trace stat 42 --color auto", false, true),
            ("stat 42 --trace", false, true),
            ("--trace stat 42 --trace", false, true),
        ] {
            let shown = ns.shmadm(words.split(' '));
            assert_eq!(
                (shown.out.contains("\x1b["), shown.err.contains("shmctl")),
                (is_coloured, is_traced),
                "{words}"
            );
        }
        // The namespace behind the command counts.
        let ours = format!("/proc/{}/ns/ipc", nix::unistd::gettid());
        ns.shmadm(["--ns", "/nowhere", "stat", "42", "--ns", &ours]).ok();
        ns.shmadm(["--ns", &ours, "stat", "42", "--ns", "/nowhere"]).fails(1);
    });
}

#[test]
fn key_0_points_to_ids() {
    assert!(ended(&mut shmadm(&["read", "0"])).usage_error().contains("id:"));
}
