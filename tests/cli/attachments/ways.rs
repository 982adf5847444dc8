//! Both ways to look into a memory map find the same: PROCMAP_QUERY, and the text that kernels before 6.11 have.

use super::{attachments, by_grep, nattch, perl};
use crate::support::{ended, in_namespace};

/// Runs a program in which ioctl(2) PROCMAP_QUERY is what it is to an old kernel: ENOTTY.
const OLD_KERNEL: &str = r#"#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>
#define FIELD(name) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, name))
int main(int argc, char **argv) {
    struct sock_filter filter[] = {
        FIELD(nr), BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_ioctl, 0, 3),
        FIELD(args[1]), BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0xc0686611, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOTTY),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = { sizeof filter / sizeof *filter, filter };
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program)) return 99;
    execv(argv[1], argv + 1);
    return 98;
}"#;

#[test]
fn the_text_of_the_maps_tells_the_same() {
    in_namespace(|ns| {
        ns.shmadm(["create", "1", "-s", "64K"]).ok();
        let holder = perl(ns, "shmat(0, undef, 0); shmat(0, undef, SHM_RDONLY);");
        let reader = ns.hold(["read", "1", "--hold"]);
        let old_kernel = ns.compile("old_kernel", OLD_KERNEL);
        let shmadm = env!("CARGO_BIN_EXE_shmadm");
        let by_text = ended(ns.program(&old_kernel).args([shmadm, "stat", "id:0", "-f", "json"])).json()[0].take();
        let expected = by_grep(ns, &[holder.pid().as_raw(), reader.pid().as_raw()]);
        assert_eq!(attachments(&by_text), expected);
        assert_eq!((expected.len() as u64, &by_text["attachments_missing"]), (nattch(ns, 0), &0.into()));
        let pid = holder.pid().to_string();
        assert_eq!(ended(ns.program(&old_kernel).args([shmadm, "list", "-q", "--pid", &pid])).ok(), "id:0\n");
    });
}

#[test]
fn each_way_is_taken_where_it_should_be() {
    in_namespace(|ns| {
        if !crate::support::is_installed("strace") {
            return crate::support::skip("attachments::ways::each_way_is_taken_where_it_should_be", "no strace");
        }
        ns.shmadm(["create", "1", "-s", "4K"]).ok();
        let _holder = perl(ns, "shmat(0, undef, 0);");
        let shmadm = env!("CARGO_BIN_EXE_shmadm");
        let old_kernel = ns.compile("old_kernel", OLD_KERNEL).display().to_string();
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
            // One asks whether it may; all others are asked of somebody else's map.
            assert_eq!(count > 1, may_query, "{count}: {}", traced.err);
            assert_eq!(traced.code, Some(0));
        }
    });
}
