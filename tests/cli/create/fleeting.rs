//! Segments that the kernel destroys with their last detach (kernel.shm_rmid_forced).

use std::io::Read;

use super::*;

#[test]
fn a_segment_that_is_destroyed_with_its_creator_gives_a_warning() {
    in_namespace(|ns| {
        sysctl(ns, "shm_rmid_forced", "1");
        let created = create(ns, "1 --size 1");
        let warning = created.err.clone();
        assert!(created.ok().starts_with("created "));
        assert!(warning.starts_with("shmadm: ") && warning.contains("kernel.shm_rmid_forced"), "{warning}");
        assert!(ns.table().is_empty());
        // The segment is filled and then changed, and must still exist then.
        ns.file("in", "contents");
        for line in ["2 --from in --mode 644 --lock", "2 --from in", "2 --size 1 --mode 644"] {
            let created = create(ns, line);
            assert!(created.err.contains("warning: kernel.shm_rmid_forced is 1"), "{created:?}");
            assert!(created.ok().starts_with("created "));
        }
        let full = ns.shmadm_with_input(["write", "2", "--create", "4"], b"more than four").fails(1);
        assert!(full.contains("the segment is full") && full.ends_with("; the new segment is gone, too\n"), "{full}");
        assert!(ns.table().is_empty());
        sysctl(ns, "shm_rmid_forced", "0");
        assert_eq!(create(ns, "1 --size 1").err, "");
    });
}

#[test]
fn a_segment_that_our_detach_would_destroy_is_not_attached() {
    in_namespace(|ns| {
        // The kernel destroys an unattached segment as soon as its creator has ended. This creator lives.
        let make = "$| = 1; shmwrite(shmget(1, 8, 01600) // die, 'contents', 0, 8) or die; print 1; sleep 100";
        let mut creator = ns.program("perl");
        let mut creator = Running(creator.args(["-e", make]).stdout(Stdio::piped()).spawn().expect("perl"));
        creator.0.stdout.take().expect("a pipe").read_exact(&mut [0]).expect("its segment");
        sysctl(ns, "shm_rmid_forced", "1");
        for line in ["read 1", "read 1 --hold", "write 1 changed", "write 1 changed --create 1", "read id:0 -o out"] {
            let refused = ns.shmadm(line.split(' ')).fails(1);
            assert!(refused.contains("kernel.shm_rmid_forced is 1"), "{line}: {refused}");
            assert_eq!((ns.table().len(), ns.path("out").exists()), (1, false), "{line}");
        }
        // The kernel, not shmadm, destroys it.
        sysctl(ns, "shm_rmid_forced", "0");
        let holder = ns.hold(["read", "1", "--hold"]);
        sysctl(ns, "shm_rmid_forced", "1");
        assert_eq!(ns.shmadm(["read", "1"]).ok(), "contents");
        ns.shmadm(["write", "1", "changes"]).ok();
        assert_eq!((ns.shmadm(["read", "1"]).ok(), ns.table().len()), ("changes\0".into(), 1));
        assert_eq!(holder.end(nix::sys::signal::Signal::SIGTERM), (None, Some(15)));
        assert!(ns.table().is_empty());
    });
}

#[test]
fn an_unreadable_sysctl_is_probed_or_counts_as_1() {
    in_namespace(|ns| {
        for key in ["1", "2"] {
            ns.shmadm(["write", key, "contents", "--create", "8", "--no-nul"]).ok();
        }
        let holder = ns.hold(["read", "2", "--hold"]);
        let without = |hidden: &str, line: &str| {
            let hide = format!("mount -t tmpfs none {hidden} && exec {} {line}", shmadm_path());
            ended(ns.program("unshare").args(["-m", "sh", "-c", &hide]).stdin(Stdio::null()))
        };
        for hidden in ["/proc/sys", "/proc/sys/kernel"] {
            assert_eq!(without(hidden, "read 1").ok(), "contents");
            let created = without(hidden, "create 3 --size 1");
            assert_eq!(created.err, "");
            ns.shmadm(["remove", "3"]).ok();
        }
        assert_eq!(ns.table().len(), 2);
        // No segment can be created, so the value is unknown. It does not matter for a segment that others have
        // attached.
        let usable = ns.run("sh", ["-c", "cat /proc/sys/kernel/shmmni; echo 2 >/proc/sys/kernel/shmmni"]);
        let refused = without("/proc/sys", "read 1").fails(1);
        assert!(refused.contains("kernel.shm_rmid_forced is 1 or cannot be read"), "{refused}");
        assert_eq!(without("/proc/sys", "read 2").ok(), "contents");
        sysctl(ns, "shmmni", usable.trim());
        sysctl(ns, "shm_rmid_forced", "1");
        let created = without("/proc/sys", "create 3 --size 1");
        assert!(created.err.contains("warning: kernel.shm_rmid_forced is 1"), "{created:?}");
        drop(holder);
    });
}
