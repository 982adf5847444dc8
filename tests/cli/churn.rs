//! As much as the kernel allows: 32,768 segments, of which every second one comes and goes while they are listed; and
//! ten thousand attachments of one process.

use std::collections::HashSet;
use std::io::{BufRead, BufReader};
use std::process::Stdio;

use serde_json::Value;

use crate::support::{Ended, Namespace, Running, in_namespace};

/// Raises SHMMNI and makes as many segments, all of one byte; prints the identifiers of every second one, which stay, and
/// then removes and makes the others at random until its standard input ends.
const CHURN: &str = r#"
    #include <fcntl.h>
    #include <poll.h>
    #include <stdio.h>
    #include <stdlib.h>
    #include <sys/shm.h>
    #include <unistd.h>
    static int ids[32768];
    static int make(void) { return shmget(IPC_PRIVATE, 1, 0600); }
    int main(void) {
        int limit = open("/proc/sys/kernel/shmmni", O_WRONLY);
        if (limit == -1 || write(limit, "32768", 5) != 5) return perror("shmmni"), 1;
        for (int i = 0; i < 32768; i++)
            if ((ids[i] = make()) == -1) return perror("shmget"), 1;
        for (int i = 0; i < 32768; i += 2) printf("%d ", ids[i]);
        puts("");
        fflush(stdout);
        struct pollfd input = {0, POLLIN, 0};
        while (poll(&input, 1, 1) == 0)
            for (int n = 0; n < 50; n++) {
                int i = rand() % 16384 * 2 + 1;
                if (shmctl(ids[i], IPC_RMID, NULL) == -1 || (ids[i] = make()) == -1) return perror("churn"), 1;
            }
        return 0;
    }"#;

/// Attaches a segment of key 7 so many times, and stays.
const ATTACHES: &str = r#"
    #include <stdio.h>
    #include <stdlib.h>
    #include <sys/shm.h>
    int main(int argc, char **argv) {
        int id = shmget(7, 4096, IPC_CREAT | IPC_EXCL | 0600);
        for (int i = 0; i < atoi(argv[1]); i++)
            if (shmat(id, NULL, i % 2 ? SHM_RDONLY : 0) == (void *)-1) return perror("shmat"), 1;
        puts("attached");
        fflush(stdout);
        getchar();
        return 0;
    }"#;

/// Starts a program and returns the line that it prints when it is ready.
fn start(ns: &Namespace, name: &str, source: &str, argument: &str) -> (Running, String) {
    let mut program = ns.program(ns.compile(name, source));
    let mut child = program.arg(argument).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect(name);
    let (output, mut line) = (child.stdout.take().expect("a pipe"), String::new());
    BufReader::new(output).read_line(&mut line).expect("its output");
    assert!(!line.is_empty(), "{name} could not do it");
    (Running(child), line)
}

fn json_id(segment: &Value) -> String {
    segment["id"].to_string()
}

/// The identifiers in a list, each line of which is what the format has.
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
        let (_churn, stay) = start(ns, "churn", CHURN, "");
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
        let (process, _) = start(ns, "attaches", ATTACHES, "10000");
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
