//! A table that is missing, or masked by another file: shmctl(2) replaces it, and it never counts as "no segments".

use serde_json::Value;

use super::shmadm;
use crate::support::{Namespace, in_namespace};

/// Ways to hide the table: a file system without it, the mask of a hardened unit, an empty file, titles without rows.
const MASKS: [&str; 4] = [
    "mount -t tmpfs none /proc/sysvipc",
    "mount --bind /dev/null /proc/sysvipc/shm",
    "touch empty && mount --bind empty /proc/sysvipc/shm",
    "head -n 1 /proc/sysvipc/shm >titles && mount --bind titles /proc/sysvipc/shm",
];

fn segments(ns: &Namespace, mask: &str) -> Vec<Value> {
    let list: Value = shmadm(ns, mask, "", "list -f json").json();
    list["segments"].as_array().expect("segments").clone()
}

#[test]
fn segments_are_those_of_the_table_without_the_fields_that_only_it_has() {
    in_namespace(|ns| {
        ns.shmadm(["create", "5", "--size", "5000"]).ok();
        ns.shmadm(["create", "6", "--size", "1", "--mode", "0"]).ok();
        ns.shmadm(["write", "5", "hello"]).ok();
        let mut expected = segments(ns, "true");
        for segment in &mut expected {
            segment["rss"] = Value::Null;
            segment["swap"] = Value::Null;
        }
        for mask in MASKS {
            assert_eq!(segments(ns, mask), expected, "{mask}");
            let table = shmadm(ns, mask, "", "list -o ID,RSS --no-headings").ok();
            assert_eq!(table.split_whitespace().collect::<Vec<_>>(), ["0", "1"], "{mask}: {table}");
            let csv = shmadm(ns, mask, "", "list -f csv -o ID,RSS,SWAP").ok();
            assert_eq!(csv, "ID,RSS,SWAP\n0,,\n1,,\n", "{mask}");
        }
    });
}

#[test]
fn earlier_segments_are_not_removed() {
    in_namespace(|ns| {
        ns.shmadm(["create", "5", "--size", "5000"]).ok();
        for mask in MASKS {
            ns.file("before", shmadm(ns, mask, "", "list -f json").ok());
            ns.shmadm(["remove", "--mine", "--not-in", "before", "--yes"]).ok();
            assert_eq!(ns.table().len(), 1, "{mask}");
        }
    });
}

#[test]
fn guard_finds_the_leak() {
    in_namespace(|ns| {
        for mask in MASKS {
            for shared in ["--shared --remove", "--remove"] {
                let line = format!("guard {shared} -- perl -e shmget(7,9,01600)");
                let guarded = shmadm(ns, mask, "", &line);
                assert_eq!(guarded.code, Some(1), "{mask} {shared}: {guarded:?}");
                assert!(guarded.err.contains("left a segment behind"), "{mask} {shared}: {guarded:?}");
            }
        }
        assert!(ns.table().is_empty());
    });
}

#[test]
fn metrics_leave_out_the_memory_that_only_the_table_shows() {
    in_namespace(|ns| {
        ns.shmadm(["create", "5", "--size", "5000"]).ok();
        ns.shmadm(["write", "5", "hello"]).ok();
        let samples = |mask: &str| {
            let text = shmadm(ns, mask, "", "metrics").ok();
            text.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect::<Vec<_>>()
        };
        let all = samples("true");
        let of_memory = |sample: &&String| sample.contains("resident") || sample.contains("swapped");
        assert_eq!(all.iter().filter(of_memory).count(), 3, "{all:?}");
        let expected: Vec<_> = all.iter().filter(|sample| !of_memory(sample)).cloned().collect();
        for mask in MASKS {
            assert_eq!(samples(mask), expected, "{mask}");
        }
    });
}
