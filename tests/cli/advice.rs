//! The advice of error messages, followed exactly in the situation that caused the error.

use std::process::Stdio;

use crate::support::{Ended, Namespace, Need, ended, in_namespace, in_namespace_as_root, needs, shmadm_path};

/// Writes a sysctl of the test's own namespace.
fn sysctl(ns: &Namespace, name: &str, value: &str) {
    ns.run("sh", ["-c", &format!("echo {value} > /proc/sys/kernel/{name}")]);
}

/// Returns the commands that an error shows in backquotes.
fn commands(error: &str) -> Vec<String> {
    error.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// Runs a command from an error in a shell in which `shmadm` is the tested program.
fn follow(ns: &Namespace, command: &str) -> Ended {
    if command.contains("sysctl -w") {
        needs(Need::Program("sysctl"));
    }
    let line = command.replace("shmadm ", &format!("{} ", shmadm_path()));
    ended(ns.program("sh").args(["-c", &line]).stdin(Stdio::null()))
}

#[test]
fn a_segment_that_is_too_small_is_refused_with_advice() {
    in_namespace(|ns| {
        ns.shmadm(["create", "42", "--size", "100"]).ok();
        let holder = ns.hold(["read", "42", "--hold"]);
        for line in ["create 42 --size 200", "create 42 --size 200 --exist-ok", "write 42 x --create 200"] {
            let error = ns.shmadm(line.split(' ')).fails(1);
            assert!(
                error.contains("100 bytes") && error.contains("200 bytes") && !error.contains("--exist-ok"),
                "{error}"
            );
            let holder = format!("stop what has it attached (shmadm{}, 1 attachment)", ns.doubt());
            assert!(error.contains(&holder), "{error}");
        }
        drop(holder);
        for line in ["create 42 --size 200", "create 42 --size 200 --exist-ok", "write 42 x --create 200"] {
            let error = ns.shmadm(line.split(' ')).fails(1);
            let [command] = &commands(&error)[..] else { panic!("{error}") };
            follow(ns, command).ok();
            ns.shmadm(line.split(' ')).ok();
            ns.shmadm(["remove", "42", "-q"]).ok();
            ns.shmadm(["create", "42", "--size", "100"]).ok();
        }
        // The error advised to ask for at most 100 bytes.
        ns.shmadm(["create", "42", "--size", "100", "--exist-ok"]).ok();
    });
}

#[test]
fn a_limit_of_the_address_space_is_named() {
    in_namespace(|ns| {
        ns.shmadm(["create", "1", "--size", "8G", "--no-reserve"]).ok();
        for line in ["read 1 --length 1", "write 1 x"] {
            let script = format!("ulimit -Sv 2000000; $0 {line} && exit 7; ulimit -v unlimited && $0 {line}");
            let ended = ended(ns.program("sh").args(["-c", &script, shmadm_path()]).stdin(Stdio::null()));
            assert!(
                ended
                    .err
                    .contains("the address space is limited to 1.9G (ulimit -v, RLIMIT_AS); `ulimit -v unlimited`"),
                "{ended:?}"
            );
            ended.ok();
        }
    });
}

#[test]
fn an_owner_without_permission_gets_the_command_that_permits_it() {
    in_namespace_as_root(|ns| {
        ns.open_to_all();
        for mode in ["0", "044", "400"] {
            let line = "write 1 text";
            ns.shmadm_unprivileged(["create", "1", "--size", "4K", "-m", mode]).ok();
            let error = ns.shmadm_unprivileged(line.split(' ')).fails(1);
            assert!(error.contains("permission denied; you own it: `shmadm set id:"), "{error}");
            let [command] = &commands(&error)[..] else { panic!("{error}") };
            ns.shmadm_unprivileged(command.split(' ').skip(1)).ok();
            ns.shmadm_unprivileged(line.split(' ')).ok();
            assert_eq!(ns.shmadm_unprivileged(["read", "1", "-f", "string"]).ok(), "text\n");
            ns.shmadm(["remove", "1", "-q"]).ok();
        }
        ns.shmadm(["create", "1", "--size", "4K"]).ok();
        let error = ns.shmadm_unprivileged(["read", "1"]).fails(1);
        assert!(!error.contains("you own it") && error.contains("its owner can give"), "{error}");
    });
}

#[test]
fn the_advised_command_raises_a_reached_limit() {
    in_namespace_as_root(|ns| {
        for (limit, value, line) in [
            ("shmmni", "0", "create 1 --size 1"),
            ("shmall", "4", "create 1 --size 1M"),
            ("shmmax", "4096", "create 1 --size 1M"),
        ] {
            let before = ns.run("cat", [format!("/proc/sys/kernel/{limit}")]);
            sysctl(ns, limit, value);
            let error = ns.shmadm(line.split(' ')).fails(1);
            // No segment can be removed here, so none must be suggested.
            assert!(!error.contains("remove"), "{error}");
            let [command] = &commands(&error)[..] else { panic!("{error}") };
            follow(ns, command).ok();
            ns.shmadm(line.split(' ')).ok();
            ns.shmadm(["remove", "1", "-q"]).ok();
            sysctl(ns, limit, before.trim());
        }
        ns.shmadm(["create", "1", "--size", "8K"]).ok();
        for (limit, value) in [("shmmni", "1"), ("shmall", "2")] {
            let before = ns.run("cat", [format!("/proc/sys/kernel/{limit}")]);
            sysctl(ns, limit, value);
            let error = ns.shmadm(["create", "2", "--size", "8K"]).fails(1);
            assert!(error.contains("remove some"), "{error}");
            let limits = ns.shmadm(["limits"]).out;
            let commands = [commands(&error), commands(&limits)].concat();
            assert!(
                commands.len() == 4 && commands[0] == "shmadm list" && commands[2] == "shmadm list",
                "{commands:?}"
            );
            for command in [&commands[1], &commands[3]] {
                follow(ns, command).ok();
                ns.shmadm(["create", "2", "--size", "8K"]).ok();
                ns.shmadm(["remove", "2", "-q"]).ok();
                sysctl(ns, limit, value);
            }
            sysctl(ns, limit, before.trim());
        }
    });
}

#[test]
fn in_a_container_advice_names_its_runtime() {
    in_namespace_as_root(|ns| {
        sysctl(ns, "shmmni", "0");
        let script =
            "mount --bind /proc/sys /proc/sys && mount -o remount,ro,bind /proc/sys && exec $0 create 1 --size 1";
        let refused = ended(ns.program("unshare").args(["-m", "sh", "-c", script, shmadm_path()]).stdin(Stdio::null()));
        let error = refused.fails(1);
        assert!(error.contains("`docker run --sysctl kernel.shmmni=1`, or securityContext.sysctls"), "{error}");
        assert!(!error.contains("sysctl -w"), "{error}");
    });
}

#[test]
fn in_another_namespace_advice_names_commands_for_that_one() {
    in_namespace_as_root(|ns| {
        let sleep =
            ns.program("unshare").args(["--ipc", "sleep", "1000"]).stdin(Stdio::null()).spawn().expect("unshare");
        let there = crate::support::Running(sleep);
        let pid = there.0.id().to_string();
        crate::support::wait_until("it is in its own namespace", || {
            std::fs::read_link(format!("/proc/{pid}/ns/ipc")).ok()
                != std::fs::read_link("/proc/thread-self/ns/ipc").ok()
                && std::fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|comm| comm == "sleep\n")
        });
        ns.run("nsenter", ["-t", &pid, "-i", "sh", "-c", "echo 1 >/proc/sys/kernel/shmmni"]);
        let file = format!("/proc/{pid}/ns/ipc");
        for word in [&pid, &file] {
            ns.shmadm(["--ns", word, "create", "1", "--size", "1"]).ok();
            let error = ns.shmadm(["--ns", word, "create", "2", "--size", "1"]).fails(1);
            let [list, raise] = &commands(&error)[..] else { panic!("{error}") };
            assert_eq!(list, &format!("shmadm --ns {word} list"));
            assert_eq!(follow(ns, list).ok().lines().count(), 2);
            follow(ns, raise).ok();
            ns.shmadm(["--ns", word, "create", "2", "--size", "1"]).ok();
            assert!(ns.table().is_empty());
            ns.shmadm(["--ns", word, "remove", "--all", "-y"]).ok();
            ns.run("nsenter", ["-t", &pid, "-i", "sh", "-c", "echo 1 >/proc/sys/kernel/shmmni"]);
        }
        // A key that no other namespace of the machine has: that would change the advice.
        let error = ns.shmadm(["--ns", &pid, "read", "0x5eed0007"]).fails(3);
        assert!(error.ends_with(&format!("; `shmadm --ns {pid} list` shows those that exist\n")), "{error}");
    });
}

#[test]
fn a_segment_that_fits_into_no_address_space_is_no_lack_of_memory() {
    in_namespace(|ns| {
        // Linux gives a process at most 128 TiB unless it asks for a higher address.
        ns.shmadm(["create", "1", "--size", "200T", "--no-reserve"]).ok();
        for line in ["save archive 1", "read 1 --length 1", "write 1 x"] {
            for limit in ["unlimited", "2000000"] {
                let script = format!("ulimit -Sv {limit}; exec $0 {line}");
                let error = ended(ns.program("sh").args(["-c", &script, shmadm_path()]).stdin(Stdio::null())).fails(1);
                assert!(error.contains("its 200T do not fit into the address space"), "{line}: {error}");
                assert!(!error.contains("memory") && !error.contains("ulimit"), "{line}: {error}");
            }
        }
        assert!(!ns.path("archive").exists());
    });
}
