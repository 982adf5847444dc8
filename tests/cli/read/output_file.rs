//! `-o FILE`: whole or not at all.

use super::*;

#[test]
fn a_file_is_replaced_as_a_whole_and_is_private() {
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
fn a_failure_keeps_the_old_file_and_leaves_no_other() {
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
        // The offset is at the end, so there is nothing to read.
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
        assert!(reader.0.wait().expect("its exit status").success() && contents(ns, "got") == bytes);
        assert_eq!(ns.run("stat", ["-c", "%F", "fifo"]), "fifo\n");
        // Protects the machine's own /dev/null: rename(2) cannot replace a mount point.
        let seen = script(ns, "touch null; mount --bind /dev/null null; $0 read 1 -o null; stat -c %F null");
        assert_eq!(seen, "character special file\n");
    });
}

#[test]
fn a_full_disk_keeps_the_old_file() {
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

#[test]
fn an_inherited_descriptor_is_written_at_its_position() {
    in_namespace(|ns| {
        segment(ns, 1, b"new");
        // The file is neither replaced nor truncated, whichever name the descriptor has.
        let seen = script(
            ns,
            "ln -s /dev/stdout link
             for name in /dev/stdout /dev/fd/1 /proc/self/fd/1 /proc/thread-self/fd/1 link; do
                 echo old > out; (echo before; $0 read 1 -o $name; echo; echo after) >> out; cat out
             done; echo cut > out; $0 read 1 -o /dev/fd/3 3<> out; cat out; ls -A",
        );
        let five = "old\nbefore\nnew\nafter\n".repeat(5);
        assert_eq!(seen, format!("{five}new\ncopy1\nlink\nout\n"));
        // Descriptors that shmadm opened itself are not accepted.
        for descriptor in ["3", "4", "5", "99"] {
            let path = format!("/dev/fd/{descriptor}");
            let error = ns.shmadm(["read", "1", "-o", &path]).fails(1);
            let causes = ["Bad file descriptor", "No such file or directory"];
            assert!(causes.iter().any(|cause| error == format!("shmadm: cannot write {path}: {cause}\n")), "{error}");
        }
    });
}

#[test]
fn files_of_others_in_a_shared_directory_are_refused() {
    in_namespace_as_root(|ns| {
        segment(ns, 1, b"secret");
        script(ns, "mkdir shared private; chmod 1777 shared; chmod 0777 private");
        ns.open_to_all();
        let mut stranger = ns.unprivileged("sh");
        let make = "umask 0; for directory in shared private; do cd $directory
                        mkfifo fifo; echo old > file; ln -s fifo to-fifo; cd ..; done";
        assert_eq!(ended(stranger.args(["-c", make])).ok(), "");
        script(ns, "chmod 1777 shared; ln -s $PWD/shared/fifo mine; ln -s shared/file mine2");
        for planted in ["shared/fifo", "shared/file", "mine", "mine2"] {
            // Nobody reads the FIFO, so opening it would wait.
            let error = ended(ns.program("timeout").args(["30", shmadm_path()]).args(["read", "1", "-o", planted]));
            let cause = "it belongs to another user (uid 1234), in a directory where everybody can create files";
            let error = error.fails(1);
            assert!(error.starts_with(&format!("shmadm: cannot write {planted}: {cause}; ")), "{error}");
        }
        assert_eq!(ns.run("cat", ["shared/file"]), "old\n");
        // Links of the stranger are not followed, also where the kernel would follow them.
        let mut stranger = ns.unprivileged("sh");
        let make = "cd shared; ln -s ../target to-file; ln -s .. to-directory; ln -s /proc/self/cwd/.. by-proc";
        assert_eq!(ended(stranger.args(["-c", make])).ok(), "");
        script(ns, "echo old > target; ln -s shared/to-file mine3");
        for planted in ["shared/to-file", "shared/to-directory/target", "shared/by-proc/target", "mine3"] {
            let error = ns.shmadm(["read", "1", "-o", planted]).fails(1);
            assert!(error.contains("it belongs to another user (uid 1234)"), "{planted}: {error}");
            assert_eq!(ns.run("cat", ["target"]), "old\n", "{planted}");
        }
        // Permitted: own links to files and directories.
        script(ns, "ln -s target mine4; ln -s . mine5; ln -s mine5/mine4 shared/own-link");
        for own in ["mine4", "mine5/mine4", "mine5/./mine5/target", "shared/../shared/own-link", "/proc/self/cwd/mine4"]
        {
            script(ns, "echo old > target");
            let read = ns.shmadm(["read", "1", "-o", own]);
            match own {
                // A link is relative to its directory, where there is no such target.
                "shared/../shared/own-link" => assert!(read.fails(1).contains("No such file"), "{own}"),
                _ => assert_eq!((read.ok().as_str(), ns.run("cmp", ["target", "copy1"])), ("", String::new()), "{own}"),
            }
            assert!(ns.path("mine4").is_symlink() && ns.path("mine5").is_symlink(), "{own}");
        }
        // Permitted: an own file, a file of the directory's owner, and a directory that is not sticky.
        let seen = script(
            ns,
            "for file in shared/own private/file; do touch $file; $0 read 1 -o $file; cmp $file copy1; done
             mkfifo shared/pipe; cat shared/pipe > got & $0 read 1 -o shared/pipe; wait; cmp got copy1
             chown 1234 shared; $0 read 1 -o shared/file; cmp shared/file copy1; stat -c %u shared/file",
        );
        assert_eq!(seen, "0\n");
    });
}
