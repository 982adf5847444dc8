//! Both ways to read a memory map find the same attachments: PROCMAP_QUERY, and the text that kernels before 6.11 have.

use std::fs;

use super::{attachments, by_grep, nattch, perl};
use crate::support::{Need, ended, in_namespace, needs, shmadm_path};

#[test]
fn both_ways_find_the_same_attachments() {
    in_namespace(|ns| {
        ns.shmadm(["create", "1", "-s", "64K"]).ok();
        let holder = perl(ns, "shmat(0, undef, 0); shmat(0, undef, SHM_RDONLY);");
        let reader = ns.hold(["read", "1", "--hold"]);
        let old_kernel = ns.compile("old_kernel");
        let shmadm = shmadm_path();
        let by_text = ended(ns.program(&old_kernel).args([shmadm, "stat", "id:0", "-f", "json"])).json()[0].take();
        let expected = by_grep(ns, &[holder.pid().as_raw(), reader.pid().as_raw()]);
        assert_eq!(attachments(&by_text), expected);
        assert_eq!((expected.len() as u64, &by_text["attachments_missing"]), (nattch(ns, 0), &0.into()));
        let pid = holder.pid().to_string();
        assert_eq!(ended(ns.program(&old_kernel).args([shmadm, "list", "-q", "--pid", &pid])).ok(), "id:0\n");
    });
}

#[test]
fn without_memfd_create_the_same_attachments_are_found() {
    in_namespace(|ns| {
        needs(Need::Strace);
        ns.shmadm(["create", "1", "-s", "4K"]).ok();
        let holder = perl(ns, "shmat(0, undef, 0);");
        let mut strace = ns.program("strace");
        strace.args(["-f", "-qq", "-o", "log", "-e", "inject=memfd_create:error=EPERM", shmadm_path()]);
        let list = ended(strace.args(["list", "-f", "raw", "--no-headings", "-o", "pids"]));
        assert!(fs::read_to_string(ns.path("log")).expect("a log").contains("(INJECTED)"));
        assert_eq!(list.ok(), format!("{}{}\n", holder.pid(), ns.doubt()));
    });
}

#[test]
fn each_way_is_used_where_it_should_be() {
    in_namespace(|ns| {
        needs(Need::Program("strace"));
        ns.shmadm(["create", "1", "-s", "4K"]).ok();
        let _holder = perl(ns, "shmat(0, undef, 0);");
        let shmadm = shmadm_path();
        let old_kernel = ns.compile("old_kernel").display().to_string();
        let release = ns.run("uname", ["-r"]);
        let mut version = release.split(['.', '-']).map(|number| number.trim().parse::<u32>().unwrap_or(0));
        let has_query = (version.next(), version.next()) >= (Some(6), Some(11));
        for (program, may_query) in [(vec![shmadm], has_query), (vec![old_kernel.as_str(), shmadm], false)] {
            let mut strace = ns.program("strace");
            strace.args(["-f", "-e", "trace=ioctl", "-e", "verbose=none"]).args(program).args(["stat", "id:0"]);
            let traced = ended(&mut strace);
            let queries =
                traced.err.lines().filter(|line| line.contains("0x11, 0x68") || line.contains("PROCMAP_QUERY"));
            let count = queries.count();
            // The first query asks for permission; all others are about maps of other processes.
            assert_eq!(count > 1, may_query, "{count}: {}", traced.err);
            assert_eq!(traced.code, Some(0));
        }
    });
}
