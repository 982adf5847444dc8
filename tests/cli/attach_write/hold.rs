//! `attach-write --hold`: attached until a signal arrives, or for a time.

use super::*;

#[test]
fn hold_stays_attached_until_a_signal_ends_it() {
    in_namespace(|ns| {
        ns.shmadm(["create", "5", "--size", "8"]).ok();
        for (signal, number) in [(Signal::SIGTERM, 15), (Signal::SIGINT, 2), (Signal::SIGHUP, 1)] {
            let held = ns.hold(["write", "5", "hello", "--hold"]);
            assert_eq!(
                (column(ns, |row| row.nattch), column(ns, |row| row.lpid)),
                ("1".into(), held.pid().to_string())
            );
            assert_eq!(held.end(signal), (None, Some(number)));
            assert_eq!(column(ns, |row| row.nattch), "0");
        }
    });
}

#[test]
fn hold_for_a_time_ends_by_itself() {
    in_namespace(|ns| {
        ns.shmadm(["create", "5", "--size", "8"]).ok();
        let start = Instant::now();
        let held = write(ns, "5 hello --hold=200ms --at 0x700000000000");
        assert!(start.elapsed() >= Duration::from_millis(200));
        assert_eq!(held.err.lines().count(), 1);
        assert!(held.err.contains("(5, id 0)") && held.err.contains("0x700000000000"), "{held:?}");
        held.ok();
        assert_eq!(column(ns, |row| row.nattch), "0");
    });
}

#[test]
fn a_segment_removed_while_held_is_destroyed_by_the_last_detach() {
    in_namespace(|ns| {
        let held = ns.hold(["write", "5", "hello", "--hold", "--create", "8"]);
        ns.run("ipcrm", ["-M", "5"]);
        assert_eq!(
            (column(ns, |row| row.key), column(ns, |row| row.mode), column(ns, |row| row.nattch)),
            ("0".into(), "1600".into(), "1".into())
        );
        // It has lost its key, but not its identifier.
        write(ns, "5 lost").fails(3);
        write(ns, "id:0 found").ok();
        assert_eq!(contents(ns, 6), b"found\0");
        assert_eq!(held.end(Signal::SIGTERM), (None, Some(15)));
        assert!(ns.table().is_empty());
    });
}
