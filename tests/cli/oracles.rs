//! The tools of util-linux as oracles on random segments: ipcs and lsipc for output, ipcrm for removal.

use std::collections::HashSet;
use std::io::{BufRead, BufReader};
use std::process::Stdio;

use fastrand::Rng;
use serde_json::Value;

use crate::support::{Namespace, Row, Running, in_namespace, rows};

/// Creates random segments in this namespace, or after the words of `before` in another one.
fn populate(ns: &Namespace, seed: u32, before: &[&str]) -> Running {
    let program = ns.path("population");
    let words = before.iter().map(|word| word.as_ref()).chain([program.as_os_str()]).collect::<Vec<_>>();
    let mut command = ns.program(words[0]);
    command.args(&words[1..]).arg(seed.to_string());
    // The limit on locked memory covers all namespaces of a user together.
    command.args(ns.is_root.then_some("locked"));
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("a population");
    let (output, mut line) = (child.stdout.take().expect("a pipe"), String::new());
    BufReader::new(output).read_line(&mut line).expect("its output");
    assert_eq!(line, "ready\n");
    Running(child)
}

/// Runs an action on a few populations, one after the other, with the name of each.
fn on_populations(ns: &Namespace, act: impl Fn(&str)) {
    ns.compile("population");
    for _ in 0..4 {
        let seed = fastrand::u32(1..1_000_000);
        let population = populate(ns, seed, &[]);
        let table = ns.table();
        assert!(!table.is_empty(), "population {seed}");
        let differ = |row: &Row| HashSet::from([&row.uid, &row.gid, &row.cuid, &row.cgid]).len() == 4;
        assert_eq!(table.iter().any(differ), ns.is_root, "population {seed}");
        act(&format!("population {seed}"));
        drop(population);
        ns.run("ipcrm", ["--all=shm"]);
    }
}

fn words(line: &str) -> Vec<String> {
    line.split_ascii_whitespace().map(str::to_owned).collect()
}

/// Returns the columns of a list, as words.
fn list(ns: &Namespace, columns: &str) -> Vec<Vec<String>> {
    let out = ns.shmadm(["list", "-f", "csv", "--no-headings", "-o", columns]).ok();
    out.lines().map(|line| words(&line.replace([',', '"'], " "))).collect()
}

/// Returns the rows that ipcs prints: those that have an identifier in this column.
fn ipcs(ns: &Namespace, option: &str, id: usize) -> Vec<Vec<String>> {
    let rows = ns.run("ipcs", ["-m", option]);
    let is_row = |row: &Vec<String>| row.get(id).is_some_and(|word| word.bytes().all(|byte| byte.is_ascii_digit()));
    rows.lines().map(words).filter(is_row).collect()
}

#[test]
fn ipcs_lists_the_same_rows_in_the_same_order() {
    in_namespace(|ns| {
        on_populations(ns, |population| {
            let short = |mode: &str| format!("{:o}", u32::from_str_radix(mode, 8).expect("a mode"));
            let mut ours = list(ns, "KEY,ID,OWNER,MODE,SIZE,NATTCH,STATUS");
            for row in &mut ours {
                row[3] = short(&row[3]);
                // ipcs knows no orphans.
                row.retain(|word| word != "orphan");
            }
            assert_eq!(ours, ipcs(ns, "-b", 1).into_iter().collect::<Vec<_>>(), "{population}");
            let mut ours = list(ns, "ID,MODE,CUID,CGID,UID,GID");
            let names = |id: &String| if id == "0" { "root".to_owned() } else { id.clone() };
            for row in &mut ours {
                row[1] = short(&row[1]);
                row.iter_mut().skip(2).for_each(|id| *id = names(id));
            }
            assert_eq!(ours, ipcs(ns, "-c", 0), "{population}");
            assert_eq!(list(ns, "ID,OWNER,CPID,LPID"), ipcs(ns, "-p", 0), "{population}");
        })
    });
}

#[test]
fn lsipc_shows_the_same_values() {
    in_namespace(|ns| {
        on_populations(ns, |population| {
            // lsipc 2.38 shows CUID in the column CGID; the test with ipcs checks CGID.
            let columns = "KEY,ID,OWNER,PERMS,MODE,SIZE,NATTCH,CPID,LPID,CUID,UID,GID";
            let theirs = ns.run("lsipc", ["-m", "--json", "-b", "-o", &columns.replace("MODE,", "")]);
            let theirs: Value = serde_json::from_str(&theirs).expect("JSON");
            let rows = theirs["sharedmemory"].as_array().expect("an array");
            let word = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            let columns = columns.replace("MODE,", "");
            let shown =
                |row: &Value| columns.split(',').map(|name| word(&row[name.to_lowercase()])).collect::<Vec<_>>();
            let (mut ours, mut theirs) = (list(ns, &columns), rows.iter().map(shown).collect::<Vec<_>>());
            ours.sort();
            theirs.sort();
            assert_eq!(ours, theirs, "{population}");
        })
    });
}

#[test]
fn limits_agree_with_the_files_and_lsipc() {
    in_namespace(|ns| {
        let page: u64 = ns.run("getconf", ["PAGE_SIZE"]).trim().parse().expect("a size");
        on_populations(ns, |population| {
            let mut rng = Rng::new();
            // A random number of random length. The current use may exceed it.
            let mut limit = |bits: u32| (rng.u64(..) >> 1 >> rng.u32(..bits)).max(1);
            let set = [("shmmax", limit(60)), ("shmall", limit(60)), ("shmmni", limit(60) % 32_768 + 1)];
            for (file, value) in set {
                std::fs::write(format!("/proc/sys/kernel/{file}"), value.to_string()).expect("the limit");
            }
            let shown = ns.shmadm(["limits", "-f", "json"]).json();
            let lsipc = ns.run("lsipc", ["-g", "-b", "--raw", "--noheadings", "-o", "RESOURCE,LIMIT,USED"]);
            for (file, _) in set {
                let name = file.to_uppercase();
                let file = std::fs::read_to_string(format!("/proc/sys/kernel/{file}")).expect("the limit");
                let ours =
                    shown["limits"].as_array().expect("an array").iter().find(|limit| limit["name"] == name.as_str());
                let ours = ours.expect("the limit");
                assert_eq!(ours["limit"].to_string(), file.trim(), "{population}: {shown}");
                let theirs = lsipc.lines().map(words).find(|row| row[0] == name).expect("lsipc has it");
                assert_eq!(ours["limit"].to_string(), theirs[1], "{population}: {lsipc}");
                let sizes: Vec<u64> = ns.table().iter().map(|row| row.size.parse().expect("a size")).collect();
                let (bytes, segments) = (sizes.iter().sum::<u64>(), sizes.len() as u64);
                let (used, theirs_used) = match &*name {
                    // lsipc shows no largest segment, and divides the sum of bytes by the size of a page.
                    "SHMMAX" => (sizes.into_iter().max().unwrap_or(0), "-".into()),
                    "SHMALL" => (sizes.into_iter().map(|size| size.div_ceil(page)).sum(), (bytes / page).to_string()),
                    _ => (segments, segments.to_string()),
                };
                assert_eq!(ours["used"], used, "{population}: {name}: {shown}");
                assert_eq!(theirs_used, theirs[2], "{population}: {lsipc}");
            }
            // Raises the limits for the next population.
            for (file, _) in set {
                std::fs::write(format!("/proc/sys/kernel/{file}"), "30000").expect("the limit");
            }
        })
    });
}

/// Returns the fields of a row except identifiers, processes and times.
fn lasting(row: &Row) -> [String; 8] {
    let Row { key, mode, size, nattch, uid, gid, cuid, cgid, .. } = row.clone();
    [key, mode, size, nattch, uid, gid, cuid, cgid]
}

/// Does the same for a whole table, sorted: the position of a segment depends on earlier ones.
fn all_lasting(table: &[Row]) -> Vec<[String; 8]> {
    let mut rows: Vec<_> = table.iter().map(lasting).collect();
    rows.sort();
    rows
}

#[test]
fn ipcrm_leaves_the_same_segments() {
    in_namespace(|ns| {
        on_populations(ns, |population| {
            let seed = population.rsplit(' ').next().and_then(|seed| seed.parse().ok()).expect("a seed");
            let twin = populate(ns, seed, &["unshare", "--ipc", "--"]);
            let there = format!("--ipc=/proc/{}/ns/ipc", twin.pid());
            let in_twin = |args: &[&str]| ns.run("nsenter", [&there as &str, "--"].iter().chain(args));
            let twins_table = || rows(&in_twin(&["cat", "/proc/sysvipc/shm"]));
            let (mut here, mut other) = (ns.table(), twins_table());
            assert_eq!(all_lasting(&here), all_lasting(&other), "{population}");
            here.sort_by_key(lasting);
            other.sort_by_key(lasting);
            for (ours, theirs) in here.iter().zip(&other).filter(|_| fastrand::bool()) {
                if ours.key == "0" || fastrand::bool() {
                    ns.shmadm(["remove", &format!("id:{}", ours.id)]).ok();
                    in_twin(&["ipcrm", "-m", &theirs.id]);
                } else {
                    ns.shmadm(["remove", "--quiet", &ours.key]).ok();
                    // ipcrm accepts no negative keys.
                    let key = format!("{:#x}", theirs.key.parse::<i32>().expect("a key"));
                    in_twin(&["ipcrm", "-M", &key]);
                }
                assert_eq!(all_lasting(&ns.table()), all_lasting(&twins_table()), "{population}: {ours:?}");
            }
            ns.shmadm(["remove", "--all", "--include-attached", "--yes", "--quiet"]).ok();
            in_twin(&["ipcrm", "--all=shm"]);
            assert_eq!(all_lasting(&ns.table()), all_lasting(&twins_table()), "{population}");
        })
    });
}
