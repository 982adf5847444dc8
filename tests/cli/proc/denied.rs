//! Commands of shmctl(2) that a security module denies: /proc replaces them, or shmadm reports that a value is unknown.

use super::shmadm;
use crate::support::{Namespace, Need, ended, in_namespace, needs, shmadm_path};

// include/uapi/linux/ipc.h and shm.h
const IPC_STAT: u32 = 2;
const IPC_INFO: u32 = 3;
const SHM_STAT: u32 = 13;
const SHM_INFO: u32 = 14;
const SHM_STAT_ANY: u32 = 15;

const MASK: &str = "mount --bind /dev/null /proc/sysvipc/shm";

/// Returns the words that run a program to which these commands of shmctl(2) are denied.
fn without(ns: &Namespace, commands: &[u32]) -> String {
    let program = ns.compile("denies");
    let commands: Vec<_> = commands.iter().map(u32::to_string).collect();
    format!("{} {}", program.display(), commands.join(","))
}

#[test]
fn limits_and_usage_come_from_proc() {
    in_namespace(|ns| {
        ns.shmadm(["create", "5", "--size", "5000"]).ok();
        ns.shmadm(["write", "5", "hello"]).ok();
        ns.shmadm(["create", "6", "--size", "70000"]).ok();
        let denied = without(ns, &[IPC_INFO, SHM_INFO]);
        // Others change the machine's Shmem meanwhile.
        let shmem = regex::Regex::new(r#""shmem":\d+|the machine's \S+|shmem\S* \d+"#).expect("a pattern");
        let answer = |words: &str, line| shmem.replace_all(&shmadm(ns, "true", words, line).ok(), "").into_owned();
        for line in ["limits -f json", "limits", "metrics", "list -f json", "stat 5 -f json"] {
            assert_eq!(answer(&denied, line), answer("", line), "{line}");
        }
        // Without SHM_INFO the number of segments is unknown, and still all are found.
        let ids = shmadm(ns, MASK, &denied, "list -q").ok();
        assert_eq!(ids, "id:0\nid:1\n");
    });
}

#[test]
fn a_segment_that_cannot_be_seen_is_an_error_and_not_left_out() {
    in_namespace(|ns| {
        ns.shmadm(["create", "5", "--size", "5000"]).ok();
        for (commands, is_masked, is_whole) in [
            (&[SHM_STAT_ANY][..], false, true),
            (&[IPC_STAT, SHM_STAT, SHM_STAT_ANY], false, true),
            (&[SHM_STAT_ANY], true, true),
            (&[SHM_STAT, SHM_STAT_ANY], true, false),
            (&[SHM_STAT, SHM_STAT_ANY, SHM_INFO, IPC_INFO], true, false),
        ] {
            let (mount, before) = (if is_masked { MASK } else { "true" }, without(ns, commands));
            for line in ["list", "list -f json", "metrics", "remove --all --yes --dry-run"] {
                let ended = shmadm(ns, mount, &before, line);
                assert_eq!(ended.code, Some(i32::from(!is_whole)), "{commands:?} {is_masked} {line}: {ended:?}");
                if !is_whole {
                    let says = ["does not show", "permission denied"].iter().any(|cause| ended.err.contains(cause));
                    assert!(says, "{commands:?} {is_masked} {line}: {ended:?}");
                }
            }
            let listed = shmadm(ns, mount, &before, "list -f json").out;
            assert_eq!(listed.starts_with(r#"{"segments":"#), is_whole, "{commands:?} {is_masked}: {listed}");
        }
    });
}

#[test]
fn a_removal_is_reported_only_if_it_was_confirmed() {
    in_namespace(|ns| {
        needs(Need::Strace);
        let mut unsure = 0;
        for first in 1..6 {
            ns.shmadm(["create", "5", "--size", "5000", "--exist-ok"]).ok();
            let id = ns.table()[0].id.clone();
            let inject = format!("inject=shmctl:error=EACCES:when={first}+");
            let strace = format!(
                "{MASK} && exec strace -qq -e trace=shmctl -e {inject} -o log {} remove id:{id}",
                shmadm_path()
            );
            let removed = ended(ns.program("unshare").args(["--mount", "sh", "-c", &strace]));
            let denied = std::fs::read_to_string(ns.path("log")).expect("a log").contains("(INJECTED)");
            assert_eq!(removed.out.contains("removed"), !denied, "{first}: {removed:?}");
            assert_eq!(removed.code, Some(i32::from(denied)), "{first}: {removed:?}");
            unsure += u32::from(denied && ns.table().is_empty());
        }
        assert!(unsure > 0, "no IPC_RMID succeeded before a failed inspection");
    });
}
