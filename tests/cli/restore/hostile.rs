//! Malicious archives with correct checksums.

use serde_json::json;
use sha2::{Digest, Sha256};

use super::*;
use crate::support::peak_kib;

/// Returns an archive of members with these names and bytes, and of a manifest with its checksum.
fn forged(members: &[(String, Vec<u8>)], manifest: &Value) -> Vec<u8> {
    let text = serde_json::to_vec(manifest).expect("JSON");
    let sum = format!("{}  manifest.json\n", hex(&Sha256::digest(&text)));
    let mut archive = Vec::new();
    let own = [("shmadm/manifest.json".to_owned(), text), ("shmadm/manifest.json.sha256".to_owned(), sum.into_bytes())];
    for (name, bytes) in members.iter().chain(&own) {
        archive.extend(header(name, bytes.len() as u64));
        archive.extend(bytes);
        archive.resize(archive.len().next_multiple_of(512), 0);
    }
    archive.resize(archive.len() + 1024, 0);
    archive
}

fn header(name: &str, size: u64) -> [u8; 512] {
    let mut header = tar::Header::new_ustar();
    header.as_ustar_mut().expect("one of POSIX").name[..name.len()].copy_from_slice(name.as_bytes());
    header.set_entry_type(tar::EntryType::Regular);
    header.set_mode(0o600);
    header.set_uid(0);
    header.set_gid(0);
    header.set_size(size);
    header.set_mtime(0);
    header.set_cksum();
    *header.as_bytes()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Returns a segment with this data as an entry of a manifest.
fn segment(id: i64, size: u64, extents: &[(u64, &[u8])]) -> Value {
    let mut digest = Sha256::new();
    for (offset, bytes) in extents {
        digest.update(offset.to_le_bytes());
        digest.update((bytes.len() as u64).to_le_bytes());
        digest.update(bytes);
    }
    let bytes: usize = extents.iter().map(|(_, bytes)| bytes.len()).sum();
    json!({
        "key": "0x0000002a", "id": id, "size": size, "mode": "0600", "uid": 0, "user": "root", "gid": 0, "group": "root",
        "cuid": 0, "cuser": null, "cgid": 0, "cgroup": null, "cpid": 1, "lpid": 0, "atime": null, "dtime": null, "ctime": null,
        "locked": false, "marked": false, "bytes": bytes, "sha256": hex(&digest.finalize()),
    })
}

fn manifest(segments: Vec<Value>) -> Value {
    json!({"format": "shmadm", "version": 1, "created": "1970-01-01T00:00:00Z", "segments": segments})
}

fn member(name: &str, bytes: &[u8]) -> (String, Vec<u8>) {
    (format!("shmadm/{name}"), bytes.to_vec())
}

#[test]
fn impossible_archives_are_refused_in_bounded_memory() {
    in_namespace(|ns| {
        let with = |field: &str, value: Value| {
            let mut one = segment(0, 100, &[]);
            one[field] = value;
            forged(&[], &manifest(vec![one]))
        };
        let data: &[(u64, &[u8])] = &[(0, b"data")];
        let max = u64::MAX;
        let mut newer = manifest(vec![]);
        newer["version"] = json!(2);
        let cases: Vec<(&str, Vec<u8>)> = vec![
            ("path upwards", forged(&[member("../../etc/passwd", b"x")], &manifest(vec![]))),
            ("absolute path", forged(&[("/etc/passwd".into(), b"x".to_vec())], &manifest(vec![]))),
            ("negative id", forged(&[member("id--1/0", b"data")], &manifest(vec![segment(-1, 9, data)]))),
            ("offset as text", forged(&[member("id-0/0x0", b"data")], &manifest(vec![segment(0, 9, data)]))),
            ("offset beyond 64 bits", forged(&[member("id-0/18446744073709551616", b"data")], &manifest(vec![]))),
            (
                "end beyond 64 bits",
                forged(&[member(&format!("id-0/{max}"), b"data")], &manifest(vec![segment(0, max, &[(max, b"data")])])),
            ),
            ("data beyond the size", forged(&[member("id-0/0", b"data")], &manifest(vec![segment(0, 3, data)]))),
            (
                "offset beyond the size",
                forged(&[member("id-0/99", b"data")], &manifest(vec![segment(0, 9, &[(99, b"data")])])),
            ),
            (
                "the same member twice",
                forged(
                    &[member("id-0/0", b"data"), member("id-0/0", b"data")],
                    &manifest(vec![segment(0, 9, &[data[0], data[0]])]),
                ),
            ),
            (
                "overlapping members",
                forged(
                    &[member("id-0/0", b"data"), member("id-0/3", b"data")],
                    &manifest(vec![segment(0, 9, &[data[0], (3, b"data")])]),
                ),
            ),
            ("an empty member", forged(&[member("id-0/0", b"")], &manifest(vec![segment(0, 9, &[(0, b"")])]))),
            (
                "a segment twice",
                forged(&[member("id-0/0", b"data")], &manifest(vec![segment(0, 9, data), segment(0, 9, &[])])),
            ),
            (
                "a segment in two places",
                forged(
                    &[member("id-0/0", b"data"), member("id-1/0", b"data"), member("id-0/4", b"data")],
                    &manifest(vec![segment(0, 9, data), segment(1, 9, data)]),
                ),
            ),
            ("data that no segment has", forged(&[member("id-0/0", b"data")], &manifest(vec![]))),
            ("a segment without its data", forged(&[], &manifest(vec![segment(0, 9, data)]))),
            ("data of another segment", forged(&[member("id-1/0", b"data")], &manifest(vec![segment(0, 9, data)]))),
            ("other data", forged(&[member("id-0/0", b"date")], &manifest(vec![segment(0, 9, data)]))),
            ("size 0", with("size", json!(0))),
            ("a negative size", with("size", json!(-1))),
            ("a size beyond 64 bits", with("size", json!(1e30))),
            ("a mode with flags", with("mode", json!("7777"))),
            ("a key that is none", with("key", json!("0x1"))),
            ("a key with a sign", with("key", json!("0x+000002a"))),
            ("more data than bytes", with("bytes", json!(max))),
            ("a user beyond 32 bits", with("uid", json!(1_i64 << 32))),
            ("a later version", forged(&[], &newer)),
            ("no manifest", [&header("shmadm/id-0/0", 0)[..], &[0; 1024]].concat()),
            ("a manifest that is no JSON", forged(&[], &json!([[[[]]]]))),
            ("a manifest without end", header("shmadm/manifest.json", max).to_vec()),
            ("a manifest of a terabyte", header("shmadm/manifest.json", 1 << 40).to_vec()),
            ("a member of a terabyte", header("shmadm/id-0/0", 1 << 40).to_vec()),
        ];
        let measure = ns.compile("measure");
        for (what, bytes) in cases {
            ns.file("bad", &bytes);
            let restored = ns.shmadm(["restore", "bad"]);
            assert!(restored.err.contains("the archive is damaged: "), "{what}: {restored:?}");
            restored.fails(1);
            assert!(ns.table().is_empty(), "{what}");
            let mut run = ns.program(&measure);
            let restored = ended(run.args(["/bin/sh", "-c", "$0 restore bad 2>/dev/null; true", shmadm_path()]));
            assert!(peak_kib(&restored) < 24 << 10, "{what}: {restored:?}");
        }
        let good = forged(&[member("id-0/0", b"data")], &manifest(vec![segment(0, 9, data)]));
        ns.file("good", good);
        assert_eq!(
            ns.shmadm(["restore", "good", "-n"]).ok(),
            "would restore segment 0x0000002a: 9 bytes, mode 0600, was id 0\n"
        );
    });
}

#[test]
fn a_segment_too_large_for_the_kernel_is_an_error_for_that_segment() {
    in_namespace(|ns| {
        let huge = segment(0, u64::MAX - 4096, &[]);
        let mut small = segment(1, 10, &[]);
        small["key"] = json!("0x0000002b");
        ns.file("archive", forged(&[], &manifest(vec![huge, small])));
        let restored = ns.shmadm(["restore", "archive", "-q"]);
        assert!(restored.fails(1).contains("cannot create segment 0x0000002a of "));
        assert_eq!(ns.table().len(), 1);
    });
}

#[test]
fn many_segments_take_little_memory() {
    in_namespace(|ns| {
        let measure = ns.compile("measure");
        // 60,000 segments of one byte each, none of them in the manifest.
        let members: Vec<_> = (0..60_000).map(|id| member(&format!("id-{id}/0"), b"x")).collect();
        ns.file("bad", forged(&members, &manifest(vec![])));
        let mut run = ns.program(measure);
        let restored = ended(run.args(["/bin/sh", "-c", "$0 restore bad 2>error; true", shmadm_path()]));
        assert!(ns.run("cat", ["error"]).contains("which its manifest lacks"), "{restored:?}");
        assert!(peak_kib(&restored) < 32 << 10, "{restored:?}");
    });
}
