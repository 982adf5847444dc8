//! `create`: the segment as the kernel shows it, and that a failure leaves nothing behind.

mod fleeting;
mod hidden;
mod shrinks;

use std::process::Stdio;

use serde_json::Value;

use crate::support::{Ended, Namespace, Row, Running, ended, in_namespace, in_namespace_as_root, line_of, shmadm_path};

/// Returns the kernel's row of a segment that must exist.
#[track_caller]
fn row(ns: &Namespace, id: i32) -> Row {
    ns.row(id).unwrap_or_else(|| panic!("no segment {id}"))
}

/// Returns a segment's key in the kernel's table, bit for bit.
#[track_caller]
fn key_of(ns: &Namespace, id: i32) -> u32 {
    row(ns, id).key.parse::<i32>().expect("a signed decimal").cast_unsigned()
}

/// Runs `create` with these words.
#[track_caller]
fn create(ns: &Namespace, words: &str) -> Ended {
    ns.shmadm(["create"].into_iter().chain(words.split(' ')))
}

/// Expects success of `create -q`, and returns the identifier that it printed.
#[track_caller]
fn id_of(quiet: Ended) -> i32 {
    quiet.ok().trim_end().strip_prefix("id:").and_then(|id| id.parse().ok()).expect("id:N alone")
}

/// Returns the contents of a segment, as perl reads them.
#[track_caller]
fn contents(ns: &Namespace, id: i32, length: usize) -> Vec<u8> {
    let read = "shmread($ARGV[0], my $bytes, 0, $ARGV[1]) or die $!; print $bytes";
    let perl = ended(ns.program("perl").args(["-e", read]).args([id.to_string(), length.to_string()]));
    assert_eq!(perl.code, Some(0), "{perl:?}");
    perl.bytes
}

/// Writes a sysctl of the test's own namespace.
fn sysctl(ns: &Namespace, name: &str, value: &str) {
    ns.run("sh", ["-c", &format!("echo {value} > /proc/sys/kernel/{name}")]);
}

#[test]
fn every_notation_is_the_kernels_key_bit_for_bit() {
    in_namespace(|ns| {
        let dead = 0xdead_beef;
        for (word, key) in
            [("052", 42), ("0xdeadbeef", dead), ("-559038737", dead), ("0x80000000", 1 << 31), ("-1", u32::MAX)]
        {
            let id = id_of(create(ns, &format!("{word} --size 1 -q")));
            assert_eq!(key_of(ns, id), key, "{word}");
            assert!(ns.run("ipcs", ["-m"]).contains(&format!("\n{key:#010x} ")), "{word}");
            ns.run("ipcrm", ["-m", &id.to_string()]);
        }
    });
}

#[test]
fn private_segments_have_no_key_and_random_ones_have_one() {
    in_namespace(|ns| {
        let make = |key| id_of(create(ns, &format!("{key} --size 1 -q")));
        let (first, second) = (make("private"), make("private"));
        assert_eq!((key_of(ns, first), key_of(ns, second)), (0, 0));
        assert_ne!(first, second);
        let (first, second) = (make("random"), make("random"));
        assert!(key_of(ns, first) != 0 && key_of(ns, second) != 0);
        assert_ne!(key_of(ns, first), key_of(ns, second));
    });
}

#[test]
fn ftok_gives_the_key_that_libc_gives() {
    in_namespace(|ns| {
        ns.file("file:with:colons", "");
        for path in ["/", "file:with:colons"] {
            for (project, number) in [("A", 65), ("~", 126), ("1", 1), ("49", 49), ("255", 255)] {
                let ftok = "use IPC::SysV 'ftok'; print ftok($ARGV[0], $ARGV[1] + 0) & 0xffffffff";
                let theirs = ns.run("perl", ["-e", ftok, path, &number.to_string()]);
                let id = id_of(create(ns, &format!("ftok:{project}:{path} --size 1 -q")));
                assert_eq!(key_of(ns, id).to_string(), theirs, "{project}:{path}");
                // On ext4 a new file can have the same key as `/`, if the lower 16 bits of its inode are 2.
                ns.run("ipcrm", ["--all=shm"]);
            }
        }
    });
}

#[test]
fn units_and_modes_are_the_kernels() {
    in_namespace(|ns| {
        for (size, bytes) in [("0x1000", 4096), ("1K", 1024), ("1kb", 1000), ("1.5K", 1536), ("1G", 1 << 30)] {
            let id = id_of(create(ns, &format!("private --size {size} -q")));
            assert_eq!((row(ns, id).size.parse(), row(ns, id).mode.as_str()), (Ok(bytes), "600"), "{size}");
        }
        for (mode, shown) in [("0", "0000"), ("7", "0007"), ("640", "0640"), ("777", "0777")] {
            let created = create(ns, &format!("random -s 1 -m {mode} -f json")).json();
            assert_eq!((&created["mode"], ns.table().pop().expect("a row").mode.as_str()), (&shown.into(), mode));
        }
    });
}

#[test]
fn the_new_segment_is_printed_as_text_json_or_identifier() {
    in_namespace(|ns| {
        for (args, printed) in [
            ("42 -s 4K -m 640", "created segment 0x0000002a: id 0, 4096 bytes, mode 0640"),
            ("43 -s 9 -f json", r#"{"key":"0x0000002b","id":1,"size":9,"mode":"0600","created":true}"#),
            ("44 -s 1 -q", "id:2"),
            ("42 --exist-ok", "found segment 0x0000002a: id 0, 4096 bytes, mode 0640"),
            ("43 --exist-ok -f json", r#"{"key":"0x0000002b","id":1,"size":9,"mode":"0600","created":false}"#),
            ("44 --exist-ok -q", "id:2"),
        ] {
            assert_eq!(create(ns, args).ok(), format!("{printed}\n"));
        }
    });
}

#[test]
fn a_key_in_use_fails_names_its_segment_and_changes_nothing() {
    in_namespace(|ns| {
        create(ns, "42 --size 5000 --mode 640").ok();
        let before = ns.table();
        let error = create(ns, "42 --size 4K --mode 777 --lock").fails(1);
        let owner = ns.run("id", ["-un"]);
        let holder = format!("it exists already (id 0, 5000 bytes, owner {}); ", owner.trim_end());
        assert!(error.contains("0x0000002a") && error.contains(&holder) && error.contains("--exist-ok"), "{error}");

        let failed = create(ns, "42 --size 4K -f json");
        let json: Value = serde_json::from_str(&failed.out).expect("JSON");
        let message = format!("cannot create segment 0x0000002a: {}", holder.trim_end_matches("; "));
        let hint = "use --exist-ok to take it as it is";
        assert_eq!(json, serde_json::json!({"error": {"errno": "EEXIST", "message": message, "hint": hint}}));
        assert_eq!(failed.fails(1), line_of(&json["error"]));
        assert_eq!(ns.table(), before);
    });
}

#[test]
fn exist_ok_uses_a_large_enough_segment_and_does_not_change_it() {
    in_namespace(|ns| {
        // A segment of another tool, with a mode that permits nothing.
        assert!(ns.run("ipcmk", ["-M", "8192", "-p", "0"]).contains("id: 0"));
        let before = ns.table();
        let key = format!("{:#x}", key_of(ns, 0));
        for words in ["--size 8K -q", "--size 1 -q", "-q"] {
            let words = format!("create {key} --exist-ok {words}");
            assert_eq!(id_of(ns.shmadm(words.split(' '))), 0);
            assert_eq!(id_of(ns.shmadm_unprivileged(words.split(' '))), 0);
        }
        let kept = create(ns, &format!("{key} --exist-ok -s 1 -m 777 --owner 0 --lock"));
        assert!(kept.err.contains("was not changed"), "{kept:?}");
        assert!(kept.ok().starts_with("found "));
        let error = create(ns, &format!("{key} --exist-ok --size 8193")).fails(1);
        assert!(error.contains("(id 0)") && error.contains("8192 bytes") && error.contains("8193"), "{error}");
        // A missing segment is created, but not without a size.
        create(ns, "42 --exist-ok").fails(3);
        assert_eq!(ns.table(), before);
        assert_eq!(create(ns, "42 --exist-ok --size 4K -f json").json()["created"], true);
        assert_eq!(row(ns, 1).size, "4096");
    });
}

#[test]
fn of_forty_creators_of_one_key_one_succeeds() {
    in_namespace(|ns| {
        let start = |_| {
            let mut command = ns.command(["create", "42", "--size", "4K"]);
            command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("shmadm")
        };
        let creators: Vec<_> = (0..40).map(start).collect();
        let ends =
            creators.into_iter().map(|creator| Ended::from(creator.wait_with_output().expect("its exit status")));
        let (created, failed): (Vec<_>, Vec<_>) = ends.partition(|end| end.code == Some(0));
        assert_eq!((created.len(), failed.len(), ns.table().len()), (1, 39, 1));
        for end in failed {
            assert!(end.fails(1).contains("it exists already (id "));
        }
    });
}

#[test]
fn from_a_file_gives_its_size_and_its_bytes() {
    in_namespace(|ns| {
        let bytes: Vec<u8> = (0..3_000_001_u32).map(|n| (n % 251) as u8).collect();
        ns.file("large", &bytes);
        let id = id_of(create(ns, "1 --from large -q"));
        assert_eq!(row(ns, id).size, bytes.len().to_string());
        assert!(contents(ns, id, bytes.len()) == bytes);

        // An explicit size may be larger than the file; then even an empty file works.
        ns.file("small", "small");
        ns.file("empty", "");
        for (file, held) in [("small", b"small\0\0\0"), ("empty", &[0; 8])] {
            let id = id_of(create(ns, &format!("private --from {file} --size 8 -q")));
            assert_eq!((row(ns, id).size.as_str(), contents(ns, id, 8)), ("8", held.to_vec()), "{file}");
        }
    });
}

#[test]
fn a_mode_without_write_permission_does_not_prevent_filling() {
    in_namespace(|ns| {
        ns.file("file", "bytes");
        ns.open_to_all();
        let id = id_of(ns.shmadm_unprivileged(["create", "1", "--from", "file", "--mode", "0400", "-q"]));
        assert_eq!((row(ns, id).mode.as_str(), contents(ns, id, 5)), ("400", b"bytes".to_vec()));
    });
}

#[test]
fn an_unusable_path_leaves_nothing_behind() {
    in_namespace(|ns| {
        ns.file("five", "12345");
        ns.file("empty", "");
        for (args, cause) in [
            ("ftok:A:missing --size 1", "missing: No such file or directory"),
            ("1 --from missing", "missing: No such file or directory"),
            ("1 --from .", "Is a directory"),
            ("1 --from five --size 4", "has 5"),
            ("1 --from empty", "--size"),
            // A stream has no known size. That it is too long is known only when the segment is full.
            ("1 --from /dev/zero", "--size"),
            ("1 --from /dev/zero --size 4K", "4096 bytes were written"),
        ] {
            let error = create(ns, args).fails(1);
            assert!(error.contains(cause), "{args}: {error}");
            assert!(ns.table().is_empty(), "{args}");
        }
    });
}

#[test]
fn a_fifo_needs_a_size() {
    in_namespace(|ns| {
        ns.run("mkfifo", ["fifo"]);
        let from_fifo = |args| {
            let mut writer = ns.program("sh");
            writer.args(["-c", "printf hello > fifo"]).stdin(Stdio::null()).stderr(Stdio::null());
            let _writer = Running(writer.spawn().expect("sh"));
            create(ns, &format!("1 --from fifo {args}"))
        };
        assert!(from_fifo("-q").fails(1).contains("--size"));
        assert!(from_fifo("--size 4").fails(1).contains("4 bytes were written"));
        assert!(ns.table().is_empty());
        let id = id_of(from_fifo("--size 8 -q"));
        assert_eq!(contents(ns, id, 8), b"hello\0\0\0");
    });
}

#[test]
fn owner_sets_another_owner_by_number_and_by_name() {
    in_namespace_as_root(|ns| {
        let nobody = |flag| ns.run("id", [flag, "nobody"]).trim_end().to_owned();
        let (uid, gid, group) = (nobody("-u"), nobody("-g"), nobody("-gn"));
        for (owner, expected) in [
            ("100000:4294967294", ["100000", "4294967294"]),
            ("nobody", [&uid, "0"]),
            (&format!("nobody:{group}"), [&uid, &gid]),
            (&format!("5:{group}"), ["5", &gid]),
        ] {
            let id = id_of(create(ns, &format!("private -s 1 -m 640 --owner {owner} -q")));
            // Creator and mode stay unchanged.
            let Row { uid, gid, cuid, cgid, .. } = row(ns, id);
            assert_eq!([&*uid, &*gid, &*cuid, &*cgid], [expected[0], expected[1], "0", "0"], "{owner}");
            assert_eq!(row(ns, id).mode, "640", "{owner}");
        }
    });
}

#[test]
fn an_unknown_owner_is_bad_usage() {
    in_namespace(|ns| {
        for owner in ["no-such-user", "0:no-such-group", "", "0:", "-1", "4294967295", "4294967296"] {
            let error = create(ns, &format!("1 --size 1 --owner={owner}")).usage_error();
            assert!(error.contains("there is no user") || error.contains("there is no group"), "{owner}: {error}");
        }
        assert!(ns.table().is_empty());
    });
}

#[test]
fn an_owner_that_cannot_be_set_leaves_nothing_behind() {
    in_namespace(|ns| {
        // This user namespace maps only root, so IPC_SET fails with EINVAL for any other owner.
        let mut command = ns.program("unshare");
        command.args(["--user", "--map-root-user", "--", shmadm_path()]);
        let error = ended(command.args(["create", "1", "--size", "1", "--owner", "5"])).fails(1);
        assert!(error.contains("to 5") && error.contains("removed again"), "{error}");
        assert!(!error.contains("there is no such segment"), "{error}");
        assert!(ns.table().is_empty());
    });
}

#[test]
fn lock_is_the_kernels_flag_and_its_limit_leaves_nothing_behind() {
    in_namespace(|ns| {
        let id = id_of(create(ns, "1 --size 1 --lock -q"));
        assert_eq!(row(ns, id).mode, "2600");
        let before = ns.table();
        for limit in ["4096", "0"] {
            let mut command = ns.unprivileged("prlimit");
            command.args([&format!("--memlock={limit}:{limit}"), "--", shmadm_path()]);
            let error = ended(command.args(["create", "2", "--size", "1M", "--lock"])).fails(1);
            assert!(error.contains("ulimit -l") && error.contains("removed again"), "{limit}: {error}");
            assert_eq!(ns.table(), before);
        }
    });
}

#[test]
fn a_limit_is_named_with_its_value_and_its_sysctl() {
    in_namespace(|ns| {
        create(ns, "1 --size 1").ok();
        let before = ns.table();
        for (name, value, size, errno, failed) in [
            ("shmmax", "2000000", "2000001", "EINVAL", "SHMMAX allows 2000000 bytes"),
            ("shmall", "2", "2000000", "ENOSPC", "SHMALL allows 2 pages"),
            ("shmmni", "1", "1", "ENOSPC", "SHMMNI allows 1 segment and there are 1"),
        ] {
            sysctl(ns, name, value);
            let refused = create(ns, &format!("2 --size {size} -f json"));
            let json: Value = serde_json::from_str(&refused.out).expect("JSON");
            assert_eq!(json["error"]["errno"], errno, "{name}");
            let error = refused.fails(1);
            assert!(error.contains(failed) && error.contains(&format!("`sysctl -w kernel.{name}=")), "{error}");
            assert_eq!(ns.table(), before);
        }
        // This is no limit that root could raise.
        let error = create(ns, "2 --size 0").fails(1);
        assert!(error.contains("at least 1 byte") && !error.contains("SHMMAX"), "{error}");
        assert_eq!(ns.table(), before);
    });
}

#[test]
fn advice_to_remove_is_given_only_with_permission() {
    in_namespace_as_root(|ns| {
        create(ns, "1 --size 1").ok();
        for words in ["create 1 --size 2", "create 1 --size 2 --exist-ok", "write 1 x --create 2"] {
            let error = ns.shmadm_unprivileged(words.split(' ')).fails(1);
            assert!(error.contains("ask root to remove it") && !error.contains("shmadm remove"), "{error}");
            let error = ns.shmadm(words.split(' ')).fails(1);
            assert!(error.contains("`shmadm remove id:0`"), "{error}");
        }
    });
}

#[test]
fn missing_huge_pages_are_explained() {
    in_namespace(|ns| {
        // No machine has an exbibyte of huge pages. In a user namespace we have no permission to use them at all.
        let error = create(ns, "1 --size 1E --huge").fails(1);
        let sysctl = if ns.is_root { "vm.nr_hugepages" } else { "vm.hugetlb_shm_group" };
        assert!(error.contains(sysctl), "{error}");
        let error = ns.shmadm_unprivileged(["create", "1", "--size", "1E", "--huge=2M"]).fails(1);
        assert!(error.contains("you may not use huge pages; ") && error.contains("vm.hugetlb_shm_group"), "{error}");
        assert!(ns.table().is_empty());
    });
}

#[test]
fn no_reserve_lets_a_segment_be_larger_than_the_machine() {
    in_namespace(|ns| {
        let size = i64::MAX.to_string();
        let id = id_of(create(ns, &format!("1 --size {size} --no-reserve -q")));
        assert_eq!(row(ns, id).size, size);
    });
}

#[test]
fn trace_shows_the_call_in_straces_notation() {
    in_namespace(|ns| {
        for (args, line) in [
            ("42", "shmget(0x0000002a, 4096, IPC_CREAT|IPC_EXCL|0600) = 0"),
            ("42", "shmget(0x0000002a, 4096, IPC_CREAT|IPC_EXCL|0600) = -1 EEXIST (File exists)"),
            ("private -m 0", "shmget(IPC_PRIVATE, 4096, IPC_CREAT|IPC_EXCL|000) = 1"),
            ("9 --no-reserve -m 756", "shmget(0x00000009, 4096, IPC_CREAT|IPC_EXCL|SHM_NORESERVE|0756) = 2"),
            ("8 --lock", "shmctl(3, SHM_LOCK, NULL) = 0"),
        ] {
            let traced = create(ns, &format!("--trace --size 4096 {args}"));
            assert!(traced.err.lines().any(|traced| traced == line), "{line}: {traced:?}");
        }
    });
}
