//! `list`: every segment with the kernel's fields in each format, and its creator.

mod creators;
mod cut;
mod presence;
mod sums;
mod terminal;
mod unread;

use std::collections::HashMap;
use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::{Command, Stdio};

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::support::{Namespace, Running, ended, in_namespace, on_terminal, shmadm_path, wait_until};

const ALL: &str = "KEY,ID,SIZE,RSS,SWAP,PERMS,MODE,OWNER,USER,UID,GROUP,GID,CUSER,CUID,CGROUP,CGID,NATTCH,STATUS,\
                   ATIME,DTIME,CTIME,AGE,IDLE,CPID,LPID,COMMAND,CREATOR,LASTUSER,LCOMMAND,UNIT,NS";

/// Owners with a name and without one, of one digit and of ten. A user namespace has only 0.
const OWNERS: [&str; 4] = ["0", "9", "100000", "4294967294"];

/// A perl program that creates a segment with key 7, says so, and waits.
const STAYS: &str = "shmget(7, 1, 01600) // die; $| = 1; print qq(ready\n); <STDIN>";

/// Starts a program and waits until it says that it is ready. Dropping the result ends it.
#[track_caller]
fn start(command: &mut Command) -> Running {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("a program");
    let (output, mut line) = (child.stdout.take().expect("a pipe"), String::new());
    BufReader::new(output).read_line(&mut line).expect("its output");
    assert_eq!(line, "ready\n", "{command:?}");
    Running(child)
}

/// Starts the program that creates 600 segments. Also returns its command line.
#[track_caller]
fn menagerie(ns: &Namespace) -> (Running, String) {
    let (program, owners) = (ns.compile("menagerie"), if ns.is_root { &OWNERS[..] } else { &[] });
    let running = start(ns.program(&program).args(owners));
    (running, [&[program.to_str().expect("a path")], owners].concat().join(" "))
}

/// Runs a perl program that creates segments and ends.
#[track_caller]
fn perl(ns: &Namespace, program: &str) {
    ns.run("perl", ["-e", program]);
}

/// Returns the output of `list` with these words in a pipe.
#[track_caller]
fn list(ns: &Namespace, words: &str) -> String {
    ns.shmadm(["list"].into_iter().chain(words.split_whitespace())).ok()
}

/// Returns the names that perl knows for the owners; those without a name are left out.
fn names(ns: &Namespace, function: &str) -> HashMap<String, String> {
    let program = format!("for (@ARGV) {{ my $name = {function}($_); print qq($_ $name\n) if defined $name }}");
    let found = ns.run("perl", ["-e", &program].iter().chain(&OWNERS));
    found.lines().filter_map(|line| line.split_once(' ')).map(|(id, name)| (id.to_owned(), name.to_owned())).collect()
}

fn hexadecimal(key: &str) -> String {
    format!("{:#010x}", key.parse::<i32>().expect("a signed key"))
}

fn permissions(mode: &str) -> String {
    format!("{:0>4}", &mode[mode.len().saturating_sub(3)..])
}

/// Returns the words for the two flags in the kernel's mode.
fn flags(mode: &str) -> Vec<&'static str> {
    let mode = u32::from_str_radix(mode, 8).expect("an octal mode");
    [(0o1000, "dest"), (0o2000, "locked")].iter().filter(|flag| mode & flag.0 != 0).map(|flag| flag.1).collect()
}

fn text(out: impl AsRef<str>) -> Vec<Vec<String>> {
    out.as_ref().lines().map(|line| line.split_whitespace().map(str::to_owned).collect()).collect()
}

fn csv(out: &str) -> Vec<Vec<String>> {
    let mut reader = csv::ReaderBuilder::new().has_headers(false).from_reader(out.as_bytes());
    reader.records().map(|row| row.expect("CSV").iter().map(str::to_owned).collect()).collect()
}

/// Returns the fields of each line, with "" for an empty one. In a table empty fields are missing.
fn fields(format: &str, out: &str) -> Vec<Vec<String>> {
    let split = |separator| out.lines().map(move |line| line.split(separator).map(str::to_owned).collect::<Vec<_>>());
    match format {
        "table" => text(out),
        "csv" => csv(out),
        "raw" => split(' ').map(|row| row.into_iter().map(|field| field.replace('-', "")).collect()).collect(),
        _ => split('"').map(|row| row.into_iter().skip(1).step_by(2).collect()).collect(),
    }
}

#[test]
fn each_format_shows_the_kernels_table_to_everyone() {
    in_namespace(|ns| {
        let _creator = menagerie(ns);
        let (table, users) = (ns.table(), names(ns, "getpwuid"));
        let ids: Vec<i32> = table.iter().map(|row| row.id.parse().expect("an id")).collect();
        assert!(ids.len() == 600 && !ids.is_sorted(), "the order of the ids would do");
        let expected = table.iter().map(|row| {
            let mut shown = row.clone();
            (shown.key, shown.mode) = (hexadecimal(&row.key), permissions(&row.mode));
            let times = [&mut shown.atime, &mut shown.dtime, &mut shown.ctime];
            times.into_iter().filter(|time| **time == "0").for_each(String::clear);
            let owner = users.get(&row.uid).unwrap_or(&row.uid).clone();
            [&shown.fields().map(str::to_owned)[..], &[flags(&row.mode).join(","), owner]].concat()
        });
        let expected: Vec<Vec<String>> = expected.collect();
        let columns = "key,id,mode,size,cpid,lpid,nattch,uid,gid,cuid,cgid,atime,dtime,ctime,rss,swap,status,owner";
        for format in ["table", "raw", "export", "csv"] {
            let words = ["list", "-b", "--no-headings", "--time-format", "epoch", "-o", columns, "-f", format];
            let out = ns.shmadm(words).ok();
            assert_eq!(ns.shmadm_unprivileged(words).ok(), out, "{format}");
            for (row, expected) in fields(format, &out).into_iter().zip(&expected) {
                let shown = |field: &&String| format != "table" || !field.is_empty();
                assert!(row.iter().eq(expected.iter().filter(shown)), "{format}: {row:?} is not {expected:?}");
            }
            assert_eq!(out.lines().count(), 600, "{format}");
        }
        assert_eq!(list(ns, "-q"), ids.iter().map(|id| format!("id:{id}\n")).collect::<String>());
        assert_eq!(ns.shmadm(["ls", "-q"]).ok(), list(ns, "-q"));
    });
}

#[test]
fn json_has_the_contracts_fields_and_the_kernels_values() {
    in_namespace(|ns| {
        let (_creator, command) = menagerie(ns);
        let (users, groups) = (names(ns, "getpwuid"), names(ns, "getgrgid"));
        let mut dates: HashMap<String, Value> = HashMap::from([("0".to_owned(), Value::Null)]);
        let out = list(ns, "-f jsonl");
        let unprivileged = ns.shmadm_unprivileged(["list", "-f", "jsonl"]).ok();
        // Only a user who may inspect the attached process gets the original key.
        let without_key = |line: &str| match line.split_once(",\"id\"") {
            Some((keys, rest)) => format!("{}{rest}", &keys[..18]),
            None => panic!("no field id: {line}"),
        };
        assert!(unprivileged.lines().map(without_key).eq(out.lines().map(without_key)), "{unprivileged}");
        for (row, line) in ns.table().iter().zip(out.lines()) {
            for time in [&row.atime, &row.dtime, &row.ctime] {
                let date = || ns.run("date", ["-u", "-d", &format!("@{time}"), "+%Y-%m-%dT%H:%M:%SZ"]);
                dates.entry(time.clone()).or_insert_with(|| date().trim_end().into());
            }
            let number = |field: &str| field.parse::<u64>().expect("a number");
            let mut record: Value = serde_json::from_str(line).expect("JSON");
            record["original_key"].take();
            let used = row.atime != "0" || row.dtime != "0";
            // An owner that is not the creator proves an IPC_SET, which changed ctime. Then a later process with the
            // creator's pid cannot be recognised.
            let was_set = (&row.uid, &row.gid) != (&row.cuid, &row.cgid);
            let expected = json!({
                "key": hexadecimal(&row.key), "original_key": null, "id": number(&row.id), "size": number(&row.size),
                "mode": permissions(&row.mode), "status": flags(&row.mode), "nattch": number(&row.nattch),
                "uid": number(&row.uid), "user": users.get(&row.uid), "gid": number(&row.gid), "group": groups.get(&row.gid),
                "cuid": number(&row.cuid), "cuser": users.get(&row.cuid), "cgid": number(&row.cgid), "cgroup": groups.get(&row.cgid),
                "cpid": number(&row.cpid), "creator": if was_set { "unknown" } else { "alive" },
                "command": if was_set { Value::Null } else { json!(command) }, "lpid": number(&row.lpid),
                "last_user": if used { json!("alive") } else { Value::Null },
                "last_command": if used { json!(command) } else { Value::Null },
                "unit": record["unit"],
                "atime": dates[&row.atime], "dtime": dates[&row.dtime], "ctime": dates[&row.ctime],
                "rss": number(&row.rss), "swap": number(&row.swap),
            });
            assert_eq!(record, expected);
            // A quoted word before a colon is the name of a field.
            let words: Vec<&str> = line.split('"').collect();
            let names = words.windows(2).filter(|pair| pair[1].starts_with(':')).map(|pair| pair[0]);
            let order = "key original_key id size mode status nattch uid user gid group cuid cuser cgid cgroup \
                         cpid creator command lpid last_user last_command unit atime dtime ctime rss swap";
            assert!(names.eq(order.split(' ')), "{line}");
        }
        let whole = ns.shmadm(["list", "-f", "json"]).json();
        let lines: Vec<Value> = out.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
        assert_eq!((lines.len(), whole), (600, json!({ "segments": lines })));
    });
}

#[test]
fn lsipc_agrees() {
    in_namespace(|ns| {
        let _creator = menagerie(ns);
        let columns = ["KEY", "ID", "OWNER", "PERMS", "SIZE", "NATTCH", "CPID", "LPID"];
        let theirs = ns.run("lsipc", ["-m", "--json", "-b", "-o", &columns.join(",")]);
        let theirs: Value = serde_json::from_str(&theirs).expect("JSON");
        // Newer versions of lsipc write numbers, older ones strings.
        let word = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let segments = theirs["sharedmemory"].as_array().expect("an array").iter();
        let mut theirs: Vec<Vec<String>> = segments
            .map(|segment| columns.iter().map(|column| word(&segment[column.to_lowercase()])).collect())
            .collect();
        let mut ours = csv(&list(ns, &format!("-f csv --no-headings -o {}", columns.join(","))));
        theirs.sort();
        ours.sort();
        assert_eq!((ours.len(), ours), (600, theirs));
    });
}

#[test]
fn an_empty_namespace_is_valid_in_each_format() {
    in_namespace(|ns| {
        for format in ["export", "jsonl", "raw --no-headings", "csv --no-headings", "table --no-headings"] {
            assert_eq!(list(ns, &format!("-f {format}")), "", "{format}");
        }
        for (format, separator) in [("raw", " "), ("csv", ",")] {
            let titles = ALL.replace(',', separator) + "\n";
            assert_eq!(list(ns, &format!("-f {format} -o {ALL}")), titles);
        }
        assert_eq!(list(ns, "-f json"), "{\"segments\":[]}\n");
        assert_eq!(list(ns, "-q"), "");
        // A pipe gets titles, but no totals.
        assert!(text(list(ns, "")).iter().map(|line| &line[0]).eq(["KEY"]));
        assert!(on_terminal(ns, "rows 24 cols 80", "$SHMADM --color never list").ends_with("\nno segments\n"));
    });
}

#[test]
fn the_requested_columns_come_in_that_order() {
    in_namespace(|ns| {
        perl(ns, "shmget(42, 1, 01640)");
        let titles: Vec<&str> = ALL.split(',').collect();
        for words in [format!("-f csv -o {}", ALL.to_lowercase()), "-f csv".to_owned()] {
            let rows = csv(&list(ns, &words));
            assert!(rows[0] == titles && rows[1].len() == titles.len(), "{words}: {rows:?}");
        }
        for words in [format!("-f export -o {ALL}"), "-f export".to_owned()] {
            let line = list(ns, &words);
            assert!(
                line.split('"')
                    .step_by(2)
                    .map(|word| word.trim_matches([' ', '=']))
                    .take(titles.len())
                    .eq(titles.clone())
            );
        }
        assert_eq!(text(list(ns, &format!("-o {ALL}")))[0], titles);
        assert_eq!(list(ns, "-f raw -o Mode,dtime,KEY,id"), "MODE DTIME KEY ID\n0640 - 0x0000002a 0\n");
        assert_eq!(list(ns, "--columns perms,SIZE"), "PERMS      SIZE\nrw-r-----     1\n");
        ns.shmadm(["list", "-q", "-o", "id"]).usage_error();
        for format in ["json", "jsonl"] {
            assert!(ns.shmadm(["list", "-f", format, "-o", "id"]).fails(2).contains("all fields"));
        }
    });
}

#[test]
fn columns_can_be_added_all_shown_or_explained() {
    in_namespace(|ns| {
        perl(ns, "shmget(42, 1, 01640)");
        let titles = |words: &str| list(ns, words).lines().next().expect("titles").to_owned();
        let default = "KEY ID OWNER PERMS SIZE RSS NATTCH STATUS IDLE COMMAND";
        assert_eq!(titles("-f raw -o +uid,key,pids"), format!("{default} UID PIDS"));
        assert_eq!(titles("-f csv -o +pids"), format!("{},PIDS", titles("-f csv")));
        let help = list(ns, "-o help");
        let all: Vec<_> = help.lines().filter_map(|line| line.split_whitespace().next()).collect();
        assert_eq!(titles("-f raw -o all").split(' ').collect::<Vec<_>>(), all);
        assert!(help.contains("  PIDS      Processes that have it attached\n"), "{help}");
        assert!(ns.shmadm(["list", "--help"]).ok().contains(&help), "--help explains each column in a line");
        assert!(ns.shmadm(["list", "-o", "key,+id"]).usage_error().contains("before the first column"));
    });
}

#[test]
fn numbers_are_sorted_as_numbers() {
    in_namespace(|ns| {
        let _creator = menagerie(ns);
        for name in "ID SIZE RSS SWAP UID GID CUID CGID NATTCH ATIME DTIME CTIME AGE IDLE CPID LPID".split(' ') {
            let out = list(ns, &format!("-f csv --no-headings --time-format epoch -o {name} --sort {name}"));
            let numbers: Vec<u64> = out.lines().map(|line| line.parse().unwrap_or(0)).collect();
            assert!(numbers.len() == 600 && numbers.is_sorted(), "{name}: {numbers:?}");
            // Sorting as text would give another order. Only root has several owners here.
            if "ID SIZE RSS NATTCH".contains(name) || ns.is_root && "UID GID".contains(name) {
                assert!(!out.lines().is_sorted(), "{name}");
            }
        }
    });
}

#[test]
fn quiet_output_is_accepted_by_other_commands() {
    in_namespace(|ns| {
        // These keys are also identifiers of other segments.
        let keys = (0..4).map(|id| if id == 3 { "0x333".to_owned() } else { (id + 1).to_string() });
        for (key, size) in keys.zip(["4K", "4K", "4K", "8M"]) {
            ns.shmadm(["create", &key, "--size", size]).ok();
        }
        let script = "$0 list -q --min-size 8M | xargs $0 remove";
        let removed = ns.run("sh", ["-c", script, shmadm_path()]);
        assert_eq!(removed, "removed segment 0x00000333 (id 3, 8388608 bytes)\n");
        assert_eq!(ns.table().len(), 3);
        ns.run("sh", ["-c", "$0 create 3 --exist-ok -q | xargs $0 remove", shmadm_path()]);
        let left: Vec<_> = ns.table().into_iter().map(|row| row.key.clone()).collect();
        assert_eq!(left, ["1", "2"]);
    });
}

#[test]
fn equal_values_keep_the_kernels_order_unless_reversed() {
    in_namespace(|ns| {
        perl(ns, "shmget(0, $_, 01600) for 100, 9, 10, 9");
        for (words, ids) in [
            ("--sort size", "1 3 2 0"),
            ("--sort Size --reverse", "0 2 3 1"),
            ("--sort mode", "0 1 2 3"),
            ("--reverse", "3 2 1 0"),
        ] {
            assert_eq!(
                list(ns, &format!("-q {words}")).replace("id:", "").replace('\n', " ").trim_end(),
                ids,
                "{words}"
            );
        }
    });
}

#[test]
fn only_a_table_has_human_sizes() {
    in_namespace(|ns| {
        perl(ns, "shmget(0, $_, 01600) for 9, 4096, 1572864");
        for (words, sizes) in [
            ("", "9 0 4K 0 1.5M 0"),
            ("-b", "9 0 4096 0 1572864 0"),
            ("-f raw", "9 0 4096 0 1572864 0"),
            ("-f csv", "9,0 4096,0 1572864,0"),
        ] {
            assert_eq!(text(list(ns, &format!("--no-headings -o size,rss {words}"))).concat().join(" "), sizes);
        }
    });
}

#[test]
fn times_are_in_the_users_zone_as_date_writes_them() {
    in_namespace(|ns| {
        perl(ns, "shmget(1, 1, 01600)");
        let epoch = ns.table()[0].ctime.clone();
        // The second zone is in the notation of POSIX, which needs no time zone database.
        let mut zones = vec!["UTC", "<+0530>-5:30"];
        zones.extend(Path::new("/usr/share/zoneinfo/Europe/Berlin").exists().then_some("Europe/Berlin"));
        for zone in zones {
            let run = |command: &mut Command| ended(command.env("TZ", zone)).ok().trim_end().to_owned();
            let shown = |words: &[&str]| {
                let words = ["list", "--no-headings", "-o", "ctime,atime"].iter().chain(words);
                run(&mut ns.command(words))
            };
            let date = |pattern: &str| run(ns.program("date").args(["-d", &format!("@{epoch}"), pattern]));
            for (format, pattern) in
                [("full", "+%a %b %e %H:%M:%S %Y"), ("iso", "+%Y-%m-%dT%H:%M:%S%:z"), ("epoch", "+%s")]
            {
                assert_eq!(shown(&["--time-format", format]), date(pattern), "{zone}");
            }
            assert_eq!(shown(&["-f", "csv"]), date("+%Y-%m-%dT%H:%M:%S%:z,"), "{zone}");
            // The other format, if midnight has passed since.
            let short = [date("+%H:%M"), date("+%b %e")];
            assert!(short.contains(&shown(&[])) && short.contains(&shown(&["--time-format", "short"])), "{zone}");
        }
        let relative = list(ns, "--no-headings -o ctime --time-format relative");
        let seconds = relative.strip_suffix("s ago\n").and_then(|number| number.parse::<u32>().ok());
        assert!(seconds.is_some_and(|seconds| seconds < 60), "{relative}");
    });
}
