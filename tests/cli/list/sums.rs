//! `--sum`: a row for each value of a column.

use super::*;

/// Creates two segments of this user, one of them attached; and, as root, one of another owner.
fn segments(ns: &Namespace) -> Running {
    for words in ["create 1 --size 64K", "create 2 --size 4K", "create 3 --size 8M"] {
        ns.shmadm(words.split(' ')).ok();
    }
    ns.shmadm(["attach-write", "2", "--fill", "1", "--no-nul", ""]).ok();
    ns.hold(["read", "1", "--hold", "-o", "/dev/null"])
}

#[test]
fn each_format_has_a_row_for_each_value() {
    in_namespace(|ns| {
        let _holder = segments(ns);
        let size = (8 << 20) + (64 << 10) + (4 << 10);
        let owner = &list(ns, "-f raw --no-headings -o owner").lines().next().expect("a row").to_owned();
        for (format, printed) in [
            (
                "table",
                "VALUE  SEGMENTS  SIZE  RSS  SWAP  ATTACHED  ORPHANS\nOWNER         3  8.1M   4K     0         1        2\n"
                    .replace("OWNER", &format!("{owner:5}")),
            ),
            ("raw", format!("VALUE SEGMENTS SIZE RSS SWAP ATTACHED ORPHANS\n{owner} 3 {size} 4096 0 1 2\n")),
            ("csv", format!("VALUE,SEGMENTS,SIZE,RSS,SWAP,ATTACHED,ORPHANS\n{owner},3,{size},4096,0,1,2\n")),
            (
                "export",
                format!(
                    "VALUE=\"{owner}\" SEGMENTS=\"3\" SIZE=\"{size}\" RSS=\"4096\" SWAP=\"0\" ATTACHED=\"1\" \
                     ORPHANS=\"2\"\n"
                ),
            ),
        ] {
            assert_eq!(list(ns, &format!("--sum owner -f {format}")), printed);
        }
        let record =
            json!({"owner": owner, "segments": 3, "size": size, "rss": 4096, "swap": 0, "attached": 1, "orphans": 2});
        assert_eq!(ns.shmadm(["list", "--sum", "owner", "-f", "json"]).json(), json!({"sums": [record]}));
        assert_eq!(ns.shmadm(["list", "--sum", "owner", "-f", "jsonl"]).json(), record);
    });
}

#[test]
fn the_largest_comes_first_and_filters_apply() {
    in_namespace(|ns| {
        let _holder = segments(ns);
        let sums = |words: &str| ns.shmadm(["list", "-f", "json", "--sum"].into_iter().chain(words.split(' '))).json();
        let values = |sums: &Value, name: &str| {
            let sums = sums["sums"].as_array().expect("an array").clone();
            sums.iter().map(|sum| sum[name].clone()).collect::<Vec<_>>()
        };
        let by_key = sums("key");
        assert_eq!(values(&by_key, "key"), ["0x00000003", "0x00000001", "0x00000002"]);
        // Numbers are JSON numbers, and an empty value is null.
        assert_eq!(values(&sums("nattch"), "nattch"), [0, 1]);
        assert_eq!(values(&sums("status"), "status"), [json!("orphan"), json!(null)]);
        // The name of this column is that of a sum.
        let by_size = sums("size --unattached");
        assert_eq!(
            (values(&by_size, "value"), values(&by_size, "size")),
            (vec![json!(8 << 20), json!(4096)], vec![json!(8 << 20), json!(4096)])
        );
        assert_eq!(sums("owner --key 9"), json!({"sums": []}));
    });
}

#[test]
fn options_that_conflict_with_sums_are_refused() {
    in_namespace(|ns| {
        for words in ["-o key", "--sort size", "--reverse", "-q"] {
            ns.shmadm(["list", "--sum", "owner"].into_iter().chain(words.split(' '))).usage_error();
        }
        assert!(ns.shmadm(["list", "--sum", "color"]).usage_error().contains("NATTCH"));
    });
}
