//! `-o FILE`: whole or not at all.

use super::*;

#[test]
fn a_file_is_replaced_whole_and_is_its_owners_alone() {
    in_namespace(|ns| {
        segment(ns, 1, b"new");
        let seen = script(
            ns,
            "umask 0; echo old and longer > out; exec 3< out; $0 read 1 -o out; cat <&3; cmp out copy1
             $0 read 1 -o $PWD/made; cmp made copy1; stat -c '%a %F' out made; ls -A",
        );
        assert_eq!(seen, "old and longer\n600 regular file\n600 regular file\ncopy1\nmade\nout\n");
    });
}

#[test]
fn what_fails_leaves_nothing_beside_and_the_old_file_whole() {
    in_namespace(|ns| {
        segment(ns, 1, b"new");
        script(ns, "mkdir directory closed; ln -s nowhere dangling; ln -s loop loop; printf old > old");
        ns.open_to_all();
        ns.run("chmod", ["555", "closed"]);
        let before = ns.run("ls", ["-AR"]);
        let cannot = |target, cause| {
            let error = ns.shmadm_unprivileged(["read", "1", "-o", target]).fails(1);
            assert_eq!(error, format!("shmadm: cannot write {target}: {cause}\n"));
        };
        cannot("directory", "Is a directory");
        cannot(".", "Is a directory");
        cannot("missing/out", "No such file or directory");
        cannot("old/out", "Not a directory");
        cannot("dangling", "No such file or directory");
        cannot("loop", "Too many levels of symbolic links");
        cannot("closed/out", "Permission denied");
        // There is nothing to be read.
        ns.shmadm(["read", "1", "-o", "old", "--offset", "4"]).fails(1);
        ns.shmadm(["read", "2", "-o", "old"]).fails(3);
        assert_eq!((ns.run("ls", ["-AR"]), ns.run("cat", ["old"])), (before, "old".to_owned()));
    });
}

#[test]
fn a_link_stays_and_its_file_is_replaced() {
    in_namespace(|ns| {
        segment(ns, 1, b"new");
        let seen = script(
            ns,
            "mkdir elsewhere; echo old > elsewhere/file; ln -s elsewhere/file link; ln -s link chain
             $0 read 1 -o chain; cmp elsewhere/file copy1; readlink chain link; ls -A elsewhere",
        );
        assert_eq!(seen, "link\nelsewhere/file\nfile\n");
    });
}

#[test]
fn a_device_and_a_fifo_are_written_in_place() {
    in_namespace(|ns| {
        let bytes = random(200_000);
        segment(ns, 1, &bytes);
        ns.run("mkfifo", ["fifo"]);
        let reader = ns.program("sh").args(["-c", "exec cat fifo > got"]).spawn();
        let mut reader = Running(reader.expect("a reader"));
        read(ns, ["1", "-o", "fifo"]);
        assert!(reader.0.wait().expect("its end").success() && contents(ns, "got") == bytes);
        assert_eq!(ns.run("stat", ["-c", "%F", "fifo"]), "fifo\n");
        // The machine's own /dev/null is not risked: a mount point cannot be renamed over.
        let seen = script(ns, "touch null; mount --bind /dev/null null; $0 read 1 -o null; stat -c %F null");
        assert_eq!(seen, "character special file\n");
    });
}

#[test]
fn a_full_disk_leaves_the_old_file_whole() {
    in_namespace(|ns| {
        segment(ns, 1, &random(200_000));
        let seen = script(
            ns,
            "mkdir full; mount -t tmpfs -o size=64k none full; echo old > full/file
             $0 read 1 -o full/file 2>&1 || echo exit $?; ls -A full; cat full/file",
        );
        assert_eq!(seen, "shmadm: cannot write full/file: No space left on device\nexit 1\nfile\nold\n");
    });
}
