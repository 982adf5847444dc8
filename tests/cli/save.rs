//! `save`: the contents of the archive, which is complete or not written at all.

use std::fs;
use std::process::Stdio;

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::support::{
    Namespace, Need, Row, Running, in_namespace, in_namespace_as_root, needs, shmadm_path, wait_until, writes_new_file,
};

/// Returns the fields of a row that a restored segment must have, too. Its identifier differs.
pub(crate) fn kept(row: &Row) -> [String; 6] {
    [&row.key, &row.mode, &row.size, &row.uid, &row.gid, &row.rss].map(Clone::clone)
}

/// Creates a hundred segments with different owners, modes and contents. Returns the number of bytes of data in them.
fn hundred(ns: &Namespace) -> u64 {
    let mut data = 0;
    for key in 1..=97_usize {
        let bytes: Vec<u8> = std::iter::repeat_with(|| fastrand::u8(..)).take(key * 211).collect();
        ns.file("in", &bytes);
        let (mode, uid, gid) = (key * 5 % 512, key * 1000, key % 7);
        ns.shmadm([
            "create",
            &key.to_string(),
            "--from",
            "in",
            "-m",
            &format!("{mode:o}"),
            "--owner",
            &format!("{uid}:{gid}"),
            "-q",
        ])
        .ok();
        data += bytes.len().next_multiple_of(4096) as u64;
    }
    // One page in the middle of 1 GiB; an untouched, locked segment without a key; a completely filled one.
    ns.shmadm(["create", "0xfffffff0", "--size", "1G", "-q"]).ok();
    ns.shmadm(["write", "0xfffffff0", "in the middle", "--offset", "512M"]).ok();
    ns.shmadm(["create", "private", "--size", "123", "--lock", "-q"]).ok();
    ns.shmadm(["write", "0x7fffffff", "--create", "1M", "-m", "604", "--fill", "7", "text"]).ok();
    data + 4096 + (1 << 20)
}

/// Returns the first 64 KiB of each segment, in the order of the table.
fn contents(ns: &Namespace) -> Vec<Vec<u8>> {
    let read = |row: Row| {
        let length = row.size.parse().map_or(0, |size: u64| size.min(64 << 10)).to_string();
        ns.shmadm(["read", &format!("id:{}", row.id), "--length", &length]).bytes
    };
    ns.table().into_iter().map(read).collect()
}

#[test]
fn a_hundred_segments_come_back_as_they_were() {
    in_namespace_as_root(|ns| {
        let data = hundred(ns);
        let (before, bytes) = (ns.table(), contents(ns));
        assert_eq!(before.len(), 100);
        let saved = ns.shmadm(["save", "archive", "--all", "-f", "json"]).json();
        assert_eq!(saved["saved"].as_array().expect("an array").len(), 100);
        // Saving must not allocate pages.
        assert_eq!(ns.table().iter().map(kept).collect::<Vec<_>>(), before.iter().map(kept).collect::<Vec<_>>());
        let size = fs::metadata(ns.path("archive")).expect("an archive").len();
        assert!(size < data + (1 << 20), "{size} bytes for {data} of data");
        assert_eq!(ns.run("stat", ["-c", "%a", "archive"]), "600\n");

        ns.shmadm(["remove", "--all", "-y", "-q"]).ok();
        assert!(ns.table().is_empty());
        let restored = ns.shmadm(["restore", "archive", "-f", "json"]);
        assert_eq!(restored.err, "");
        let restored = restored.json();
        assert_eq!(ns.table().iter().map(kept).collect::<Vec<_>>(), before.iter().map(kept).collect::<Vec<_>>());
        assert_eq!(contents(ns), bytes);
        for (record, (old, new)) in
            restored["restored"].as_array().expect("it").iter().zip(before.iter().zip(ns.table()))
        {
            assert_eq!(record["outcome"], "restored");
            assert_eq!([&record["saved_id"], &record["id"]].map(Value::to_string), [old.id.clone(), new.id]);
        }
        // Again, with their old identifiers.
        ns.shmadm(["remove", "--all", "-y", "-q"]).ok();
        ns.shmadm(["restore", "archive", "--same-id", "-q"]).ok();
        let ids = |rows: &[Row]| rows.iter().map(|row| row.id.clone()).collect::<Vec<_>>();
        let (mut new, mut old) = (ids(&ns.table()), ids(&before));
        new.sort();
        old.sort();
        assert_eq!(new, old);
    });
}

#[test]
fn an_archive_is_a_tar_file_and_goes_through_a_pipe() {
    in_namespace(|ns| {
        needs(Need::Program("tar"));
        ns.shmadm(["write", "0x2a", "text", "--create", "1M", "--offset", "8K"]).ok();
        let saved = ns.shmadm(["save", "archive", "0x2a"]).ok();
        assert_eq!(saved, "saved segment 0x0000002a (id 0): 1048576 bytes, 4096 bytes of data\n");
        let members = ns.run("tar", ["tf", "archive"]);
        assert_eq!(members, "shmadm/id-0/8192\nshmadm/manifest.json\nshmadm/manifest.json.sha256\n");
        let text =
            ns.run("sh", ["-c", "tar xf archive; cd shmadm; sha256sum -c *.sha256; head -c 5 id-0/8192 | tr '\\0' 0"]);
        assert_eq!(text, "manifest.json: OK\ntext0");
        let piped =
            "$0 save - 0x2a | { cat >copy; $0 remove 0x2a -q; $0 restore - <copy; } && cat copy | $0 restore -n -";
        let sh = crate::support::ended(ns.program("sh").args(["-c", piped, shmadm_path()]).stdin(Stdio::null()));
        assert_eq!(sh.out, "restored segment 0x0000002a (id 1): 1048576 bytes, mode 0600, was id 0\n");
        assert!(sh.code == Some(1) && sh.err.contains("it exists already (id 1, 1048576 bytes, owner "), "{sh:?}");
        assert_eq!(ns.shmadm(["read", "0x2a", "--offset", "8K", "-f", "string"]).ok(), "text\n");
    });
}

#[test]
fn a_segment_that_cannot_be_saved_is_named_and_the_others_are_saved() {
    in_namespace_as_root(|ns| {
        ns.open_to_all();
        for (key, mode) in [("1", "644"), ("2", "600"), ("3", "666")] {
            ns.shmadm(["create", key, "--size", "4K", "-m", mode, "-q"]).ok();
        }
        let saved = ns.shmadm_unprivileged(["save", "archive", "1", "2", "id:9", "3", "1", "-f", "json"]);
        assert_eq!(saved.code, Some(1), "{saved:?}");
        assert!(saved.err.contains("cannot save segment 0x00000002 (id 1): permission denied"), "{saved:?}");
        let json: Value = serde_json::from_str(&saved.out).expect("JSON");
        let outcomes = json["saved"].as_array().expect("an array").iter();
        let outcomes: Vec<_> = outcomes.map(|one| (one["id"].as_i64(), one["outcome"].as_str().unwrap())).collect();
        assert_eq!(outcomes, [(Some(9), "missing"), (Some(0), "saved"), (Some(1), "failed"), (Some(2), "saved")]);
        assert_eq!(ns.shmadm(["restore", "archive", "-n"]).err.lines().count(), 2);
        // If none can be saved, no archive is written, and an old one stays.
        let before = fs::read(ns.path("archive")).expect("an archive");
        ns.shmadm_unprivileged(["save", "archive", "2"]).fails(1);
        ns.shmadm_unprivileged(["save", "none", "2"]).fails(1);
        assert!(fs::read(ns.path("archive")).expect("an archive") == before && !ns.path("none").exists());
        ns.shmadm(["save", "none", "--max-size", "1"]).fails(1);
        ns.shmadm(["save", "none", "id:9"]).fails(3);
        ns.shmadm(["save", "none"]).usage_error();
        ns.shmadm(["save", "-", "1", "-f", "json"]).fails(2);
        assert!(!ns.path("none").exists() && !ns.path("-").exists());
    });
}

#[test]
fn a_killed_save_leaves_no_archive() {
    in_namespace(|ns| {
        needs(Need::Strace);
        ns.shmadm(["write", "1", "text", "--create", "64K", "--fill", "1"]).ok();
        ns.file("archive", "old");
        for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGKILL] {
            if signal == Signal::SIGKILL {
                needs(Need::UnnamedFiles);
            }
            ns.file("log", "");
            let mut strace = ns.program("strace");
            strace.args([
                "-D",
                "-f",
                "-qq",
                "-o",
                "log",
                "-e",
                "trace=fsync",
                "-e",
                "inject=fsync:delay_enter=3000000",
                "--",
            ]);
            strace.args([shmadm_path(), "save", "archive", "1"]).stdout(Stdio::null()).stderr(Stdio::null());
            let running = Running(strace.spawn().expect("strace"));
            wait_until("all is written", || writes_new_file(running.pid(), 64 << 10));
            assert_eq!(running.end(signal), (None, Some(signal as i32)));
            assert_eq!(fs::read(ns.path("archive")).expect("the old file"), b"old", "{signal}");
            assert!(!ns.run("ls", ["-A"]).contains(".shmadm-"), "{signal}");
        }
    });
}
