//! Another user swaps the directory of `-o`, or a file in it, between two steps of shmadm.

use std::path::Path;

use super::*;

/// A swap, its moment, and the expected result.
struct Swap {
    /// The target of `-o`.
    target: &'static str,
    /// The system call that is delayed, to leave time for the swap.
    delayed: &'static str,
    /// Returns whether the delayed call comes next.
    is_reached: fn(&Path) -> bool,
    /// The shell command that swaps, in the test's directory.
    swap: &'static str,
    /// The complete standard error.
    error: &'static str,
    /// A file and its contents after that. `victim/out` must keep its own.
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
    // The directory that the link leads to is replaced by another one.
    Swap {
        target: "link",
        delayed: "renameat,renameat2",
        is_reached: has_temporary,
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
            let mut printed = String::new();
            reader.0.stderr.take().expect("a pipe").read_to_string(&mut printed).expect("UTF-8");
            reader.0.wait().expect("its exit status");
            assert_eq!(printed, error, "{swap}");
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
