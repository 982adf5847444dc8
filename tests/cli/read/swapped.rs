//! The target of `-o` is swapped by somebody else, between the step that opens it and the one that asks for its name.

use super::*;

/// What is done meanwhile in the directory, and what is there then.
const SWAPS: [(&str, &str); 2] = [
    // The file that was opened is somewhere else.
    ("mv out kept; ln -s victim out", "new"),
    // It is gone.
    ("ln -s victim link; mv link out", "old"),
];

#[test]
fn a_link_that_is_put_in_its_place_leads_nowhere() {
    in_namespace(|ns| {
        needs(Need::Strace);
        segment(ns, 1, b"new");
        for (swap, kept) in SWAPS {
            ns.run("sh", ["-c", "rm -f out kept log; echo secret >victim; printf old >out"]);
            let mut strace = ns.program("strace");
            strace.args(["-qq", "-e", "trace=readlink", "-e", "inject=readlink:delay_enter=500000", "-o", "log"]);
            strace.args([shmadm_path(), "read", "1", "-o", "out"]);
            let mut reader = Running(strace.stderr(Stdio::piped()).spawn().expect("strace"));
            wait_until("it has opened the file", || by_whom_opened(&ns.path("out")));
            ns.run("sh", ["-c", swap]);
            let mut error = String::new();
            reader.0.stderr.take().expect("a pipe").read_to_string(&mut error).expect("UTF-8");
            let ended = reader.0.wait().expect("its end").code();
            assert_eq!(ns.run("cat", ["victim"]), "secret\n", "{swap}");
            let names = ns.run("ls", ["-A"]);
            if kept == "new" {
                assert_eq!((ended, &*error, ns.run("cat", ["kept"]).as_str()), (Some(0), "", "new"), "{swap}");
            } else {
                assert_eq!(ended, Some(1), "{swap}");
                assert_eq!(error, "shmadm: cannot write out: the file was moved or replaced just now\n");
            }
            assert!(!names.contains(".shmadm-") && !names.contains("deleted"), "{swap}: {names}");
        }
    });
}

/// Whether a process below us has this file open.
fn by_whom_opened(file: &std::path::Path) -> bool {
    let descriptors = std::fs::read_dir("/proc").expect("/proc").flatten();
    descriptors.filter_map(|process| std::fs::read_dir(process.path().join("fd")).ok()).any(|descriptors| {
        descriptors.flatten().any(|descriptor| std::fs::read_link(descriptor.path()).is_ok_and(|path| path == file))
    })
}
