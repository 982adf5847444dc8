//! `demo race`: updates are lost, in the order that is shown, and with a lock none is.

use regex::Regex;

use super::Show;
use crate::support::{Namespace, in_namespace};

/// Runs the lesson, and returns how many updates were lost without the lock and with it.
fn lost(ns: &Namespace) -> [u64; 2] {
    let out = ns.shmadm(["demo", "race"]).ok();
    let number = Regex::new(r"number is\s+(\d+):\s+(\d+)\s+updates\s+were\s+lost").expect("a pattern");
    let all: Vec<[u64; 2]> = number
        .captures_iter(&out)
        .map(|captures| captures.extract().1.map(|number| number.parse().expect("a number")))
        .collect();
    assert_eq!(all.len(), 2, "{out}");
    // On a machine with little time to spare, a race can be longer.
    let expected = Regex::new(r"Two\s+times\s+\d+\s+is\s+(\d+),").expect("a pattern");
    let expected: u64 = expected.captures(&out).expect("a sum")[1].parse().expect("a number");
    assert_eq!([all[0][0] + all[0][1], all[1][0] + all[1][1]], [expected, 20_000], "{out}");
    assert_eq!(out.matches(&format!("prints: {}\n", all[0][0])).count(), 1, "{out}");
    let events = Regex::new(r"(?m)^ +(\d+)( +)(reads|writes) (\d+) +(\d+)$").expect("a pattern");
    let events: Vec<_> = events
        .captures_iter(&out)
        .map(|captures| {
            let (_, [ticket, column, what, value, number]) = captures.extract();
            assert_eq!(value, number, "{out}");
            (
                ticket.parse::<u64>().expect("a ticket"),
                column.len(),
                what.to_owned(),
                value.parse::<u64>().expect("a value"),
            )
        })
        .collect();
    // Both have read the same value, and then both have written the next one.
    assert!(events.is_sorted_by(|a, b| a.0 < b.0), "{events:?}");
    let whats: Vec<_> = events.iter().map(|event| &*event.2).collect();
    assert_eq!(whats, ["reads", "reads", "writes", "writes"], "{out}");
    let value = events[0].3;
    assert_eq!(events.iter().map(|event| event.3 - value).collect::<Vec<_>>(), [0, 0, 1, 1], "{events:?}");
    assert!(events[0].1 != events[1].1 && events[2].1 != events[3].1, "{events:?}");
    [all[0][1], all[1][1]]
}

#[test]
fn updates_are_lost_in_20_of_20_runs_and_none_with_a_lock() {
    in_namespace(|ns| {
        for run in 1..=20 {
            let [without, with] = lost(ns);
            assert!(without > 0, "run {run}");
            assert_eq!(with, 0, "run {run}");
        }
        assert_eq!(ns.table(), []);
    });
}

#[test]
fn the_number_that_is_shown_is_in_the_segment() {
    in_namespace(|ns| {
        let show = Show::at(ns, "race", 2);
        let id = ns.table()[0].id.clone();
        let number = ns.run("perl", ["-e", "shmread($ARGV[0], $_, 0, 8) // die $!; print unpack 'Q'", &id]);
        assert!(show.step.iter().any(|line| line.contains(&format!("┤ {number} "))), "{number}: {:?}", show.step);
    });
}
