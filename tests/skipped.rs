//! The last test that `cargo test` runs: says which tests were skipped, and why, and how many.
//!
//! To the test programs before it a skipped test is one that passed; each has added a line to a file of its run of cargo
//! (tests/cli/support/needs.rs). With `SHMADM_TEST_SKIPS` the lines are in that file, and whoever set it reads them.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

fn main() {
    // Tools that ask for the tests in here get none.
    if std::env::args().any(|arg| arg == "--list") {
        return;
    }
    let given = std::env::var_os("SHMADM_TEST_SKIPS");
    let cargo = std::os::unix::process::parent_id();
    let path = given.as_ref().map_or_else(
        || Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("skipped-{cargo}")),
        |path| Path::new(path).to_owned(),
    );
    let lines = std::fs::read_to_string(&path).unwrap_or_default();
    if given.is_none() && path.exists() {
        std::fs::remove_file(&path).expect("the list of skipped tests");
    }
    let mut tests_of = BTreeMap::<&str, Vec<&str>>::new();
    for line in lines.lines() {
        let (test, reason) = line.trim_start_matches("SKIPPED ").split_once(": ").unwrap_or((line, "?"));
        tests_of.entry(reason).or_default().push(test);
    }
    let mut report = String::new();
    for (reason, tests) in &tests_of {
        let tests = tests.join("\n    ");
        report += &format!("\nskipped, {reason}:\n    {tests}\n");
    }
    report += &format!("\n{} of the tests above were skipped\n\n", lines.lines().count());
    std::io::stdout().write_all(report.as_bytes()).expect("standard output");
}
