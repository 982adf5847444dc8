//! The largest numbers that the kernel allows: 32,768 segments, half of which are created and removed while they are
//! listed; and ten thousand attachments of one process.

use std::collections::HashSet;
use std::io::{BufRead, BufReader};
use std::process::Stdio;

use serde_json::Value;

use crate::support::{Ended, Namespace, Running, in_namespace};

/// Starts a program. Returns it and the line that it prints when it is ready.
fn start(ns: &Namespace, name: &str, argument: &str) -> (Running, String) {
    let mut program = ns.program(ns.compile(name));
    let mut child = program.arg(argument).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect(name);
    let (output, mut line) = (child.stdout.take().expect("a pipe"), String::new());
    BufReader::new(output).read_line(&mut line).expect("its output");
    assert!(!line.is_empty(), "{name} could not do it");
    (Running(child), line)
}

fn json_id(segment: &Value) -> String {
    segment["id"].to_string()
}

/// Returns the identifiers in a list, whose lines must be valid in its format.
fn ids(format: &str, ended: Ended) -> Vec<String> {
    let out = ended.ok();
    let lines = || out.lines();
    let column = |at: usize| lines().map(move |line| line.split_ascii_whitespace().collect::<Vec<_>>()[at].to_owned());
    match format {
        "-q" => lines().map(|id| id.strip_prefix("id:").expect("id:N").to_owned()).collect(),
        "-f json" => {
            let list: Value = serde_json::from_str(&out).expect("JSON");
            list["segments"].as_array().expect("an array").iter().map(json_id).collect()
        }
        "-f jsonl" => lines().map(|line| json_id(&serde_json::from_str(line).expect("JSON"))).collect(),
        "-f csv" => {
            let mut reader = csv::Reader::from_reader(out.as_bytes());
            reader.records().map(|row| row.expect("as many columns as there are titles")[1].to_owned()).collect()
        }
        "-f export -o KEY,ID" => {
            let id = |line: &str| {
                let id = line.strip_prefix(r#"KEY="0x00000000" ID=""#).and_then(|rest| rest.strip_suffix('"'));
                id.unwrap_or_else(|| panic!("{line}")).to_owned()
            };
            lines().map(id).collect()
        }
        "-f raw -o KEY,ID --no-headings" => {
            assert!(lines().all(|line| line.starts_with("0x00000000 ") && line.split(' ').count() == 2));
            column(1).collect()
        }
        "-o ID,SIZE,MODE --no-headings" => {
            assert!(lines().all(|line| line.split_ascii_whitespace().skip(1).eq(["1", "0600"])), "a torn row");
            column(0).collect()
        }
        _ => panic!("{format}"),
    }
}

#[test]
fn a_list_of_rows_that_come_and_go_has_each_row_once_and_all_that_stay() {
    in_namespace(|ns| {
        let (_churn, stay) = start(ns, "churn", "");
        let stay: HashSet<_> = stay.split_ascii_whitespace().map(str::to_owned).collect();
        assert_eq!(stay.len(), 16_384);
        let mut moved = HashSet::new();
        for format in [
            "-q",
            "-f json",
            "-f jsonl",
            "-f csv",
            "-f export -o KEY,ID",
            "-f raw -o KEY,ID --no-headings",
            "-o ID,SIZE,MODE --no-headings",
        ] {
            let listed = ids(format, ns.shmadm(["list"].into_iter().chain(format.split(' '))));
            let once: HashSet<_> = listed.iter().cloned().collect();
            assert_eq!(once.len(), listed.len(), "{format}: a row twice");
            assert!(stay.is_subset(&once), "{format}: {} are missing", stay.difference(&once).count());
            assert!(listed.len() <= 32_768 && listed.len() > 32_000, "{format}: {}", listed.len());
            moved.extend(once.difference(&stay).cloned());
        }
        assert!(moved.len() > 17_000, "nothing came or went: {}", moved.len());
    });
}

#[test]
fn ten_thousand_attachments_of_one_process_are_counted() {
    in_namespace(|ns| {
        let (process, _) = start(ns, "attaches", "10000");
        let stat = &ns.shmadm(["stat", "7", "-f", "json"]).json()[0];
        let attachments = stat["attachments"].as_array().expect("an array");
        assert_eq!((stat["nattch"].as_u64(), stat["attachments_missing"].as_u64()), (Some(10_000), Some(0)));
        assert_eq!(attachments.len(), 10_000);
        let addresses: HashSet<_> = attachments.iter().map(|one| one["address"].to_string()).collect();
        assert_eq!(addresses.len(), 10_000);
        let pid = u64::from(process.0.id());
        assert!(attachments.iter().all(|one| one["pid"].as_u64() == Some(pid)));
        let reading = attachments.iter().filter(|one| one["access"] == "r").count();
        assert_eq!(reading, 5_000);
        assert!(ns.shmadm(["stat", "7"]).ok().contains("10000"));
        assert_eq!(ns.shmadm(["list", "--pid", &pid.to_string(), "-q"]).ok(), "id:0\n");
    });
}
