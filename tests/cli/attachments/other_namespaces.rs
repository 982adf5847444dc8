//! Mappings of segments in other IPC namespaces, which look the same in /proc/PID/maps, and processes that share
//! memory.

use super::{perl, ready, stat};
use crate::support::{Need, Running, children, in_namespace, in_namespace_as_root, needs};

#[test]
fn a_segment_of_another_namespace_is_not_believed_to_be_ours() {
    in_namespace_as_root(|ns| {
        ns.shmadm(["create", "0x4242", "-s", "4096", "-q"]).ok();
        let forge = ns.compile("forge");
        ns.open_to_all();
        let forger = ready(ns.unprivileged(&forge).args(["0", "0x4242"]));
        let pid = forger.pid().to_string();
        let maps = std::fs::read_to_string(format!("/proc/{pid}/maps")).expect("its maps");
        assert!(maps.contains("/SYSV00004242 (deleted)"), "the forgery is a good one: {maps}");
        // Nobody has it attached, and then somebody has.
        for holds in [false, true] {
            let holder = holds.then(|| perl(ns, "shmat(0, undef, 0);"));
            let pids = holder.as_ref().map_or("-".into(), |holder| holder.pid().to_string());
            let found = stat(ns, 0);
            assert_eq!(found["attachments"].as_array().map_or(9, Vec::len), usize::from(holds), "{found}");
            assert_eq!(ns.shmadm(["list", "-f", "raw", "--no-headings", "-o", "pids"]).ok(), format!("{pids}\n"));
            assert_eq!(ns.shmadm(["list", "-q", "--pid", &pid]).ok(), "");
            assert_eq!(ns.shmadm(["remove", "--pid", &pid, "--include-attached", "-y"]).ok(), "");
            // The forger cannot verify it, but knows how many attachments the kernel counts.
            let listed = if holds { "id:0\n" } else { "" };
            assert_eq!(ns.shmadm_unprivileged(["list", "-q", "--pid", &pid]).ok(), listed);
            let shown = if holds { format!("{pid}?\n") } else { "-\n".into() };
            assert_eq!(ns.shmadm_unprivileged(["list", "-f", "raw", "--no-headings", "-o", "pids"]).ok(), shown);
        }
        assert!(ns.row(0).is_some_and(|row| row.key == "16962"));
    });
}

#[test]
fn only_root_can_verify_and_an_unverified_attachment_removes_nothing() {
    in_namespace_as_root(|ns| {
        needs(Need::Program("setpriv"));
        // Made by root for all, and attached by the user's own process.
        ns.shmadm(["create", "1", "-s", "4096", "-m", "666", "-q"]).ok();
        let attaches = ns.compile("twins");
        ns.open_to_all();
        let holder = ready(ns.unprivileged(&attaches).arg("1"));
        let pid = holder.pid().to_string();
        ns.shmadm(["read", "1", "-o", "/dev/null"]).ok();
        let his = ns.shmadm_unprivileged(["stat", "1", "-f", "json"]).json()[0].take();
        assert_eq!(his["attachments"][0]["unverified"], true, "{his}");
        assert!(ns.shmadm_unprivileged(["stat", "1"]).ok().contains(&format!(" {pid}?  ")));
        let pids = ns.shmadm_unprivileged(["list", "-f", "raw", "--no-headings", "-o", "pids"]).ok();
        assert_eq!(pids, format!("{pid}?\n"));
        assert_eq!(ns.shmadm_unprivileged(["list", "-q", "--pid", &pid]).ok(), "id:0\n");
        let kept = ns.shmadm_unprivileged(["remove", "--pid", &pid, "--include-attached", "-y"]);
        assert_eq!((kept.code, kept.out.as_str()), (Some(0), ""), "{kept:?}");
        // A note explains why a process of another user is not shown.
        let other = perl(ns, "shmat(0, undef, 0);");
        let hidden = ns.shmadm_unprivileged(["list", "-o", "id,pids"]);
        assert!(hidden.err.contains("cannot be inspected; run as root"), "{hidden:?}");
        drop(other);
        // Root can verify it.
        assert_eq!(stat(ns, 0)["attachments"][0].get("unverified"), None);
        let marked = ns.shmadm(["remove", "--pid", &pid, "--include-attached", "-y"]).ok();
        assert!(marked.starts_with("marked"), "{marked}");
        let columns = ["list", "-f", "raw", "--no-headings", "-o", "origkey"];
        assert_eq!(ns.shmadm(columns).ok(), "0x00000001\n");
        assert_eq!(ns.shmadm_unprivileged(columns).ok(), "0x00000001?\n");
        assert_eq!(
            ns.shmadm_unprivileged(["list", "-f", "json"]).json()["segments"][0]["original_key"],
            serde_json::Value::Null
        );
    });
}

#[test]
fn processes_that_share_memory_do_not_hide_another_attachment() {
    in_namespace(|ns| {
        ns.shmadm(["create", "1", "-s", "4096", "-q"]).ok();
        let twins = ready(ns.program(ns.compile("twins")).arg("1"));
        let other = ready(ns.program(ns.path("twins")).arg("1"));
        let found = stat(ns, 0);
        let mut pids: Vec<_> =
            found["attachments"].as_array().expect("an array").iter().map(|one| one["pid"].clone()).collect();
        pids.sort_by_key(serde_json::Value::as_i64);
        let mut expected = [twins.pid().as_raw(), other.pid().as_raw()];
        expected.sort_unstable();
        assert_eq!((pids, &found["attachments_missing"]), (expected.map(Into::into).into(), &0.into()), "{found}");
        // The kernel counts two attachments. A third one, which is not visible, is reported as missing, although four
        // processes show the segment.
        for pid in [&twins, &other].map(Running::pid) {
            assert_eq!(children(pid).len(), 1);
        }
    });
}

#[test]
fn no_more_attachments_are_certain_than_the_kernel_counts() {
    in_namespace_as_root(|ns| {
        let mut returns = ns.program(ns.compile("returns"));
        let _running = ready(returns.stderr(std::fs::File::create(ns.path("pids")).expect("a file")));
        let pids = std::fs::read_to_string(ns.path("pids")).expect("pids");
        let mut pids: Vec<i64> = pids.split_whitespace().map(|pid| pid.parse().expect("a pid")).collect();
        pids.sort_unstable();
        let found = stat(ns, 0);
        assert_eq!(found["nattch"], 1, "{found}");
        let attachments = found["attachments"].as_array().expect("an array").iter();
        let expected = pids.iter().map(|pid| (Some(*pid), Some(true)));
        assert!(attachments.map(|one| (one["pid"].as_i64(), one["unverified"].as_bool())).eq(expected), "{found}");
    });
}

#[test]
fn memory_that_is_shared_with_another_namespace_proves_nothing() {
    in_namespace_as_root(|ns| {
        let lookalike = ns.compile("lookalike");
        let running = ready(&mut ns.program(&lookalike));
        let found = stat(ns, 0);
        // The kernel counts the attachment of the process that nobody finds.
        assert_eq!(found["nattch"], 1, "{found}");
        assert_eq!(
            (&found["attachments"][0]["pid"], &found["attachments"][0]["unverified"]),
            (&running.pid().as_raw().into(), &true.into())
        );
    });
}
