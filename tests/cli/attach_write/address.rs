//! `attach-write --at`, `--round` and `--remap`: where the segment is attached.

use super::*;

#[test]
fn an_address_can_be_requested() {
    in_namespace(|ns| {
        create_filled(ns, 8);
        for words in ["--at 0x700000000000", "--at 0x700000000fff --round", "--at 0x700000000000 --remap"] {
            let written = write(ns, &format!("5 hello -v {words}"));
            assert!(written.err.contains("attached at 0x700000000000\n"), "{written:?}");
            assert!(written.err.contains("wrote 6 bytes"), "{written:?}");
            assert_eq!(written.ok(), "");
        }
        write(ns, "5 --file crosses").ok();
        let error = write(ns, "5 hello --at 0x700000000fff").fails(1);
        assert!(error.contains("0x700000000fff") && error.contains("--round"), "{error}");
        assert_eq!(contents(ns, 8), b"xxxxxxxx");
    });
}

#[test]
fn an_unavailable_address_is_distinguished_from_other_causes() {
    in_namespace(|ns| {
        ns.shmadm(["create", "5", "--size", "8", "--mode", "666"]).ok();
        ns.shmadm(["create", "6", "--size", "1T", "--no-reserve"]).ok();
        let names_address =
            |error: &str| error.contains("at 0x") && !error.contains("its owner") && !error.contains("memory");
        let error = ns.shmadm_unprivileged(["write", "5", "x", "--at", "0x10", "--round"]).fails(1);
        assert!(names_address(&error) && error.contains("vm.mmap_min_addr") && !error.contains("--r"), "{error}");
        // On x86, Arm and RISC-V no process can have such an address.
        for remap in ["", " --remap"] {
            let error = write(ns, &format!("5 x --at 0x4000000000000000{remap}")).fails(1);
            assert!(names_address(&error) && error.contains("address space") && !error.contains("--r"), "{error}");
        }
        // The address is valid, but the process may not map so many bytes.
        let mut limited = ns.program("prlimit");
        limited.args(["--as=1073741824", "--", shmadm_path(), "write", "6", "x"]);
        let error = ended(limited.args(["--at", "0x600000000000"])).fails(1);
        assert!(error.contains("not enough memory"), "{error}");
        for (words, code) in [("id:9 x --at 0x600000000000", 3), ("id:9 x --at 1", 3), ("5 x --at 1", 1)] {
            let error = write(ns, words).fails(code);
            assert_eq!(error.contains("no such segment"), code == 3, "{words}: {error}");
            assert_eq!(error.contains("misaligned"), code == 1, "{words}: {error}");
        }
        // With write permission alone the error is the same.
        ns.shmadm(["set", "5", "--mode", "222"]).ok();
        let error = ns.shmadm_unprivileged(["write", "5", "x", "--at", "1"]).fails(1);
        assert!(error.contains("misaligned"), "{error}");
    });
}

#[test]
fn remap_does_not_replace_the_programs_own_memory() {
    in_namespace(|ns| {
        ns.shmadm(["create", "5", "--size", "4096"]).ok();
        // Without address space randomisation, every process of the program has the same mappings.
        let mut held = ns.program("setarch");
        held.args(["-R", shmadm_path(), "read", "5", "--hold", "-o", "/dev/null"]).stderr(Stdio::null());
        let holder = Running(held.spawn().expect("shmadm"));
        wait_until("it holds", || ns.row(0).is_some_and(|row| row.nattch == "1"));
        let maps = std::fs::read_to_string(format!("/proc/{}/maps", holder.pid())).expect("its maps");
        let own = |line: &&str| ["/shmadm", "[heap]", "[stack]"].iter().any(|name| line.contains(name));
        let own: Vec<_> = maps.lines().filter(own).collect();
        assert!(own.len() > 3, "{maps}");
        for line in own {
            let start = line.split('-').next().expect("an address");
            let mut write = ns.program("setarch");
            write.args(["-R", shmadm_path(), "write", "5", "x", "--remap", "--at", &format!("0x{start}")]);
            let error = ended(&mut write).fails(1);
            assert!(error.contains("something is mapped there"), "{line}: {error}");
        }
    });
}
