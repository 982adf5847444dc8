//! The last test program of `cargo test`: prints the skipped tests, the reasons, and their number.
//!
//! For libtest a skipped test has passed. Each skipped test has added a line to a file of this run of cargo
//! (tests/cli/support/needs.rs). `SHMADM_TEST_SKIPS` names another file, which is not removed here.

#[path = "cli/support/skips.rs"]
mod skips;

use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;

use skips::skips_of_this_run;

fn main() {
    // Tools that list tests find none in this program.
    if std::env::args().any(|arg| arg == "--list") {
        return;
    }
    let given = std::env::var_os("SHMADM_TEST_SKIPS");
    let path = given.as_ref().map_or_else(skips_of_this_run, PathBuf::from);
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
