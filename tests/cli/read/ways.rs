//! Reading with privilege and without it takes two different ways: both give the same bytes and fail in the same cases.

use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;

use nix::sys::signal::kill;
use rustix::pipe::fcntl_getpipe_size;

use super::*;
use crate::support::{LITTLE_KIB, Need, huge_pages, huge_segment, needs, peak_kib, shmadm_path, skip};

/// Returns a program as a user with privilege, if this test has it, and as a user without.
fn both(ns: &Namespace, program: &str) -> [Command; 2] {
    [ns.program(program), ns.unprivileged(program)]
}

#[test]
fn reading_a_sparse_gibibyte_allocates_nothing() {
    const GIB: usize = 1 << 30;
    in_namespace(|ns| {
        needs(Need::Program("hexdump"));
        sparse_segment(ns, 1, GIB, &[0]);
        ns.open_to_all();
        // The output that hexdump would print. hexdump itself is slow for a gibibyte.
        let dump = "hexdump -C -n 4096 copy1 | head -n -1 > dump
             echo '00001000  00 00 00 00 00 00 00 00  00 00 00 00 00 00 00 00  |................|' >> dump
             echo '*' >> dump; echo 40000000 >> dump";
        printed(ns.program("sh").args(["-ec", dump]));
        for line in [
            "$0 read 1 | cmp - copy1",
            "$0 read 1 > out; cmp out copy1; rm out",
            "$0 read 1 -o out; cmp out copy1; test $(stat -c %b out) -le 16; rm out",
            "$0 read 1 -f hex | cmp - dump",
        ] {
            for mut sh in both(ns, "sh") {
                assert_eq!(printed(sh.args(["-ec", line, shmadm_path()])), b"", "{line}");
                assert_eq!(ns.row(0).expect("the segment").rss, PAGE.to_string(), "{sh:?}");
            }
        }
    });
}

#[test]
fn every_kind_of_output_gets_the_same_bytes() {
    in_namespace(|ns| {
        // Holes and data, no whole number of pages at the ends, and more bytes than shmadm moves at once.
        sparse_segment(ns, 1, 5 * MIB - 100, &[PAGE, 2 * MIB, 2 * MIB + PAGE, 5 * MIB - PAGE]);
        segment(ns, 2, &random(3 * MIB + 5));
        ns.open_to_all();
        for key in ["1", "2"] {
            for (offset, length) in [(0, MIB), (1, 2 * MIB + 7), (PAGE, 1), (PAGE - 1, MIB), (2 * MIB - 3, MIB + 8)] {
                let part = format!("--offset {offset} --length {length}");
                for line in [
                    &format!("$0 read $1 {part} | cmp - part"),
                    &format!("$0 read $1 {part} > out; cmp out part; rm out"),
                    // sendfile(2) refuses a file that is opened for appending.
                    &format!("printf x > out; $0 read $1 {part} >> out; tail -c +2 out | cmp - part; rm out"),
                    &format!("$0 read $1 {part} -o out; cmp out part; rm out"),
                    &format!("mkfifo out; cat out > got & $0 read $1 {part} -o out; wait; cmp got part; rm out got"),
                ] {
                    for mut sh in both(ns, "sh") {
                        let part =
                            format!("tail -c +$(({offset} + 1)) copy$1 | head -c {length} > part\n{line}\nrm part");
                        assert_eq!(printed(sh.args(["-ec", &part, shmadm_path(), key])), b"", "{key} {line}");
                    }
                }
            }
        }
    });
}

#[test]
fn a_socket_gets_the_same_bytes() {
    in_namespace(|ns| {
        let bytes = random(3 * MIB + 5);
        segment(ns, 1, &bytes);
        ns.open_to_all();
        for mut command in both(ns, shmadm_path()) {
            let (mut ours, theirs) = UnixStream::pair().expect("sockets");
            let mut child = command.args(["read", "1"]).stdout(OwnedFd::from(theirs)).spawn().expect("shmadm");
            drop(command);
            let mut read = Vec::new();
            ours.read_to_end(&mut read).expect("its output");
            assert!(child.wait().expect("its exit status").success() && read == bytes);
        }
    });
}

#[test]
fn a_pipe_is_enlarged_where_that_is_allowed() {
    in_namespace(|ns| {
        let bytes = random(200_000);
        segment(ns, 1, &bytes);
        segment(ns, 2, b"few");
        ns.open_to_all();
        let size = |pipe: &dyn AsFd| fcntl_getpipe_size(pipe).expect("a pipe");
        for mut command in both(ns, shmadm_path()) {
            let child = command.args(["read", "1"]).stdout(Stdio::piped()).spawn().expect("shmadm");
            let mut child = Running(child);
            let mut pipe = child.0.stdout.take().expect("a pipe");
            // All bytes fit into the pipe, so the command ends without a reader.
            wait_until("it ends", || child.0.try_wait().expect("its state").is_some());
            assert_eq!(size(&pipe), 1 << 20);
            let mut read = Vec::new();
            pipe.read_to_end(&mut read).expect("its output");
            assert!(read == bytes);
        }
        // The pipe is not enlarged if the bytes fit.
        let mut child = ns.command(["read", "2"]).stdout(Stdio::piped()).spawn().expect("shmadm");
        assert!(child.wait().expect("its exit status").success());
        assert_eq!(size(&child.stdout.expect("a pipe")), 64 << 10);
    });
}

#[test]
fn pipes_that_may_not_grow_are_used_unchanged() {
    // A user of no other test: the pages in all pipes of a user are counted together (pipe(7), pipe-user-pages-soft).
    const PERL: &str = r#"my @pipes;
        for (1 .. 400) {
            pipe my $read, my $write or last;
            push @pipes, $read, $write;
            fcntl $write, 1031, 1 << 20 or last; # F_SETPIPE_SZ
        }
        pipe my $read, my $write or die "pipe: $!";
        die "it was enlarged" if fcntl $write, 1031, 1 << 20;
        exit(system(@ARGV) >> 8);"#;
    in_namespace_as_root(|ns| {
        segment(ns, 1, &random(3 * MIB + 5));
        ns.open_to_all();
        let line = "$0 read 1 | cmp - copy1 && $0 write 1 < copy1 && cat copy1 | $0 write 1";
        let mut perl = ns.program("setpriv");
        perl.args(["--reuid", "54321", "--regid", "54321", "--clear-groups", "perl", "-e", PERL]);
        ns.shmadm(["set", "1", "--mode", "666"]).ok();
        assert_eq!(printed(perl.args(["sh", "-ec", line, shmadm_path()])), b"");
    });
}

#[test]
fn a_stopped_reader_is_waited_for_and_a_closed_pipe_ends_it() {
    in_namespace(|ns| {
        segment(ns, 1, &random(3 * MIB + 5));
        ns.open_to_all();
        for mut command in both(ns, shmadm_path()) {
            let mut reader = Running(command.args(["read", "1"]).stdout(Stdio::piped()).spawn().expect("shmadm"));
            let state = || fs::read_to_string(format!("/proc/{}/stat", reader.pid())).expect("its state");
            let is = |state: String, letter: &str| state.rsplit(") ").next().expect("a state").starts_with(letter);
            // The command is blocked within a call, and then stopped and continued there.
            for (signal, then) in [(None, "S"), (Some(Signal::SIGSTOP), "T"), (Some(Signal::SIGCONT), "S")] {
                signal.into_iter().for_each(|signal| kill(reader.pid(), signal).expect("the process"));
                wait_until("it waits for its reader", || is(state(), then));
            }
            let mut read = Vec::new();
            reader.0.stdout.take().expect("a pipe").read_to_end(&mut read).expect("its output");
            assert!(reader.0.wait().expect("its exit status").success() && read == contents(ns, "copy1"));
        }
        for format in ["raw", "hex"] {
            for mut sh in both(ns, "sh") {
                let line = "($0 read 1 -f $1; echo $? >&2) | head -c 1 >/dev/null";
                let ended = ended(sh.args(["-c", line, shmadm_path(), format]));
                assert_eq!((ended.code, ended.err.as_str()), (Some(0), "141\n"), "{format}");
            }
        }
    });
}

#[test]
fn a_full_disk_is_an_error_on_both_ways() {
    in_namespace(|ns| {
        segment(ns, 1, &random(3 * MIB + 5));
        sparse_segment(ns, 2, 3 * MIB, &[]);
        ns.open_to_all();
        for (key, format) in [("1", "raw"), ("1", "hex"), ("2", "raw"), ("2", "hex")] {
            for mut sh in both(ns, "sh") {
                let full = ended(sh.args(["-c", "exec $0 read $1 -f $2 > /dev/full", shmadm_path(), key, format]));
                assert_eq!(full.fails(1), "shmadm: cannot write standard output: No space left on device\n");
            }
        }
        let full = "mkdir full; mount -t tmpfs -o size=1M,mode=777 none full
             for way in '' \"$1\"; do
                 $way $0 read 1 > full/out 2> err || echo $? $(cat err); rm full/out
                 $way $0 read 1 -o full/out 2> err || echo $? $(cat err); ls -A full
             done";
        let way = if ns.is_root {
            "setpriv --reuid 1234 --regid 1234 --clear-groups --"
        } else {
            "setpriv --bounding-set -all --inh-caps -all --no-new-privs --"
        };
        let seen = printed(ns.program("unshare").args(["--mount", "sh", "-ec", full, shmadm_path(), way]));
        let lines = "1 shmadm: cannot write standard output: No space left on device\n\
                     1 shmadm: cannot write full/out: No space left on device\n";
        assert_eq!(String::from_utf8_lossy(&seen), lines.repeat(2));
    });
}

#[test]
fn a_large_segment_needs_little_memory() {
    in_namespace(|ns| {
        // Written zeros are data, not holes.
        File::create(ns.path("copy1")).and_then(|file| file.set_len(64 << 20)).expect("a sparse file");
        create(ns, 1, &(0..64).map(|n| (n * MIB, MIB)).collect::<Vec<_>>());
        assert_eq!(ns.row(0).expect("the segment").rss, (64 * MIB).to_string());
        let measure = ns.compile("measure");
        ns.open_to_all();
        for line in [
            "$0 $1 read 1 | cat > /dev/null",
            "$0 $1 read 1 > out; rm out",
            "$0 $1 read 1 >> out; rm out",
            "$0 $1 read 1 -o out; rm out",
            "$0 $1 read 1 -f hex > /dev/null",
        ] {
            for mut sh in both(ns, "sh") {
                let read = ended(sh.arg("-ec").arg(line).arg(&measure).arg(shmadm_path()));
                assert!(peak_kib(&read) < LITTLE_KIB, "{line}: {read:?}");
            }
        }
    });
}

#[test]
fn a_missing_huge_page_is_an_error_and_no_signal() {
    in_namespace_as_root(|ns| {
        if let Err(reason) = huge_segment(ns, 1) {
            skip(reason);
        }
        // With privilege shmadm reads through the file of the segment, which allocates no page.
        let check = |read: Ended, zeros: &[u8], privileged: bool| match (read.code, huge_pages()) {
            (Some(0), there) => {
                assert!(privileged || there != Some(false), "there is no page that could be read");
                assert!(read.bytes == zeros, "{read:.300?}");
            }
            (_, there) => {
                assert!(!privileged && there != Some(true), "{read:.300?}");
                assert!(read.bytes.is_empty(), "{read:.300?}");
                assert!(read.fails(1).contains("huge pages"));
            }
        };
        let dump = b"00000000  00 00 00 00 00 00 00 00  00 00 00 00 00 00 00 00  |................|\n*\n00200000\n";
        // A page stays allocated after the first read, so the case without one comes first.
        ns.open_to_all();
        for (mut sh, privileged) in both(ns, "sh").into_iter().zip([true, false]) {
            let line = "rm -f out; $0 read 1 -o out || { status=$?; ls -A; exit $status; }; cat out; rm out";
            check(ended(sh.args(["-c", line, shmadm_path()])), &[0; 2 * MIB], privileged);
        }
        for (mut sh, privileged) in both(ns, "sh").into_iter().zip([true, false]) {
            let line = "rm -f out; $0 read 1 > out && cat out";
            check(ended(sh.args(["-c", line, shmadm_path()])), &[0; 2 * MIB], privileged);
        }
        for (run, privileged) in [
            (Namespace::shmadm as fn(&Namespace, Vec<&'static str>) -> Ended, true),
            (Namespace::shmadm_unprivileged, false),
        ] {
            check(run(ns, vec!["read", "1"]), &[0; 2 * MIB], privileged);
            check(run(ns, vec!["read", "1", "--format", "hex"]), dump, privileged);
            check(run(ns, vec!["read", "1", "--format", "string"]), b"", privileged);
        }
    });
}
