//! `demo lifecycle`, step by step against the kernel's own data.

use nix::unistd::Pid;

use super::Show;
use crate::support::{Row, in_namespace};

const STEPS: usize = 8;

/// The kernel's lines of a process's attachments: address, access.
fn attachments(pid: Pid) -> Vec<(String, String)> {
    let maps = std::fs::read_to_string(format!("/proc/{pid}/maps")).expect("maps");
    let attached = maps.lines().filter(|line| line.contains("/SYSV"));
    attached
        .map(|line| {
            let mut words = line.split_whitespace();
            let start = words.next().and_then(|range| range.split_once('-')).expect("a range").0;
            (format!("0x{}", start.trim_start_matches('0')), words.next().expect("an access").to_owned())
        })
        .collect()
}

#[test]
fn each_step_shows_what_the_kernel_has() {
    in_namespace(|ns| {
        ns.run("perl", ["-e", "shmget(7, 1, 01600) // die $!"]);
        let mut show = Show::at(ns, "lifecycle", 1);
        let mine = |table: Vec<Row>| table.into_iter().find(|row| row.key != "7").expect("the row");
        let first = mine(ns.table());
        let key = format!("{:#010x}", first.key.parse::<i32>().expect("a key"));
        let id = &first.id;
        assert_eq!(first.size, "4096");

        for (step, nattch, dest, resident) in [
            (1, 0, false, false),
            (2, 1, false, false),
            (3, 1, false, true),
            (4, 2, false, true),
            (5, 2, false, true),
            (6, 1, false, true),
            (7, 1, true, true),
        ] {
            if step > 1 {
                show.next();
            }
            let title = show.step.iter().find(|line| line.starts_with(|c: char| c.is_ascii_digit())).expect("a title");
            assert!(title.starts_with(&format!("{step} of {STEPS}: ")), "{title}");
            // The story: what the kernel has at this step.
            let kernel = mine(ns.table());
            let number = |field: &str| field.parse::<i64>().expect("a number");
            assert_eq!((kernel.id == *id, number(&kernel.nattch)), (true, nattch), "step {step}: {kernel:?}");
            assert_eq!(
                (kernel.mode.len() == 4, number(&kernel.key) == 0, number(&kernel.rss) > 0),
                (dest, dest, resident),
                "{step}: {kernel:?}"
            );
            // The row, and the picture, have it so.
            let shown_key = if dest { "0x00000000" } else { &*key };
            let (nattch, row) = (nattch.to_string(), show.row());
            assert_eq!([&*row[0], &row[1], &row[4], &row[6]], [shown_key, id, "4K", &*nattch], "{step}: {row:?}");
            assert_eq!((row[5] != "0", row[7] == "dest"), (resident, dest), "{step}: {row:?}");
            assert_eq!(show.pictured("│ key").as_deref(), Some(shown_key), "{step}");
            assert_eq!(show.pictured("│ id").as_deref(), Some(&**id), "{step}");
            assert_eq!(show.pictured("│ nattch").as_deref(), Some(&*nattch), "{step}");
            assert_eq!(show.pictured("│ status").as_deref(), Some(if dest { "dest" } else { "" }), "{step}");
            // Who is attached, and where, as their memory maps have it.
            let attached = |name: &str, access: &str| {
                show.pictured(name).map(|address| vec![(address, access.to_owned())]).unwrap_or_default()
            };
            let pids = show.pids();
            assert_eq!(attached("│ rw", "rw-s"), attachments(pids[0]), "{step}");
            assert_eq!(attached("┼─ ro", "r--s"), pids.get(1).map_or(vec![], |b| attachments(*b)), "{step}");
            if step == 3 {
                let text = ns.run("perl", ["-e", "shmread($ARGV[0], $_, 0, 14) // die $!; print", id]);
                assert_eq!(text, "hello from A\0\0");
            }
        }
        show.next();
        assert!(show.acts().iter().any(|act| act.ends_with("= -1 EINVAL (Invalid argument)")), "{:?}", show.step);
        assert!(show.step.iter().any(|line| line.contains("no segment")), "{:?}", show.step);
        show.end().ok();
        ns.run("ipcrm", ["-M", "7"]);
        assert_eq!(ns.table(), []);
    });
}

#[test]
fn the_calls_are_those_of_the_story() {
    in_namespace(|ns| {
        let mut show = Show::at(ns, "lifecycle", 1);
        let row = ns.table().swap_remove(0);
        let (key, id) = (format!("{:#010x}", row.key.parse::<i32>().expect("a key")), row.id.clone());
        let mut told = Vec::new();
        for step in 1..STEPS {
            if step > 1 {
                show.next();
            }
            let address = |process: usize| {
                let attached = show.pids().get(process).map(|pid| attachments(*pid)).unwrap_or_default();
                attached.first().map_or(String::new(), |(address, _)| address.clone())
            };
            let addresses = [(address(0), "ADDRESS-A"), (address(1), "ADDRESS-B"), (key.clone(), "KEY")];
            let calls = show.acts().into_iter().map(|call| {
                addresses
                    .iter()
                    .filter(|(shown, _)| !shown.is_empty())
                    .fold(call.to_owned(), |call, (shown, name)| call.replace(shown, name))
            });
            told.extend(calls);
        }
        let detach = told.remove(6);
        assert!(detach.starts_with("A  shmdt(0x") && detach.ends_with(") = 0  (success)"), "{detach}");
        assert_eq!(
            told,
            [
                &*format!("A  shmget(KEY, 4096, IPC_CREAT|IPC_EXCL|0600) = {id}  (identifier)"),
                &format!("A  shmat({id}, NULL, 0) = ADDRESS-A  (address)"),
                "A  in C: strcpy(ADDRESS-A, \"hello from A\")",
                &format!("B  shmget(KEY, 0, 000) = {id}  (identifier)"),
                &format!("B  shmat({id}, NULL, SHM_RDONLY) = ADDRESS-B  (address)"),
                "B  in C: puts(ADDRESS-B) prints: hello from A",
                &format!("A  shmctl({id}, IPC_RMID, NULL) = 0  (success)"),
                "A  shmget(KEY, 0, 000) = -1 ENOENT (No such file or directory)",
            ]
        );
    });
}
