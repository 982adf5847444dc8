//! `--pid`: what a process created, used last, or has attached.

use nix::sys::signal::Signal;

use super::{make, make_and_stay};
use crate::support::{Namespace, ended, in_namespace};

#[track_caller]
fn listed(ns: &Namespace, pid: i32) -> Vec<i32> {
    let listed = ns.shmadm(["list", "-q", "--pid", &pid.to_string()]).ok();
    listed.lines().map(|id| id.parse().expect("an identifier")).collect()
}

#[test]
fn a_process_is_told_by_what_it_made_used_last_or_has_attached() {
    in_namespace(|ns| {
        let attached = make(ns, "1 -s 8K");
        let used = make(ns, "2 -s 8K");
        make(ns, "3 -s 8K");
        let (made, maker) = make_and_stay(ns, "MAKE; sleep 100;");
        let holder = ns.hold(["read", "1", "--hold", "-o", "/dev/null"]);
        let user = ns.hold(["read", "2", "--hold", "-o", "/dev/null"]);
        let (holder_pid, user_pid) = (holder.pid().as_raw(), user.pid().as_raw());
        assert_eq!(listed(ns, maker.pid().as_raw()), [made]);
        assert_eq!(listed(ns, user_pid), [used]);
        user.end(Signal::SIGTERM);
        assert_eq!(listed(ns, user_pid), [used], "it was the last to use it, and has exited");

        // Another process uses it since: only the holder's memory map still tells.
        ns.shmadm(["read", "1"]).ok();
        assert_ne!(ns.row(attached).expect("its row")[5], holder_pid.to_string());
        assert_eq!(listed(ns, holder_pid), [attached]);
    });
}

#[test]
fn the_same_identifier_in_another_namespace_is_another_segment() {
    in_namespace(|ns| {
        make(ns, "1 -s 8K");
        let shmadm = env!("CARGO_BIN_EXE_shmadm");
        let script =
            format!("{shmadm} create 1 -s 8K -q && {shmadm} read 1 -o /dev/null && exec {shmadm} list --pid $1 -q");
        let holder = ns.hold(["read", "1", "--hold", "-o", "/dev/null"]);
        let pid = holder.pid().to_string();
        // There, the segment has identifier 0 as here, and the process that is looked for is attached to ours.
        let elsewhere = ns.run("unshare", ["--ipc", "sh", "-c", &script, "sh", &pid]);
        assert_eq!(elsewhere, "0\n", "that is what create printed, and nothing is listed");
        assert_eq!(listed(ns, holder.pid().as_raw()), [0]);
    });
}

#[test]
fn a_forged_mapping_attaches_nothing() {
    in_namespace(|ns| {
        make(ns, "0x2a -s 8K");
        // A deleted file of the segment's name, at the root of a file system of the forger's own. The first file there
        // has a small inode number, and the segments up to it exist. The forger lists what it has attached itself.
        for key in 1..=8 {
            make(ns, &format!("{key} -s 1"));
        }
        let forger = ns.compile(
            "forger",
            &r#"#include <fcntl.h>
            #include <stdio.h>
            #include <sys/mman.h>
            #include <sys/wait.h>
            #include <unistd.h>
            int main(int argc, char **argv) {
                int file = open("/SYSV0000002a", O_CREAT | O_RDWR, 0600);
                if (ftruncate(file, 4096) || mmap(0, 4096, PROT_READ, MAP_SHARED, file, 0) == MAP_FAILED) return 1;
                unlink("/SYSV0000002a");
                char pid[20];
                sprintf(pid, "%d", getpid());
                if (!fork()) execl("/shmadm", "shmadm", "list", "-q", "--pid", pid, NULL);
                wait(0);
                FILE *maps = fopen("/proc/self/maps", "r");
                char line[4096];
                while (fgets(line, sizeof line, maps)) fputs(line, stderr);
                return 0;
            }"#
            .replace("\n            ", "\n"),
        );
        // The forger's root is a tmpfs, with what programs need bound into it.
        let script = "set -e; mount -t tmpfs none root; cp $1 $2 root; for d in proc lib lib64 usr; do \
             [ ! -e /$d ] || { mkdir root/$d; mount --rbind /$d root/$d; }; done; exec chroot root /forger";
        std::fs::create_dir(ns.path("root")).expect("a directory");
        let forger = forger.to_str().expect("a path");
        let mut shell = ns.program("unshare");
        shell.args(["--mount", "sh", "-c", script, "sh", forger, env!("CARGO_BIN_EXE_shmadm")]);
        let forged = ended(&mut shell);
        assert!(forged.err.contains("/SYSV0000002a (deleted)"), "the forgery worked: {forged:?}");
        assert_eq!(forged.ok(), "", "and fooled nobody");
    });
}
