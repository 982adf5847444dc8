//! Changed and truncated archives.

use super::*;

/// Expects that restore refuses these bytes and creates nothing.
#[track_caller]
fn refused(ns: &Namespace, bytes: &[u8], what: &str) {
    ns.file("bad", bytes);
    let restored = ns.shmadm(["restore", "bad"]);
    assert!(restored.code == Some(1) && restored.out.is_empty(), "{what}: {restored:?}");
    assert!(
        restored.err.starts_with("shmadm: cannot restore from bad: the archive is damaged: "),
        "{what}: {restored:?}"
    );
    assert!(restored.err.lines().count() == 1 && ns.table().is_empty(), "{what}: {restored:?}");
}

#[test]
fn a_changed_byte_anywhere_is_detected() {
    in_namespace(|ns| {
        let good = archive(ns);
        let mut change = |at: usize| {
            let mut bad = good.clone();
            bad[at] ^= 1 << fastrand::u32(0..8);
            refused(ns, &bad, &format!("byte {at} of {}", good.len()));
        };
        // Many bytes of the first header, some around every end of a block, and random ones.
        (0..512).step_by(5).for_each(&mut change);
        (0..good.len()).step_by(512).flat_map(|at| [at, at + 511]).for_each(&mut change);
        (0..200).map(|_| fastrand::usize(..good.len())).for_each(&mut change);
        ns.shmadm(["restore", "archive", "-q"]).ok();
    });
}

#[test]
fn a_truncated_or_extended_archive_is_detected() {
    in_namespace(|ns| {
        let good = archive(ns);
        for at in (0..good.len()).step_by(512).chain([1, 511, 513, good.len() - 1]) {
            refused(ns, &good[..at], &format!("cut at byte {at}"));
        }
        for more in [&b"\0"[..], &[0; 1024], &good] {
            refused(ns, &[&good, more].concat(), "more at its end");
        }
    });
}

#[test]
fn a_file_that_is_not_an_archive_is_refused() {
    in_namespace(|ns| {
        refused(ns, b"", "empty");
        refused(ns, &[0; 4096], "zeros");
        refused(ns, &std::iter::repeat_with(|| fastrand::u8(..)).take(9000).collect::<Vec<_>>(), "noise");
        assert!(ns.shmadm(["restore", "missing"]).fails(1).contains("cannot read missing: No such file"));
        assert!(ns.shmadm(["restore", "."]).fails(1).contains("cannot read .: Is a directory"));
        assert!(ns.shmadm(["restore", "-"]).fails(1).contains("the archive is damaged: it ends too early"));
    });
}
