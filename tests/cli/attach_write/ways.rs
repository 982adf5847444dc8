//! Writing with privilege and without it takes two different ways: both write the same bytes and fail in the same
//! cases.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::Command;

use super::*;
use crate::support::{LITTLE_KIB, huge_pages, huge_segment, in_namespace_as_root, peak_kib, shmadm_path, skip};

const MIB: usize = 1 << 20;

/// Returns a program as a user with privilege, if this test has it, and as a user without.
fn both(ns: &Namespace, program: &str) -> [Command; 2] {
    [ns.program(program), ns.unprivileged(program)]
}

/// Creates a segment that every user may write to.
#[track_caller]
fn segment(ns: &Namespace, size: &str) {
    ns.shmadm(["create", "5", "--size", size, "--mode", "666"]).ok();
}

/// Runs a program that must succeed and print nothing.
#[track_caller]
fn quiet(command: &mut Command, what: &str) {
    let ended = ended(command);
    assert!(ended.code == Some(0) && ended.out.is_empty() && ended.err.is_empty(), "{what}: {ended:?}");
}

#[test]
fn every_kind_of_input_gives_the_same_bytes() {
    in_namespace(|ns| {
        // More bytes than shmadm moves at once, and not a whole number of pages.
        let size = 3 * MIB + 333;
        ns.file("input", (0..size).map(|n| (n % 251) as u8).collect::<Vec<_>>());
        ns.file("crosses", "x".repeat(5 * MIB));
        ns.open_to_all();
        segment(ns, "5M");
        for offset in [0, 1, 8191, 5 * MIB - size] {
            let rest = 5 * MIB - size - offset;
            let expected = format!("(head -c {offset} crosses; cat input; head -c {rest} crosses) > expected");
            quiet(ns.program("sh").args(["-ec", &expected]), &expected);
            for line in [
                "$0 write 5 --offset $1 --file input",
                "cat input | $0 write 5 --offset $1",
                "mkfifo fifo; cat input > fifo & $0 write 5 --offset $1 --file fifo; wait; rm fifo",
                // From the current position in the file.
                "(head -c 100 > begin; $0 write 5 --offset $(($1 + 100))) < input; $0 write 5 --offset $1 < begin; rm begin",
                // A pipe that delivers few bytes at a time.
                "(head -c 5000; sleep 0.01; cat) < input | $0 write 5 --offset $1",
            ] {
                for mut sh in both(ns, "sh") {
                    write(ns, "5 --file crosses").ok();
                    quiet(sh.args(["-ec", line, shmadm_path(), &offset.to_string()]), line);
                    let perl = "perl -e 'shmread(0, my $b, 0, 5 << 20) or die $!; print $b' | cmp - expected";
                    quiet(ns.program("sh").args(["-c", perl]), line);
                }
            }
        }
    });
}

#[test]
fn a_socket_a_device_and_a_file_of_proc_are_read() {
    in_namespace(|ns| {
        ns.open_to_all();
        segment(ns, "8K");
        for mut command in both(ns, shmadm_path()) {
            let (mut ours, theirs) = UnixStream::pair().expect("sockets");
            let mut child = command.args(["write", "5"]).stdin(OwnedFd::from(theirs)).spawn().expect("shmadm");
            std::io::Write::write_all(&mut ours, b"by socket").expect("a reader");
            drop(ours);
            assert!(child.wait().expect("its exit status").success());
            assert_eq!(contents(ns, 9), b"by socket");
            write(ns, "5 --zero").ok();
        }
        for mut sh in both(ns, "sh") {
            let line = "$0 write 5 --file /proc/sys/kernel/ostype; exec $0 write 5 --file /dev/zero --offset 6";
            let error = ended(sh.args(["-ec", line, shmadm_path()])).fails(1);
            assert!(error.contains("8186 bytes were written"), "{error}");
            assert_eq!(contents(ns, 9), b"Linux\n\0\0\0");
        }
    });
}

#[test]
fn only_the_pages_that_are_written_to_are_allocated() {
    in_namespace(|ns| {
        ns.file("six", "sixsix");
        ns.file("page", "x".repeat(4096));
        ns.open_to_all();
        segment(ns, "64M");
        for (line, pages) in [
            ("$0 write 5 --offset 5000 sixsix", 1),
            ("$0 write 5 --file six", 1),
            ("cat six | $0 write 5 --offset 1M", 1),
            ("$0 write 5 --file page --offset 1K", 2),
            ("cat page | $0 write 5 --nul", 2),
            ("$0 write 5 --fill 1 --no-nul --offset $(((64 << 20) - 4096)) ''", 1),
        ] {
            for mut sh in both(ns, "sh") {
                write(ns, "5 --zero").ok();
                assert_eq!(column(ns, |row| row.rss), "0");
                quiet(sh.args(["-ec", line, shmadm_path()]), line);
                assert_eq!(column(ns, |row| row.rss), (pages * 4096).to_string(), "{line}");
            }
        }
    });
}

#[test]
fn a_large_input_needs_little_memory() {
    in_namespace(|ns| {
        let measure = ns.compile("measure");
        File::create(ns.path("input")).and_then(|file| file.set_len(64 << 20)).expect("a sparse file");
        ns.open_to_all();
        segment(ns, "64M");
        for line in [
            "$0 $1 write 5 --file input",
            "cat input | $0 $1 write 5",
            "$0 $1 write 5 --fill 7 --no-nul ''",
            "$0 $1 create private -q --from input > id",
        ] {
            for mut sh in both(ns, "sh") {
                let written = ended(sh.arg("-ec").arg(format!("rm -f id; {line}")).arg(&measure).arg(shmadm_path()));
                assert!(peak_kib(&written) < LITTLE_KIB, "{line}: {written:?}");
            }
        }
        assert!(ns.table().iter().all(|row| row.rss == "67108864"), "{:?}", ns.table());
    });
}

#[test]
fn an_error_names_the_side_that_failed() {
    in_namespace(|ns| {
        ns.open_to_all();
        segment(ns, "8K");
        for mut sh in both(ns, "sh") {
            // Opened for writing only.
            let error = ended(sh.args(["-c", "rm -f out; exec $0 write 5 0> out", shmadm_path()])).fails(1);
            assert!(error.starts_with("shmadm: cannot read standard input: Bad file"), "{error}");
            assert!(error.ends_with("; 0 bytes were written before\n"), "{error}");
        }
    });
}

#[test]
fn a_missing_huge_page_is_an_error_and_no_signal() {
    in_namespace_as_root(|ns| {
        if let Err(reason) = huge_segment(ns, 5) {
            skip(reason);
        }
        ns.file("input", "x".repeat(10_000));
        ns.open_to_all();
        // There is nothing to clear, and no page is allocated.
        for mut sh in both(ns, "sh") {
            quiet(sh.args(["-c", "exec $0 write 5 --zero --no-nul ''", shmadm_path()]), "--zero");
        }
        for line in [
            "exec $0 write 5 hello",
            "exec $0 write 5 --zero hello",
            "exec $0 write 5 --file input",
            "cat input | $0 write 5",
            "exec $0 write 5 --fill 1 --no-nul ''",
            "exec $0 write 5 --offset 1M --fill 1 --no-nul ''",
        ] {
            for (mut sh, mut zero) in both(ns, "sh").into_iter().zip(both(ns, "sh")) {
                let written = ended(sh.args(["-c", line, shmadm_path()]));
                if has_written(&written) {
                    assert!(contents(ns, 2 << 20) != vec![0; 2 << 20], "{line}: nothing was written");
                }
                quiet(zero.args(["-c", "exec $0 write 5 --zero --no-nul ''", shmadm_path()]), "--zero");
                if written.code == Some(0) {
                    assert!(contents(ns, 2 << 20) == vec![0; 2 << 20], "{line}: it is not cleared");
                }
            }
        }
        // As root: without privilege only the group in vm.hugetlb_shm_group can create such segments.
        for more in ["", "--size 2M", "--size 4M --lock", "-f json"] {
            let line = format!("create 6 --huge=2M --no-reserve --from input {more}");
            let created = ns.shmadm(line.split_whitespace());
            if has_written(&created) {
                ns.shmadm(["remove", "6"]).ok();
            } else {
                assert!(created.err.ends_with("; the new segment was removed again\n"), "{line}: {created:?}");
            }
            // Only the other segment is left.
            assert_eq!(ns.table().iter().map(|row| row.key.clone()).collect::<Vec<_>>(), ["5"], "{line}");
        }
    });
}

/// Returns whether a write succeeded. Without huge pages it must have failed for that reason.
#[track_caller]
fn has_written(written: &Ended) -> bool {
    let there = huge_pages();
    if written.code == Some(0) {
        assert_ne!(there, Some(false), "there is no page that could be written to: {written:?}");
        return true;
    }
    assert_ne!(there, Some(true), "{written:?}");
    assert!(written.code == Some(1) && written.err.lines().count() == 1, "{written:?}");
    assert!(written.err.starts_with("shmadm: cannot write to ") && written.err.contains("huge pages"), "{written:?}");
    false
}
