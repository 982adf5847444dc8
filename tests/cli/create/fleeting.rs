//! Segments that the kernel destroys with their last detach: kernel.shm_rmid_forced.

use std::io::Read;

use super::*;

#[test]
fn a_segment_that_goes_with_its_maker_is_warned_of() {
    in_namespace(|ns| {
        sysctl(ns, "shm_rmid_forced", "1");
        let made = create(ns, "1 --size 1");
        let warning = made.err.clone();
        assert!(made.ok().starts_with("created "));
        assert!(warning.starts_with("shmadm: ") && warning.contains("kernel.shm_rmid_forced"), "{warning}");
        assert!(ns.table().is_empty());
        // Filled, and then changed once more: it lives until then.
        ns.file("in", "contents");
        for line in ["2 --from in --mode 644 --lock", "2 --from in", "2 --size 1 --mode 644"] {
            let made = create(ns, line);
            assert!(made.err.contains("warning: kernel.shm_rmid_forced is 1"), "{made:?}");
            assert!(made.ok().starts_with("created "));
        }
        let full = ns.shmadm_with_input(["write", "2", "--create", "4"], b"more than four").fails(1);
        assert!(full.contains("the segment is full") && full.ends_with("; the new segment is gone, too\n"), "{full}");
        assert!(ns.table().is_empty());
        sysctl(ns, "shm_rmid_forced", "0");
        assert_eq!(create(ns, "1 --size 1").err, "");
    });
}

#[test]
fn a_segment_that_would_go_with_our_detach_is_not_attached() {
    in_namespace(|ns| {
        // What nobody has attached, and whose creator has ended, goes at once; this creator lives.
        let make = "$| = 1; shmwrite(shmget(1, 8, 01600) // die, 'contents', 0, 8) or die; print 1; sleep 100";
        let mut maker = ns.program("perl");
        let mut maker = Running(maker.args(["-e", make]).stdout(Stdio::piped()).spawn().expect("perl"));
        maker.0.stdout.take().expect("a pipe").read_exact(&mut [0]).expect("its segment");
        sysctl(ns, "shm_rmid_forced", "1");
        for line in ["read 1", "read 1 --hold", "write 1 changed", "write 1 changed --create 1", "read id:0 -o out"] {
            let refused = ns.shmadm(line.split(' ')).fails(1);
            assert!(refused.contains("kernel.shm_rmid_forced is 1"), "{line}: {refused}");
            assert_eq!((ns.table().len(), ns.path("out").exists()), (1, false), "{line}");
        }
        // It does go: that is the kernel's word, not ours.
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
fn a_sysctl_that_cannot_be_read_is_found_out_or_counts_as_one() {
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
            let made = without(hidden, "create 3 --size 1");
            assert_eq!(made.err, "");
            ns.shmadm(["remove", "3"]).ok();
        }
        assert_eq!(ns.table().len(), 2);
        // No segment can be made, so it is unknown, but for one that others have attached.
        let usable = ns.run("sh", ["-c", "cat /proc/sys/kernel/shmmni; echo 2 >/proc/sys/kernel/shmmni"]);
        let refused = without("/proc/sys", "read 1").fails(1);
        assert!(refused.contains("kernel.shm_rmid_forced is 1 or cannot be read"), "{refused}");
        assert_eq!(without("/proc/sys", "read 2").ok(), "contents");
        sysctl(ns, "shmmni", usable.trim());
        sysctl(ns, "shm_rmid_forced", "1");
        let made = without("/proc/sys", "create 3 --size 1");
        assert!(made.err.contains("warning: kernel.shm_rmid_forced is 1"), "{made:?}");
        drop(holder);
    });
}
