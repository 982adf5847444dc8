//! The directory of `-o`, or what is in it, is swapped by somebody else between two steps of shmadm.

use std::path::Path;

use super::*;
use crate::support::is_open;

/// What is swapped, when, and what holds after that.
struct Swap {
    /// What is named by `-o`.
    target: &'static str,
    /// The system call that is delayed, so that there is time.
    delayed: &'static str,
    /// Whether the delayed call is about to be made.
    is_reached: fn(&Path) -> bool,
    /// Done meanwhile, in the test's directory.
    swap: &'static str,
    /// The whole of standard error.
    error: &'static str,
    /// A file and its contents, besides those of `victim/out`, which stay.
    file: (&'static str, &'static str),
}

const SWAPS: [Swap; 3] = [
    Swap {
        target: "dir/out",
        delayed: "renameat,renameat2",
        is_reached: has_temporary,
        swap: "mv dir kept; ln -s victim dir",
        error: "",
        file: ("kept/out", "new"),
    },
    Swap {
        target: "dir/out",
        delayed: "renameat,renameat2",
        is_reached: has_temporary,
        swap: "mkdir kept; mv dir/out kept; ln -s ../victim/out dir/out",
        error: "",
        file: ("kept/out", "old"),
    },
    // The path by which the link's file was opened leads elsewhere, before that is looked up.
    Swap {
        target: "link",
        delayed: "readlink",
        is_reached: |directory| is_open(&directory.join("dir/out")),
        swap: "ln -s victim l; mv dir kept; mv l dir",
        error: "",
        file: ("kept/out", "new"),
    },
];

#[test]
fn a_directory_that_is_swapped_redirects_nothing() {
    in_namespace(|ns| {
        needs(Need::Strace);
        segment(ns, 1, b"new");
        for Swap { target, delayed, is_reached, swap, error, file: (kept, contents) } in SWAPS {
            ns.run(
                "sh",
                [
                    "-c",
                    "rm -rf dir kept victim link; mkdir dir victim; ln -s dir/out link
                 echo secret > victim/out; printf old > dir/out",
                ],
            );
            let mut strace = ns.program("strace");
            strace.args(["-qq", "-e", &format!("trace={delayed}")]);
            strace.args(["-e", &format!("inject={delayed}:delay_enter=500000"), "-o", "log", "--"]);
            strace.args([shmadm_path(), "read", "1", "-o"]);
            let mut reader = Running(strace.arg(target).stderr(Stdio::piped()).spawn().expect("strace"));
            wait_until("shmadm has come there", || is_reached(&ns.path("")));
            ns.run("sh", ["-c", swap]);
            let mut said = String::new();
            reader.0.stderr.take().expect("a pipe").read_to_string(&mut said).expect("UTF-8");
            reader.0.wait().expect("its end");
            assert_eq!(said, error, "{swap}");
            assert_eq!(ns.run("cat", ["victim/out"]), "secret\n", "{swap}");
            assert_eq!(ns.run("cat", [kept]), contents, "{swap}");
            let names = ns.run("find", ["."]);
            assert!(!names.contains(".shmadm-") && !names.contains("deleted"), "{swap}: {names}");
        }
    });
}

fn has_temporary(directory: &Path) -> bool {
    let names = fs::read_dir(directory.join("dir")).into_iter().flatten().flatten();
    names.map(|entry| entry.file_name()).any(|name| name.to_string_lossy().starts_with(".shmadm-"))
}
