//! `remove --save` followed by `restore` is an undo.

use std::io::Read;

use super::*;
use crate::save::kept;
use crate::support::skip;

#[test]
fn removed_segments_are_restored() {
    in_namespace(|ns| {
        for key in ["1", "2", "3"] {
            ns.shmadm(["write", key, &format!("text {key}"), "--create", "64K", "-m", &format!("60{key}")]).ok();
        }
        ns.shmadm(["create", "4", "--size", "1", "-q"]).ok();
        let holder = ns.hold(["read", "4", "--hold"]);
        let before = ns.table();
        for filters in ["--unattached", "--orphaned", "--key 1-3 --idle 0s", "--mine --max-size 64K"] {
            let removed = ns.shmadm(["remove", "-y", "--save", "undo"].into_iter().chain(filters.split(' ')));
            assert_eq!(removed.ok().matches("removed segment ").count(), 3, "{filters}");
            assert_eq!(ns.table().len(), 1, "{filters}");
            ns.shmadm(["restore", "undo", "-q"]).ok();
            let sorted = |rows: &[crate::support::Row]| {
                let mut rows: Vec<_> = rows.iter().map(kept).collect();
                rows.sort();
                rows
            };
            assert_eq!(sorted(&ns.table()), sorted(&before), "{filters}");
            for key in ["1", "2", "3"] {
                assert_eq!(ns.shmadm(["read", key, "-f", "string"]).ok(), format!("text {key}\n"));
            }
        }
        // Segments named on the command line, one of them attached.
        ns.shmadm(["remove", "1", "4", "--save", "undo", "-q"]).ok();
        drop(holder);
        ns.shmadm(["restore", "undo", "-q"]).ok();
        assert_eq!(ns.table().len(), 4);
        // A dry run saves nothing.
        ns.shmadm(["remove", "1", "-n", "--save", "none"]).ok();
        assert!(!ns.path("none").exists());
    });
}

#[test]
fn a_segment_that_cannot_be_saved_is_not_removed() {
    in_namespace_as_root(|ns| {
        ns.open_to_all();
        for (key, mode) in [("1", "600"), ("2", "000")] {
            ns.shmadm_unprivileged(["create", key, "--size", "4K", "-m", mode, "-q"]).ok();
        }
        // A full disk, and a missing directory.
        ns.run(
            "sh",
            ["-c", "mkdir full && mount -t tmpfs -o size=4k none full && head -c 4096 /dev/zero >full/file; true"],
        );
        for file in ["full/undo", "missing/undo"] {
            let error = ns.shmadm(["remove", "1", "--save", file]).fails(1);
            assert!(error.ends_with("; nothing was removed\n"), "{error}");
        }
        ns.run("umount", ["full"]);
        assert_eq!(ns.table().len(), 2);
        // The owner may remove a segment with mode 0, but not read it.
        let removed = ns.shmadm_unprivileged(["remove", "--mine", "-y", "--save", "undo"]);
        assert_eq!((removed.code, removed.out.lines().count()), (Some(1), 1), "{removed:?}");
        assert!(removed.err.contains("cannot save segment 0x00000002 (id 1): permission denied"), "{removed:?}");
        assert!(removed.err.contains("; it was not removed\n"), "{removed:?}");
        assert_eq!(ns.table().len(), 1);
        let named = ns.shmadm_unprivileged(["remove", "2", "--save", "undo", "-f", "json"]);
        assert_eq!(serde_json::from_str::<Value>(&named.out).expect("JSON")["removed"][0]["outcome"], "failed");
        assert_eq!((named.code, ns.table().len()), (Some(1), 1));
    });
}

#[test]
fn a_segment_without_reserved_memory_is_restored() {
    in_namespace_as_root(|ns| {
        // More than any machine has.
        let huge = ["--size", "64T", "-q"];
        if ns.shmadm(["create", "1"].into_iter().chain(huge)).code == Some(0) {
            skip("needs a kernel that refuses to reserve 64 TiB (vm.overcommit_memory)");
        }
        let created = ns.shmadm(["create", "1", "--no-reserve"].into_iter().chain(huge));
        if created.code != Some(0) {
            skip("needs a kernel that creates 64 TiB without reserving them (vm.overcommit_memory)");
        }
        ns.shmadm(["write", "1", "end", "--offset", "63T"]).ok();
        ns.shmadm(["remove", "1", "--save", "undo", "-q"]).ok();
        let restored = ns.shmadm(["restore", "undo", "-q"]);
        assert_eq!(restored.code, Some(0), "{restored:?}");
        assert!(
            restored.err.contains("there is not enough memory to reserve all of it (SHM_NORESERVE)"),
            "{restored:?}"
        );
        assert_eq!(ns.shmadm(["read", "1", "--offset", "63T", "-f", "string"]).ok(), "end\n");
        // The advice to reserve nothing is only given where it can be followed.
        let refused = ns.shmadm(["create", "2", "--size", "7E", "--no-reserve"]);
        assert!(!refused.err.contains("--no-reserve"), "{refused:?}");
    });
}

#[test]
fn nothing_is_removed_if_the_archive_is_lost() {
    in_namespace(|ns| {
        ns.shmadm(["create", "1", "--size", "4K", "-q"]).ok();
        // A standard output that is closed is replaced by /dev/null.
        for line in ["--save /dev/null", "--save - >&-", "--save /dev/stdout >&-", "--save - >/dev/null"] {
            let script = format!("exec \"$0\" remove 1 {line}");
            let removed = ended(ns.program("sh").args(["-c", &script, shmadm_path()]));
            assert!(removed.fails(1).contains("the null device keeps nothing; nothing was removed"), "{line}");
        }
        assert_eq!(ns.table().len(), 1);
    });
}

#[test]
fn a_copy_that_cannot_be_made_is_not_blamed_on_the_input() {
    in_namespace(|ns| {
        let bytes = archive(ns);
        let limit = "ulimit -f 1; trap '' XFSZ; exec \"$0\" restore - <archive";
        let missing = "TMPDIR=/nonexistent exec \"$0\" restore - <archive";
        assert!(bytes.len() > 1024);
        for (script, cause) in [(limit, "File too large"), (missing, "No such file or directory")] {
            let error = ended(ns.program("sh").args(["-c", script, shmadm_path()])).fails(1);
            assert!(error.starts_with("shmadm: cannot copy standard input to a file in /"), "{error}");
            assert!(error.ends_with(&format!("{cause}; TMPDIR names another directory\n")), "{error}");
        }
        assert_eq!(ns.table().len(), 0);
    });
}

#[test]
fn a_segment_that_is_used_or_changed_while_it_is_saved_is_not_removed() {
    in_namespace(|ns| {
        for (act, left_alone) in [
            (&["stat", "1"][..], None),
            (&["write", "1", "new"], Some("it was used")),
            (&["read", "1", "-o", "copy"], Some("it was used")),
            (&["set", "1", "-m", "640"], Some("it changed")),
        ] {
            for line in [&["remove", "--mine", "-y"][..], &["remove", "1"]] {
                ns.shmadm(["write", "1", "--create", "4M", "--fill", "7"]).ok();
                // A pipe holds less than the segment, so shmadm waits until the pipe is read.
                let mut saving = ns.command(line.iter().chain(&["--save", "-"]));
                saving.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
                let mut saving = Running(saving.spawn().expect("shmadm"));
                saving.0.stdout.as_mut().expect("a pipe").read_exact(&mut [0; 4096]).expect("its beginning");
                ns.shmadm(act).ok();
                let saved = saving.ended();
                assert_eq!(ns.table().len(), usize::from(left_alone.is_some()), "{act:?}: {:?}", saved.err);
                if let Some(how) = left_alone {
                    let cause = format!("(id {}) alone: {how} since it was chosen", ns.table()[0].id);
                    assert!(saved.err.contains(&cause), "{act:?}: {:?}", saved.err);
                    ns.shmadm(["remove", "1", "-q"]).ok();
                }
            }
        }
    });
}
