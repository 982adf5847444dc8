//! A list on a terminal: width, totals and colours.

use super::*;

/// Returns the first line that is too wide, if there is one.
fn wider_than(columns: usize, out: &str) -> Option<&str> {
    out.lines().find(|line| line.chars().count() > columns)
}

#[test]
fn on_a_terminal_it_fits_and_ends_with_totals() {
    in_namespace(|ns| {
        let (_creator, command) = menagerie(ns);
        for columns in [300, 120, 80, 60, 40] {
            let out = on_terminal(ns, &format!("rows 24 cols {columns}"), "$SHMADM --color never list");
            assert_eq!(out.lines().filter(|line| line.starts_with("0x")).count(), 600, "{columns}");
            assert!(out.lines().last().is_some_and(|line| line.starts_with("600 segments")), "{columns}");
            assert!(out.contains(" 30 marked"), "the count of marked segments is missing at {columns} columns: {out}");
            if columns == 300 {
                let totals = [" 120 attached", " 30 marked"].iter().all(|count| out.contains(count));
                assert!(totals && out.matches(&command).count() >= 120, "there is room for all: {out}");
            }
            assert_eq!(wider_than(columns, &out), None, "on a terminal of {columns} columns");
        }
        assert_eq!(on_terminal(ns, "rows 24 cols 80", "$SHMADM list --no-headings").lines().count(), 600);
        assert!(!list(ns, "").contains("segments"));
    });
}

#[test]
fn added_columns_replace_the_least_important_ones() {
    in_namespace(|ns| {
        let _maker = start(ns.program("perl").args(["-e", STAYS, &"x".repeat(200)]));
        let first = |words: &str| {
            let out = on_terminal(ns, "rows 24 cols 80", &format!("$SHMADM --color never list {words}"));
            out.lines().next().expect("the titles").to_owned()
        };
        let added = first("-o +ctime,cpid,lpid,swap,mode");
        let titles: Vec<_> = added.split_whitespace().collect();
        assert!(added.len() <= 80 && titles.ends_with(&["CTIME", "CPID", "LPID", "SWAP", "MODE"]), "{added}");
        assert!(added.starts_with("KEY") && !added.contains("COMMAND"), "{added}");
        // A column on the command line is not hidden.
        assert!(first("-o +ctime,cpid,lpid,swap,mode,command").contains("COMMAND"));
    });
}

#[test]
fn a_terminal_of_unknown_height_has_a_width() {
    in_namespace(|ns| {
        let _creator = start(ns.program("perl").args(["-e", STAYS, &"x".repeat(200)]));
        let out = on_terminal(ns, "rows 0 cols 80", "$SHMADM --color never list");
        assert_eq!(wider_than(80, &out), None);
    });
}

#[test]
fn colours_are_for_terminals_unless_asked_for() {
    in_namespace(|ns| {
        perl(ns, "shmget(1, 1, 01600)");
        let _lives = start(ns.program("perl").args(["-e", STAYS]));
        let is_coloured = |out: &str, key: &str| {
            let line = out.lines().find(|line| line.contains(key)).expect("a line of it");
            line.contains('\x1b')
        };
        for (line, coloured) in [
            ("$SHMADM list", true),
            ("NO_COLOR=1 $SHMADM list", false),
            ("$SHMADM --color never list", false),
            ("NO_COLOR=1 $SHMADM list --color always", true),
            ("$SHMADM list -f csv", false),
            ("$SHMADM list | cat", false),
            ("$SHMADM list --color always | cat", true),
            ("CLICOLOR_FORCE=1 $SHMADM list | cat", true),
            ("$SHMADM list --color always -f json | cat", false),
        ] {
            let out = on_terminal(ns, "rows 24 cols 80", line);
            assert_eq!(is_coloured(&out, "0x00000001"), coloured, "{line}: {out}");
            assert!(!is_coloured(&out, "0x00000007") && (coloured || !out.contains('\x1b')), "{line}: {out}");
        }
    });
}
