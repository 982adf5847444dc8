//! Between any two steps of every command its segment is removed, or replaced by another one with its key and index.
//! strace(1) stops the command after one of its calls, the rival acts, and the command continues.

use super::paused::{Act, Before, Line, Step, Until, line, walk};
use crate::support::in_namespace;

const BOTH: &[Act] = &[Act::Remove, Act::Take];

/// Returns whether a step is one of the command itself, not of a program that it runs.
fn own(step: &Step) -> bool {
    step.process == 0
}

#[test]
fn reading_uses_the_segment_that_was_found() {
    const LINES: &[Line] = &[
        line("read 42", &[0, 3]),
        line("read 42 -f hex", &[0, 3]),
        line("read 42 -f string", &[0, 3]),
        line("read 42 -o out", &[0, 3]),
        line("read id:{id}", &[0, 3]),
        line("read 42 --hold=1ms", &[0, 3]).says(&["holding segment 0x0000002a"]),
        line("read 42", &[0, 3]).of(Before::Attached),
    ];
    in_namespace(|ns| walk(ns, LINES, BOTH, own));
}

/// Messages of a command whose new segment another process removed.
const GONE: &[&str] = &["was removed by another process at once", "; the new segment is gone, too"];

#[test]
fn writing_uses_the_segment_that_was_found() {
    const LINES: &[Line] = &[
        line("write 42 ZZZZ", &[0, 3]),
        line("write 42 ZZZZ --fill 7", &[0, 3]),
        line("write 42 --file in --zero", &[0, 3]),
        line("write id:{id} ZZZZ", &[0, 3]),
        line("write 42 ZZZZ --hold=1ms", &[0, 3]).says(&["holding segment 0x0000002a"]),
        line("write 42 ZZZZ", &[0, 3]).of(Before::Attached),
        line("write 42 ZZZZ --create 64", &[0, 3]).uses(Until::Found),
        line("write 42 ZZZZ --create 64", &[0, 1]).of(Before::Nothing).says(GONE).uses(Until::Found),
    ];
    in_namespace(|ns| walk(ns, LINES, BOTH, own));
}

#[test]
fn creating_and_changing_use_the_segment_that_was_created_or_found() {
    const LINES: &[Line] = &[
        line("create 42 --size 64", &[0, 1]).of(Before::Nothing).says(GONE),
        line("create 42 --from in --mode 640", &[0, 1]).of(Before::Nothing).says(GONE),
        line("create 42 --size 64 --owner 0:0", &[0, 1]).of(Before::Nothing).says(GONE),
        line("create 42 --size 64 --lock", &[0, 1]).of(Before::Nothing).says(GONE),
        line("create 42 --size 64", &[1]).says(&["it exists already"]),
        line("create 42 --size 64 --exist-ok", &[0]),
        line("create 42 --exist-ok", &[0, 3]),
        line("set 42 --mode 7", &[0, 3]),
        line("set 42 --owner 0 --group 0 --lock", &[0, 3]),
        line("set id:{id} --mode 7", &[0, 3]),
        line("set 42 --mode 7", &[0, 3]).of(Before::Attached),
    ];
    in_namespace(|ns| walk(ns, LINES, BOTH, own));
}

#[test]
fn removing_uses_the_segment_that_was_chosen() {
    const CHANGED: &[&str] = &["since it was chosen", "skipped 1 attached segment", "nothing to remove"];
    const LEFT: &[&str] = &["the command left ", "  segment 0x", "removed segment 0x", "shmget: File exists"];
    const LINES: &[Line] = &[
        line("remove 42", &[0, 3]),
        line("remove id:{id}", &[0, 3]),
        line("remove 42 --mine", &[0, 3]),
        line("remove 42 --wait", &[0, 3]),
        line("remove 42 --wait", &[0, 1, 3]).of(Before::Attached).says(CHANGED),
        line("remove --key 42 --yes", &[0]).says(CHANGED).uses(Until::Listed),
        line("remove --not-in before --yes", &[0]).says(CHANGED).uses(Until::Listed),
        line("remove --orphaned --yes", &[0]).says(CHANGED).uses(Until::Listed),
        line("remove --all --include-attached --yes", &[0]).of(Before::Attached).says(CHANGED).uses(Until::Listed),
        // A segment that is removed before guard lists the segments is no leak.
        line("guard --shared --remove -- ./rival make 42", &[0, 1]).of(Before::Nothing).says(LEFT).uses(Until::Listed),
    ];
    in_namespace(|ns| walk(ns, LINES, BOTH, own));
}

#[test]
fn a_segment_that_reuses_the_identifier_is_not_removed() {
    const CHANGED: &[&str] =
        &["it changed since it was chosen", "the command left ", "  segment 0x", "removed segment 0x"];
    const NAMED: &[Line] =
        &[line("remove 42", &[0, 1]).says(CHANGED), line("remove id:{id} --wait", &[0, 1]).says(CHANGED)];
    const LISTED: &[Line] = &[
        line("remove --key 42 --yes", &[0]).says(CHANGED),
        line("remove --not-in before --yes", &[0]).says(CHANGED),
        // If the segment goes before guard looks, nothing was left behind.
        line("guard --shared --remove -- ./rival make 42", &[0, 1]).of(Before::Nothing).says(CHANGED),
    ];
    // After the inspection that chose the segment. After the last inspection nobody can detect the change, because the
    // kernel removes by identifier.
    let looked_up: fn(&Step) -> bool = |step| step.call == "shmctl" && step.nth == 1;
    let listed: fn(&Step) -> bool = |step| own(step) && step.call == "read" && step.is_last_read;
    in_namespace(|ns| {
        for (lines, chosen) in [(NAMED, looked_up), (LISTED, listed)] {
            walk(ns, lines, &[Act::Reuse], chosen);
        }
    });
}

#[test]
fn commands_that_only_read_touch_nothing() {
    const LINES: &[Line] = &[
        line("stat 42", &[0, 3]),
        line("stat 42 -f json", &[0, 3]).of(Before::Attached),
        line("stat id:{id} -f json", &[0, 3]),
        line("list -f jsonl", &[0]),
        line("list -o id,pids,origkey", &[0]).of(Before::Attached),
        line("limits", &[0]),
        line("limits -f json --check 99", &[0]),
        line("metrics", &[0]),
        line("metrics -o out", &[0]),
        line("watch --source poll --for 30ms --interval 10ms -f jsonl", &[0]).says(&["watching 1 segment"]),
        line("completions bash --words-before 2 -- shmadm read ", &[0]),
        line("completions fish --words-before 3 -- shmadm remove --key 4", &[0]),
    ];
    in_namespace(|ns| walk(ns, LINES, BOTH, own));
}

#[test]
fn the_demo_uses_its_own_segments() {
    const SAYS: &[&str] =
        &["somebody has removed it", "process B cannot attach segment 0x", "process B cannot find segment 0x"];
    const LINES: &[Line] = &[line("demo", &[0, 1]).of(Before::Nothing).says(SAYS)];
    // It reads the table many times, only for its output.
    in_namespace(|ns| walk(ns, LINES, BOTH, |step| step.call != "read"));
}
