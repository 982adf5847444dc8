//! `metrics`, read by Prometheus' own tools: promtool and node_exporter.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use crate::support::{
    Ended, Namespace, Need, Running, ended, in_namespace, needs, shmadm_path, user_name, wait_until, with_input,
};

const PAGE: &str = include_str!("../../docs/prometheus.md");

/// Samples by name and labels, in the notation of the text.
type Samples = BTreeMap<String, f64>;

/// Returns the page's blocks of one language.
fn blocks(language: &str) -> Vec<&'static str> {
    let begin = format!("\n```{language}\n");
    PAGE.split(&begin).skip(1).map(|block| block.split_once("```").expect("its end").0).collect()
}

fn samples(text: &str) -> Samples {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let pairs = lines.map(|line| line.rsplit_once(' ').unwrap_or_else(|| panic!("{line:?}")));
    pairs.map(|(name, value)| (name.to_owned(), value.parse().expect("a number"))).collect()
}

/// Creates segments in several states, with sums above 2^64, and, as root, of several users. Returns the processes that
/// keep some of them attached or are their creators.
fn populate(ns: &Namespace) -> [Running; 2] {
    let large = "shmget($_, 9e18, 011600) // die $! for 1 .. 3; shmwrite(shmget(4, 9000, 01600), 'x', 4096, 1) or die";
    ns.run("perl", ["-e", large]);
    // Not attached, but no orphan: its creator lives.
    let alive = "$| = 1; shmget(5, 100, 01600) // die; print 'x'; <STDIN>";
    let mut perl = ns.program("perl");
    let mut alive = perl.args(["-e", alive]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("perl");
    alive.stdout.take().expect("a pipe").read_exact(&mut [0]).expect("it is created");
    ns.run("perl", ["-e", "shmget(6, 8192, 01600) // die"]);
    let held = ns.hold(["attach-write", "6", "x", "--hold"]);
    ns.run("ipcrm", ["-M", "6"]);
    if ns.is_root {
        for (key, owner) in [("7", "nobody"), ("8", "4242"), ("9", "4242")] {
            ns.run("perl", ["-e", &format!("shmget({key}, 5000, 01600) // die")]);
            ns.shmadm(["set", key, "--owner", owner]).ok();
        }
    }
    [Running(alive), held]
}

/// Computes the samples from the kernel's own table and limits. Of the creators of segments only these processes are
/// alive.
fn expected(ns: &Namespace, alive: &[Running]) -> Samples {
    let alive: Vec<_> = alive.iter().map(|running| running.pid().to_string()).collect();
    let mut samples = Samples::new();
    let table = ns.table();
    let mut pages = 0;
    for row in &table {
        let number = |field: &str| field.parse::<u128>().expect("a number");
        let uid = number(&row.uid).try_into().expect("a uid");
        let owner = user_name(uid);
        let mut add = |name: &str, value: u128| {
            *samples.entry(format!("shmadm_{name}{{owner=\"{owner}\"}}")).or_default() += value as f64;
        };
        let orphaned = u128::from(row.nattch == "0" && !alive.contains(&row.cpid));
        add("segments", 1);
        add("size_bytes", number(&row.size));
        add("resident_bytes", number(&row.rss));
        add("swapped_bytes", number(&row.swap));
        add("attached_segments", u128::from(row.nattch != "0"));
        add("attachments", number(&row.nattch));
        add("orphaned_segments", orphaned);
        add("orphaned_resident_bytes", orphaned * number(&row.rss));
        add("undecided_segments", 0);
        add("marked_segments", u128::from(row.mode.len() > 3));
        pages += number(&row.size).div_ceil(page_size(ns));
    }
    let limit = |name: &str| {
        let value = ns.run("cat", [format!("/proc/sys/kernel/{name}")]);
        value.split_whitespace().next().expect("a value").parse::<u128>().expect("a number")
    };
    for (name, value) in [
        ("used_segments", table.len() as u128),
        ("used_bytes", pages * page_size(ns)),
        ("limit_segments", limit("shmmni")),
        ("limit_bytes", limit("shmall") * page_size(ns)),
        ("limit_segment_bytes", limit("shmmax")),
    ] {
        samples.insert(format!("shmadm_{name}"), value as f64);
    }
    samples
}

fn page_size(ns: &Namespace) -> u128 {
    ns.run("getconf", ["PAGESIZE"]).trim_end().parse().expect("a number")
}

/// Compares samples. Sums of floats in another order may differ in the last digit.
#[track_caller]
fn assert_same(found: &Samples, expected: &Samples) {
    assert_eq!(found.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>());
    for (name, value) in expected {
        assert!((found[name] - value).abs() <= value * 1e-15, "{name}: {} instead of {value}", found[name]);
    }
}

#[test]
fn sums_are_the_kernels_and_promtool_has_no_complaint() {
    in_namespace(|ns| {
        needs(Need::Program("promtool"));
        let check = |text: &str| {
            let checked = with_input(ns.program("promtool").args(["check", "metrics"]), text.as_bytes());
            assert_eq!((checked.code, &*checked.out, &*checked.err), (Some(0), "", ""));
        };
        let empty = ns.shmadm(["metrics"]).ok();
        check(&empty);
        assert_same(&samples(&empty), &expected(ns, &[]));

        let held = populate(ns);
        let text = ns.shmadm(["metrics"]).ok();
        check(&text);
        assert_same(&samples(&text), &expected(ns, &held));
        assert!(text.ends_with("\n# EOF\n") && text.contains("# UNIT shmadm_size_bytes bytes\n"), "{text}");
        let past = samples(&text)[&format!("shmadm_size_bytes{{owner=\"{}\"}}", ns.run("id", ["-un"]).trim_end())];
        assert!(past > 2.0f64.powi(64), "{past}");
        // promtool complains about a mistake.
        let wrong = text.replace("# HELP shmadm_segments", "# shmadm_segments");
        assert_eq!(with_input(ns.program("promtool").args(["check", "metrics"]), wrong.as_bytes()).code, Some(3));
    });
}

/// Starts a node_exporter that serves only the files of a directory. This process opens the listening socket on a
/// loopback port and passes it on as systemd does, so that no other process can get the port in between.
#[track_caller]
fn serve(ns: &Namespace, directory: &Path) -> (Running, u16) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("its number").port();
    let activate =
        "LISTEN_PID=$$ LISTEN_FDS=1 exec prometheus-node-exporter --web.systemd-socket \"$@\" 3<&0 </dev/null";
    let mut exporter = ns.program("sh");
    exporter.args(["-c", activate, "sh", "--collector.disable-defaults", "--collector.textfile"]);
    exporter.arg(format!("--collector.textfile.directory={}", directory.display()));
    exporter.stdin(OwnedFd::from(listener)).stdout(Stdio::null()).stderr(Stdio::null());
    (Running(exporter.spawn().expect("sh")), port)
}

/// Returns the metrics that it serves now.
fn scrape(port: u16) -> String {
    let mut connection = TcpStream::connect(("127.0.0.1", port)).expect("node_exporter");
    connection.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout");
    connection.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").expect("a request");
    let mut answer = String::new();
    connection.read_to_string(&mut answer).expect("an answer");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
    assert!(head.starts_with("HTTP/1.0 200"), "{head}");
    body.to_owned()
}

#[test]
fn node_exporter_serves_every_sample() {
    in_namespace(|ns| {
        needs(Need::Program("prometheus-node-exporter"));
        let directory = ns.path("textfile");
        fs::create_dir(&directory).expect("a directory");
        let file = directory.join("shmadm.prom");
        let write = || assert_eq!(ns.shmadm(["metrics", "-o", file.to_str().expect("UTF-8")]).ok(), "");
        let (_exporter, port) = serve(ns, &directory);
        let served = || {
            let body = scrape(port);
            assert!(body.contains("\nnode_textfile_scrape_error 0\n"), "{body}");
            let mut served = samples(&body);
            served.retain(|name, _| name.starts_with("shmadm_"));
            served
        };
        assert_eq!(served(), Samples::new());
        write();
        assert_same(&served(), &expected(ns, &[]));
        let held = populate(ns);
        write();
        assert_same(&served(), &expected(ns, &held));
        // A removed sample is no longer served.
        drop(held);
        wait_until("the marked one is gone", || ns.table().iter().all(|row| row.mode.len() == 3));
        write();
        assert_same(&served(), &expected(ns, &[]));
    });
}

#[test]
fn a_file_is_replaced_as_a_whole_or_not_at_all() {
    in_namespace(|ns| {
        let file = ns.file("shmadm.prom", "old");
        let inode = |path: &Path| std::os::unix::fs::MetadataExt::ino(&fs::metadata(path).expect("a file"));
        let before = inode(&file);
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).expect("chmod");
        // The collector, another user, can read it with any umask.
        let write = "umask 077; exec \"$0\" metrics --output shmadm.prom";
        assert_eq!(ns.run("sh", ["-c", write, shmadm_path()]), "");
        assert_eq!(fs::read_to_string(&file).expect("a file"), ns.shmadm(["metrics"]).ok());
        let mode = fs::metadata(&file).expect("a file").permissions().mode();
        assert_eq!((mode & 0o7777, inode(&file) == before), (0o644, false));
        assert_eq!(fs::read_dir(ns.path("")).expect("the directory").count(), 1, "nothing else is left");

        let missing = ns.shmadm(["metrics", "-o", "no/such/directory.prom"]).fails(1);
        assert!(missing.contains("cannot write no/such/directory.prom: No such file or directory"), "{missing}");
        let full = ns.shmadm(["metrics", "-o", "/dev/full"]).fails(1);
        assert!(full.contains("cannot write /dev/full: No space left on device"), "{full}");
        let full = ended(ns.program("sh").args(["-c", "exec \"$0\" metrics >/dev/full", shmadm_path()]));
        assert!(full.fails(1).contains("cannot write standard output: No space left on device"));
        ns.shmadm(["metrics", "x"]).usage_error();
    });
}

/// Runs `promtool test rules` on the page's rules with the current metrics, as if they stayed the same for more than
/// eight hours.
#[track_caller]
fn test_rules(ns: &Namespace, expected: &str) {
    let text = ns.shmadm(["metrics"]).ok();
    let series = samples(&text).into_iter().map(|(name, value)| {
        let name = match name.split_once('{') {
            Some((name, labels)) => format!("{name}{{instance=\"a\",{labels}"),
            None => format!("{name}{{instance=\"a\"}}"),
        };
        format!("      - {{series: '{name}', values: '{value}+0x490'}}\n")
    });
    let series: String = series.collect();
    let [rules] = blocks("yaml")[..] else { panic!("one block of rules") };
    ns.file("rules.yml", rules);
    let test = format!(
        "rule_files: [rules.yml]\nevaluation_interval: 1m\ntests:\n  - interval: 1m\n    input_series:\n{series}      \
         - {{series: 'node_textfile_mtime_seconds{{instance=\"a\",file=\"/d/shmadm.prom\"}}', values: '28200+0x490'}}\n    \
         alert_rule_test:\n{expected}"
    );
    ns.file("test.yml", &test);
    let tested: Ended = ended(ns.program("promtool").args(["test", "rules", "test.yml"]));
    assert!(tested.code == Some(0) && tested.out.contains("SUCCESS"), "{}\n{}\n{test}", tested.out, tested.err);
}

/// Returns a promtool test that expects an alert at some time, or expects none.
fn alert(name: &str, at: &str, labels_and_annotations: Option<(&str, &str, &str)>) -> String {
    let expected = labels_and_annotations.map_or("[]".to_owned(), |(owner, summary, action)| {
        let owner = if owner.is_empty() { String::new() } else { format!(", owner: '{owner}'") };
        let labels = match name {
            "SharedMemoryMetricsOld" => "instance: a, file: /d/shmadm.prom".to_owned(),
            _ => format!("instance: a{owner}"),
        };
        format!("[{{exp_labels: {{{labels}}}, exp_annotations: {{summary: \"{summary}\", action: \"{action}\"}}}}]")
    });
    format!("      - {{alertname: {name}, eval_time: {at}, exp_alerts: {expected}}}\n")
}

#[test]
fn the_documented_rules_alert_as_documented() {
    in_namespace(|ns| {
        needs(Need::Program("promtool"));
        let [rules] = blocks("yaml")[..] else { panic!("one block of rules") };
        ns.file("rules.yml", rules);
        let checked = ended(ns.program("promtool").args(["check", "rules", "--lint=all", "--lint-fatal", "rules.yml"]));
        assert!(checked.code == Some(0) && checked.out.contains("SUCCESS: 4 rules found"), "{checked:?}");

        // 8 of 10 segments are not more than 80 percent, and none is an orphan while perl lives.
        ns.run("sh", ["-c", "echo 10 >/proc/sys/kernel/shmmni"]);
        let script = "$| = 1; shmget($_, 100, 01600) // die for 1 .. 8; print 'x'; <STDIN>";
        let mut perl = ns.program("perl");
        let mut perl = perl.args(["-e", script]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("perl");
        perl.stdout.take().expect("a pipe").read_exact(&mut [0]).expect("they are created");
        let perl = Running(perl);
        let (full, orphaned, old) = ("SharedMemorySegmentsRunOut", "SharedMemoryOrphaned", "SharedMemoryMetricsOld");
        // 28200 seconds are 7 hours and 50 minutes.
        let calm = [full, orphaned, old].map(|name| alert(name, "8h", None));
        test_rules(ns, &calm.concat());

        // With a ninth segment the limit is exceeded, and all are orphans.
        drop(perl);
        ns.run("perl", ["-e", "shmget(9, 100, 01600) // die"]);
        let owner = ns.run("id", ["-un"]);
        let owner = owner.trim_end();
        let runs_out = (
            "",
            "a: 90% of SHMMNI is used",
            "`shmadm list` shows what there is, sysctl kernel.shmmni raises the limit",
        );
        let summary = format!("a: {owner} has had orphaned segments for hours: 9 now");
        let action = format!("`shmadm list --orphaned --idle 6h --owner {owner}` shows them");
        let stopped = (
            "",
            "a: shmadm metrics has written nothing for 11m 0s",
            "`systemctl status shmadm-metrics.service` says why",
        );
        let alerts = [
            alert(full, "4m", None),
            alert(full, "6m", Some(runs_out)),
            alert(orphaned, "5h", None),
            alert(orphaned, "7h", Some((owner, &summary, &action))),
            alert(old, "8h", None),
            alert(old, "481m", Some(stopped)),
        ];
        test_rules(ns, &alerts.concat());
    });
}

#[test]
fn the_rule_about_units_names_them() {
    in_namespace(|ns| {
        needs(Need::Program("promtool"));
        let [rules] = blocks("yaml")[..] else { panic!("one block of rules") };
        ns.file("rules.yml", rules);
        let unit = "docker:4f5a6b7c8d9e";
        let series = |labels: &str, value: &str| {
            format!("      - {{series: 'shmadm_resident_bytes{{instance=\"a\",{labels}}}', values: '{value}x30'}}\n")
        };
        // Two owners in one container, and much memory in no unit.
        let series = series(&format!("ns=\"1\",unit=\"{unit}\",owner=\"root\""), "3221225472+0")
            + &series(&format!("ns=\"1\",unit=\"{unit}\",owner=\"www\""), "2147483648+0")
            + &series("ns=\"2\",unit=\"cron.service\",owner=\"root\"", "4096+0")
            + &series("ns=\"2\",unit=\"\",owner=\"root\"", "9663676416+0");
        let expected_alert = format!(
            "[{{exp_labels: {{instance: a, unit: '{unit}'}}, exp_annotations: {{summary: \"a: {unit} has 5GiB of shared \
             memory\", action: \"`shmadm list --all-namespaces --unit {unit}` shows it\"}}}}]"
        );
        let test = format!(
            "rule_files: [rules.yml]\nevaluation_interval: 1m\ntests:\n  - interval: 1m\n    input_series:\n{series}    \
             alert_rule_test:\n      - {{alertname: SharedMemoryOfUnit, eval_time: 10m, exp_alerts: []}}\n      \
             - {{alertname: SharedMemoryOfUnit, eval_time: 20m, exp_alerts: {expected_alert}}}\n"
        );
        ns.file("test.yml", &test);
        let tested: Ended = ended(ns.program("promtool").args(["test", "rules", "test.yml"]));
        assert!(tested.code == Some(0) && tested.out.contains("SUCCESS"), "{}\n{}\n{test}", tested.out, tested.err);
    });
}

#[test]
fn the_documented_units_run_existing_commands() {
    in_namespace(|ns| {
        let [service, timer] = blocks("ini")[..] else { panic!("two units") };
        assert!(timer.contains("\nOnCalendar=minutely\n") && timer.contains("\nWantedBy=timers.target\n"));
        let (_, command) = service.split_once("\nExecStart=/usr/bin/shmadm ").expect("a command");
        let (words, file) = command.trim_end().rsplit_once(" /var/lib/prometheus/node-exporter/").expect("the file");
        ns.shmadm(words.split(' ').chain([file])).ok();
        assert_eq!(fs::read_to_string(ns.path("shmadm.prom")).expect("the file"), ns.shmadm(["metrics"]).ok());
        assert!(blocks("yaml")[0].contains("shmadm[.]prom"), "the rules name another file");
    });
}

#[test]
fn an_unknown_state_is_not_counted_as_no_orphan() {
    in_namespace(|ns| {
        needs(Need::Strace);
        for key in ["1", "2"] {
            ns.shmadm(["create", key, "--size", "4K"]).ok();
        }
        let holder = ns.hold(["read", "2", "--hold", "-o", "/dev/null"]);
        let mut strace = ns.program("strace");
        // Without /proc/self it is unknown which processes /proc shows.
        strace.args(["-f", "-qq", "-o", "log", "-P", "/proc/self", "-e", "inject=readlink,readlinkat:error=EACCES"]);
        let text = ended(strace.args([shmadm_path(), "metrics"])).ok();
        for (name, value) in [("orphaned", 0), ("undecided", 1), ("attached", 1)] {
            let is_sample = |line: &&str| line.starts_with(&format!("shmadm_{name}_segments{{"));
            let sample = text.lines().find(is_sample).unwrap_or_else(|| panic!("{name}: {text}"));
            assert!(sample.ends_with(&format!(" {value}")), "{sample}");
        }
        drop(holder);
    });
}
