//! `limits`: the kernel's limits and their use, compared with /proc, ipcs and lsipc.

use std::process::Stdio;

use serde_json::{Value, json};

use crate::support::{Namespace, Row, ended, in_namespace, in_namespace_as_root, on_terminal, shmadm_path};

/// Creates segments of these sizes without a key, which reserve no memory, and touches this number of pages in each.
fn create(ns: &Namespace, sizes: &[u64], touched: usize) {
    // IPC_CREAT and SHM_NORESERVE.
    let make = "for my $size (@ARGV[1 .. $#ARGV]) {
        my $id = shmget(0, $size, 011600) // die $!;
        for my $page (0 .. $ARGV[0] - 1) { shmwrite($id, 'x', $page * 4096, 1) or die $! }
    }";
    let sizes = sizes.iter().map(u64::to_string);
    ns.run("perl", ["-e".to_owned(), make.to_owned(), touched.to_string()].into_iter().chain(sizes));
}

/// Sets a sysctl of the test's own namespace.
fn sysctl(ns: &Namespace, name: &str, value: u64) {
    ns.run("sh", ["-c", &format!("echo {value} > /proc/sys/kernel/{name}")]);
}

/// Returns a sysctl of the test's own namespace.
fn current(ns: &Namespace, name: &str) -> u64 {
    ns.run("cat", [format!("/proc/sys/kernel/{name}")]).trim_end().parse().expect("a number")
}

fn limits(ns: &Namespace) -> Value {
    ns.shmadm(["limits", "-f", "json"]).json()
}

/// Returns the limit of this name.
#[track_caller]
fn named<'a>(limits: &'a Value, name: &str) -> &'a Value {
    let all = limits["limits"].as_array().expect("an array");
    all.iter().find(|limit| limit["name"] == name).unwrap_or_else(|| panic!("no {name} in {limits}"))
}

/// Returns the number after these words in `ipcs -mu`.
#[track_caller]
fn ipcs(ns: &Namespace, words: &str) -> u64 {
    let summary = ns.run("ipcs", ["-mu"]);
    let line = summary.lines().find_map(|line| line.strip_prefix(words));
    line.unwrap_or_else(|| panic!("no {words} in {summary}")).trim().parse().expect("a number")
}

/// Expects the same use of limits as the kernel and ipcs report. Returns the limits.
#[track_caller]
fn expect_kernel_usage(ns: &Namespace) -> Value {
    let limits = limits(ns);
    let table = ns.table();
    let bytes = |column: fn(&Row) -> &String| table.iter().map(move |row| column(row).parse::<u64>().expect("bytes"));
    let pages: u64 = bytes(|row| &row.size).map(|size| size.div_ceil(4096)).sum();
    let resident = bytes(|row| &row.rss).sum::<u64>() / 4096;
    let usage = json!({"segments": table.len(), "pages": pages, "resident": resident, "swapped": bytes(|row| &row.swap).sum::<u64>() / 4096});
    assert_eq!(limits["usage"], usage);
    let theirs =
        ["segments allocated", "pages allocated", "pages resident", "pages swapped"].map(|words| ipcs(ns, words));
    assert_eq!(usage, json!({"segments": theirs[0], "pages": theirs[1], "resident": theirs[2], "swapped": theirs[3]}));
    assert_eq!(named(&limits, "SHMMAX")["used"], bytes(|row| &row.size).max().unwrap_or(0));
    assert_eq!(named(&limits, "SHMALL")["used"], pages);
    assert_eq!(named(&limits, "SHMMNI")["used"], table.len());
    limits
}

#[test]
fn the_defaults_are_exact_integers() {
    in_namespace(|ns| {
        let printed = ns.shmadm(["limits", "--format", "json"]).ok();
        let limits: Value = serde_json::from_str(&printed).expect("JSON");
        for (name, file) in [("SHMMAX", "shmmax"), ("SHMALL", "shmall"), ("SHMMNI", "shmmni")] {
            let limit = current(ns, file);
            let free = if name == "SHMMAX" { Value::Null } else { limit.into() };
            let expected = json!({"name": name, "limit": limit, "used": 0, "free": free, "percent": 0.0});
            assert_eq!(named(&limits, name), &expected);
            // Compares digits, because JSON would accept a number with a point or an exponent.
            assert!(printed.replace(' ', "").contains(&format!("\"limit\":{limit},")), "{printed}");
        }
        assert!(current(ns, "shmmax") > 1 << 53);
        assert_eq!(
            named(&limits, "SHMMIN"),
            &json!({"name": "SHMMIN", "limit": 1, "used": null, "free": null, "percent": null})
        );
        assert_eq!(limits["usage"], json!({"segments": 0, "pages": 0, "resident": 0, "swapped": 0}));
    });
}

#[test]
fn limits_that_were_set_are_shown_with_their_use() {
    in_namespace(|ns| {
        for (name, value) in [("shmmax", 1_000_000), ("shmall", 300), ("shmmni", 7)] {
            sysctl(ns, name, value);
        }
        create(ns, &[1, 4096, 4097, 333_333], 1);
        let limits = expect_kernel_usage(ns);
        // 1 + 1 + 2 + 82 pages; two digits after the point, rounded.
        for expected in [
            json!({"name": "SHMMAX", "limit": 1_000_000, "used": 333_333, "free": null, "percent": 33.33}),
            json!({"name": "SHMALL", "limit": 300, "used": 86, "free": 214, "percent": 28.67}),
            json!({"name": "SHMMNI", "limit": 7, "used": 4, "free": 3, "percent": 57.14}),
        ] {
            assert_eq!(named(&limits, expected["name"].as_str().expect("a name")), &expected);
        }
        // lsipc adds bytes where the kernel counts whole pages. Its use of SHMALL is too low and is not compared.
        let lsipc = ns.run("lsipc", ["-g", "--raw", "--noheadings", "-o", "RESOURCE,LIMIT,USED"]);
        for line in ["SHMALL 300 ", "SHMMNI 7 4"] {
            assert!(lsipc.lines().any(|theirs| theirs.starts_with(line)), "{line}: {lsipc}");
        }
        // This needs no privilege for any mode.
        ns.run("perl", ["-e", "shmget(0, 1, 01000) // die $!"]);
        let mut all = expect_kernel_usage(ns);
        let mut unprivileged = ns.shmadm_unprivileged(["limits", "-f", "json"]).json();
        // Other processes of the machine change this at any time.
        for limits in [&mut all, &mut unprivileged] {
            limits["shmem"].take();
        }
        assert_eq!(unprivileged, all);
    });
}

#[test]
fn resident_pages_are_the_touched_ones() {
    in_namespace(|ns| {
        create(ns, &[40_960], 0);
        assert_eq!(expect_kernel_usage(ns)["usage"]["resident"], 0);
        create(ns, &[40_960, 1 << 30], 3);
        assert_eq!(expect_kernel_usage(ns)["usage"]["resident"], 6);
        let table = ns.shmadm(["limits"]).ok();
        assert!(table.contains("262164 pages") && table.contains("6 resident"), "{table}");
    });
}

#[test]
fn a_removed_segment_counts_until_its_last_detach() {
    in_namespace(|ns| {
        ns.shmadm(["create", "42", "--size", "12K"]).ok();
        let holder = ns.hold(["attach-write", "42", "x", "--hold"]);
        ns.run("ipcrm", ["-M", "42"]);
        assert_eq!(expect_kernel_usage(ns)["usage"]["pages"], 3);
        holder.end(nix::sys::signal::Signal::SIGTERM);
        assert_eq!(expect_kernel_usage(ns)["usage"]["segments"], 0);
    });
}

#[test]
fn check_fails_above_the_percentage_and_not_at_it() {
    in_namespace(|ns| {
        let check = |percent: &str| ns.shmadm(["limits", &format!("--check={percent}")]);
        for percent in ["0", "80", "100", "80%"] {
            let fine = check(percent);
            assert!(fine.err.is_empty() && fine.ok().contains("SHMMNI"), "{percent}");
        }
        // 8 of 10 segments, and 8 of many pages.
        sysctl(ns, "shmmni", 10);
        create(ns, &[1; 8], 0);
        for percent in ["80", "80.0", "100"] {
            let fine = check(percent);
            assert!(fine.err.is_empty() && fine.ok().contains("SHMMNI"), "{percent}");
        }
        assert!(check("79.99").fails(1).contains("SHMMNI"));
        create(ns, &[1], 0);
        let error = check("80").fails(1);
        assert!(error.contains("SHMMNI") && error.contains("kernel.shmmni") && error.contains("90"), "{error}");
        assert!(error.contains("9 of 10") && !error.contains("SHMALL"), "{error}");
        // Then only the pages, and then both. SHMMAX cannot run out.
        sysctl(ns, "shmmni", 4096);
        sysctl(ns, "shmmax", 1);
        sysctl(ns, "shmall", 10);
        let error = check("80").fails(1);
        assert!(error.contains("SHMALL") && error.contains("kernel.shmall"), "{error}");
        assert!(!error.contains("SHMMNI") && !error.contains("SHMMAX"), "{error}");
        check("90").ok();
        sysctl(ns, "shmmni", 9);
        let both = check("80");
        assert!(both.code == Some(1) && both.out.contains("SHMMAX"), "{both:?}");
        assert!(both.err.contains("SHMALL") && both.err.contains("SHMMNI"), "{both:?}");
        // More segments than the limit, which was lowered afterwards.
        sysctl(ns, "shmmni", 3);
        assert_eq!(
            named(&limits(ns), "SHMMNI"),
            &json!({"name": "SHMMNI", "limit": 3, "used": 9, "free": 0, "percent": 300.0})
        );
        assert!(check("100").fails(1).contains("SHMMNI"));
        let json = ns.shmadm(["limits", "-f", "json", "--check", "100"]);
        assert!(serde_json::from_str::<Value>(&json.out).is_ok(), "{json:?}");
        assert!(json.fails(1).contains("SHMMNI"));
    });
}

#[test]
fn a_limit_of_0_does_not_divide_by_zero() {
    in_namespace(|ns| {
        for name in ["shmmax", "shmall", "shmmni"] {
            sysctl(ns, name, 0);
        }
        let limits = expect_kernel_usage(ns);
        assert_eq!(
            named(&limits, "SHMMNI"),
            &json!({"name": "SHMMNI", "limit": 0, "used": 0, "free": 0, "percent": 0.0})
        );
        ns.shmadm(["limits", "--check", "0"]).ok();
    });
}

#[test]
fn bad_usage() {
    in_namespace(|ns| {
        for percent in ["", "x", "-1", "100.1", "nan", "inf", "80 %", "8O"] {
            ns.shmadm(["limits".to_owned(), format!("--check={percent}")]).usage_error();
        }
        for words in [&["limits", "--check"][..], &["limits", "-f", "csv"], &["limits", "42"]] {
            ns.shmadm(words).usage_error();
        }
    });
}

#[test]
fn the_table_names_the_limits_for_people() {
    in_namespace(|ns| {
        let line = |name: &str| {
            let table = ns.shmadm(["limits"]).ok();
            let line = table.lines().find(|line| line.starts_with(name));
            line.unwrap_or_else(|| panic!("no {name} in {table}")).to_owned()
        };
        for (name, unlimited) in [("SHMMAX", true), ("SHMALL", true), ("SHMMNI", false), ("SHMMIN", false)] {
            assert_eq!(line(name).contains("unlimited"), unlimited, "{name}");
        }
        assert!(line("SHMMNI").contains(&current(ns, "shmmni").to_string()));
        sysctl(ns, "shmmax", 1 << 20);
        sysctl(ns, "shmall", 3);
        create(ns, &[4096], 0);
        let words = |name| line(name).split_whitespace().map(str::to_owned).collect::<Vec<_>>().join(" ");
        assert_eq!(words("SHMMAX"), "SHMMAX 1M 4K - 0.39 % largest segment");
        assert_eq!(words("SHMALL"), "SHMALL 3 (12K) 1 (4K) 2 (8K) 33.33 % pages in total");
    });
}

#[test]
fn a_narrow_terminal_hides_columns_and_keeps_room_for_who() {
    in_namespace(|ns| {
        for (width, hidden) in [(200, ""), (80, "SWAPPED"), (60, "OF SHMMNI")] {
            let line = "$SHMADM limits --all-namespaces 2>/dev/null";
            let out = on_terminal(ns, &format!("rows 24 cols {width}"), line);
            let title = out.lines().next().expect("titles");
            assert!(title.ends_with("  WHO") && title.len() + 15 <= width, "{title}");
            assert_eq!(hidden.is_empty(), title.contains("SWAPPED"), "{title}");
            assert!(hidden.is_empty() || !title.contains(hidden), "{title}");
            let mut rows = out.lines().take_while(|line| !line.starts_with("segments of"));
            assert!(rows.all(|line| line.chars().count() <= width), "{out}");
        }
    });
}

#[test]
fn the_consequences_of_a_limit_are_explained() {
    in_namespace(|ns| {
        let is_shown = |words: &str| ns.shmadm(["limits"]).ok().contains(words);
        assert!(!is_shown("full") && !is_shown("fails") && !is_shown("rmid_forced"));
        create(ns, &[4096, 8192], 1);
        let shmem = limits(ns)["shmem"].as_u64().expect("bytes");
        assert!(shmem >= 8192 && shmem.is_multiple_of(1024), "{shmem}");
        assert!(is_shown("segments hold 8K of the machine's ") && is_shown(" of shared memory (Shmem)\n"));
        for (name, value, consequence) in [
            ("shmmni", 2, "SHMMNI is full: the next shmget fails with ENOSPC; "),
            ("shmall", 3, "SHMALL is full: the next shmget fails with ENOSPC; "),
            ("shmmax", 0, "SHMMAX is 0: each shmget that creates a segment fails with EINVAL; "),
        ] {
            let before = current(ns, name);
            sysctl(ns, name, value);
            assert!(
                is_shown(consequence) && is_shown(&format!("root can raise it: `sysctl -w kernel.{name}=")),
                "{name}"
            );
            let errno = if name == "shmmax" { "Invalid argument" } else { "No space left on device" };
            let create = ns.run("perl", ["-e", "shmget(0, 1, 01600) // print $!"]);
            assert_eq!(create, errno, "{name}: the kernel agrees");
            sysctl(ns, name, before);
        }
        // If more is used than a lowered limit allows, twice the limit would still be too little.
        sysctl(ns, "shmall", 1);
        assert!(is_shown("`sysctl -w kernel.shmall=6`"));
        assert_eq!(limits(ns)["rmid_forced"], false);
        sysctl(ns, "shm_rmid_forced", 1);
        assert_eq!(limits(ns)["rmid_forced"], true);
        assert!(is_shown("kernel.shm_rmid_forced is 1: the kernel destroys each segment with its last detach\n"));
    });
}

#[test]
fn sums_of_more_than_64_bits() {
    in_namespace(|ns| {
        // The sum is five times 2^63 - 1 bytes, more than 64 bits.
        create(ns, &[i64::MAX.cast_unsigned(); 5], 0);
        let limits = expect_kernel_usage(ns);
        assert_eq!(named(&limits, "SHMMAX")["used"], i64::MAX);
        assert_eq!(limits["usage"]["pages"], 5_u64 << 51);
        assert_eq!(named(&limits, "SHMMAX")["percent"], 50.0);
        let table = ns.shmadm(["limits"]).ok();
        assert!(table.contains(&(5_u64 << 51).to_string()), "{table}");
        // And the largest sum of pages that the kernel allows.
        sysctl(ns, "shmall", 5 << 51);
        assert_eq!(named(&self::limits(ns), "SHMALL")["percent"], 100.0);
        ns.shmadm(["limits", "--check", "100"]).ok();
        assert!(ns.shmadm(["limits", "--check", "99.99"]).fails(1).contains("SHMALL"));
    });
}

#[test]
fn what_cannot_be_read_is_said_to_be_unknown() {
    in_namespace_as_root(|ns| {
        let hidden = |file: &str| {
            let line = format!("mount --bind /dev/null {file} && exec $0 limits");
            ended(ns.program("unshare").args(["--mount", "sh", "-c", &line, shmadm_path()]).stdin(Stdio::null())).ok()
        };
        assert!(hidden("/proc/meminfo").contains("the machine's shared memory (Shmem) is unknown: /proc/meminfo"));
        let line = "mount -t tmpfs none /proc/sys && exec $0 limits";
        let text =
            ended(ns.program("unshare").args(["--mount", "sh", "-c", line, shmadm_path()]).stdin(Stdio::null())).ok();
        assert!(text.contains("kernel.shm_rmid_forced cannot be read: if it is 1, the kernel destroys"), "{text}");
        let all = ns.shmadm(["limits"]).ok();
        assert!(!all.contains("unknown") && !all.contains("cannot be read"), "{all}");
    });
}
