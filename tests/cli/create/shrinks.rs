//! `create --from`: a file that becomes shorter after its size was read, and files without a usable size.

use std::fs::OpenOptions;

use super::*;
use crate::support::{Need, needs, wait_until};

#[test]
fn a_file_that_shrinks_is_an_error_and_leaves_no_segment() {
    in_namespace(|ns| {
        needs(Need::Strace);
        ns.shmadm(["create", "7", "--size", "5000"]).ok();
        for (line, undone) in [
            ("create 42 --from in", "; the new segment was removed again\n"),
            ("create 42 --size 8K --from in", "; the new segment was removed again\n"),
            ("write 42 --create 8K --file in", "; the new segment was removed again\n"),
            ("write 7 --file in", "\n"),
        ] {
            let file = ns.file("in", [b'x'; 5000]);
            let mut strace = ns.program("strace");
            ns.file("log", "");
            strace.args(["-qq", "-y", "-o", "log", "-e", "trace=statx,shmget"]);
            strace.args(["-e", "inject=shmget:delay_enter=300000", "--"]);
            strace.arg(shmadm_path()).args(line.split(' ')).stdin(Stdio::null()).stdout(Stdio::piped());
            let running = Running(strace.stderr(Stdio::piped()).spawn().expect("strace"));
            let has_read_size = || std::fs::read_to_string(ns.path("log")).is_ok_and(|log| log.contains("/in>"));
            wait_until("it has read the size of the file", has_read_size);
            OpenOptions::new().write(true).open(&file).and_then(|file| file.set_len(1000)).expect("a shorter file");
            let error = running.ended().fails(1);
            assert!(error.contains("cannot write all of in to segment 0x000000"), "{line}: {error}");
            assert!(error.contains("it became shorter meanwhile; of 5000 bytes, 1000 were written"), "{line}: {error}");
            assert!(error.ends_with(undone), "{line}: {error}");
            assert_eq!(ns.table().len(), 1, "{line}");
        }
    });
}

#[test]
fn a_file_of_sysfs_has_no_usable_size() {
    in_namespace(|ns| {
        let file = "/sys/kernel/mm/transparent_hugepage/enabled";
        let Ok(contents) = std::fs::read_to_string(file) else { crate::support::skip("no sysfs") };
        let created = ns.shmadm(["create", "42", "--size", "8K", "--from", file, "-q"]);
        created.ok();
        assert_eq!(ns.shmadm(["read", "42", "-f", "string"]).ok(), contents);
        assert!(ns.shmadm(["create", "43", "--from", file]).fails(1).contains("its size is unknown"));
    });
}

#[test]
fn a_dash_is_standard_input() {
    in_namespace(|ns| {
        ns.shmadm_with_input(["create", "42", "--size", "8K", "--from", "-", "-m", "640"], b"from a pipe").ok();
        assert_eq!(ns.shmadm(["read", "42", "-f", "string"]).ok(), "from a pipe\n");
        // A regular file has a size.
        ns.file("in", "a file");
        let script = "$0 create 43 --from - -q <in && $0 create 44 --from ./- -q 2>&1";
        let created = ended(ns.program("sh").args(["-c", script, shmadm_path()]));
        assert!(created.out.contains("cannot read ./-: No such file"), "{created:?}");
        assert_eq!(ns.shmadm(["read", "43"]).ok(), "a file");
        let unsized_ = ns.shmadm_with_input(["create", "44", "--from", "-"], b"x").fails(1);
        assert!(unsized_.contains("as large as standard input: it is empty, or its size is unknown; use --size"));
        let full = ns.shmadm_with_input(["create", "44", "--from", "-", "--size", "1"], b"xy").fails(1);
        assert!(full.contains("the segment is full") && full.contains("removed again"), "{full}");
        assert_eq!(ns.table().len(), 2);
    });
}
