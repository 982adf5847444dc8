//! Systems on which no namespace can be created.

use super::*;
use crate::support::{Need, needs, shmadm_path};

#[test]
fn forbidden_namespaces_are_reported_with_a_hint_at_shared() {
    in_namespace(|ns| {
        let (shmadm, drop) = (shmadm_path(), "setpriv --bounding-set -all --inh-caps -all --");
        for (sysctl, before) in [("max_ipc_namespaces", ""), ("max_user_namespaces", drop)] {
            let script = format!("echo 0 > /proc/sys/user/{sysctl} && exec {before} {shmadm} guard $1 -- touch ran");
            let guard = |option| {
                let mut unshare = ns.program("unshare");
                ended(unshare.args(["--user", "--map-root-user", "--", "sh", "-c", &script, "sh", option]))
            };
            let error = guard("").fails(1);
            assert!(error.contains("namespace") && error.contains("--shared"), "{sysctl}: {error}");
            assert!(!ns.path("ran").exists(), "{sysctl}");
            guard("--shared").ok();
            ns.run("rm", ["ran"]);
        }
    });
}

#[test]
fn forbidden_user_namespaces_are_reported_with_possible_causes() {
    in_namespace(|ns| {
        needs(Need::Strace);
        // The errors of seccomp and the first sysctl, and that of AppArmor.
        for fault in ["-e inject=unshare:error=EPERM", "-P /proc/self/setgroups -e inject=openat:error=EACCES"] {
            let mut strace = ordinary(ns, "strace");
            strace.args(["-f", "--quiet=all", "-o", "/dev/null"]).args(fault.split(' '));
            let error = ended(strace.args([shmadm_path(), "guard", "--", "true"])).fails(1);
            for cause in ["seccomp", "kernel.unprivileged_userns_clone", "kernel.apparmor_restrict_unprivileged_userns"]
            {
                assert!(error.contains(cause), "{fault}: {error}");
            }
            assert!(error.ends_with("; --shared runs the command in this one\n"), "{fault}: {error}");
        }
    });
}
