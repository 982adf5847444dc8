//! The targets of `metrics -o` and `guard --report`: other files than regular ones are written in place or refused, a
//! link stays, and a failure changes nothing. `read -o` has its own tests (read/output_file.rs).

use std::os::unix::net::UnixListener;

use crate::support::{Namespace, Running, in_namespace, shmadm_path};

/// Command lines before the file, and after it.
const WAYS: [(&str, &str); 3] =
    [("metrics -o", ""), ("guard --report", "-- true"), ("guard --shared --report", "-- true")];

/// Returns the text that such a line writes without any segment.
#[track_caller]
fn text(ns: &Namespace, (before, _): (&str, &str)) -> String {
    if before.starts_with("metrics") {
        ns.shmadm(["metrics"]).ok()
    } else {
        r#"{"leaked":[],"semaphores":[],"queues":[],"removed":false,"status":0,"command_status":0}"#.to_owned() + "\n"
    }
}

fn words<'a>((before, after): (&'a str, &'a str), target: &'a str) -> Vec<&'a str> {
    before.split(' ').chain([target]).chain(after.split_whitespace()).collect()
}

/// Returns the output of a shell script, in which `$0` is shmadm, in a new mount namespace. The first failure ends the
/// script.
#[track_caller]
fn script(ns: &Namespace, script: &str) -> String {
    ns.run("unshare", ["--mount", "sh", "-ec", script, shmadm_path()])
}

#[test]
fn a_failure_keeps_the_old_file_and_leaves_no_other() {
    in_namespace(|ns| {
        script(
            ns,
            "mkdir directory closed; ln -s nowhere dangling; ln -s loop loop; ln -s directory/ to-directory
             ln -s missing/file far; printf old > old; printf old > closed/old; printf old > mine",
        );
        let _listener = UnixListener::bind(ns.path("socket")).expect("a socket");
        ns.open_to_all();
        ns.run("chmod", ["555", "closed"]);
        ns.run("chmod", ["444", "mine"]);
        let before = ns.run("ls", ["-lAR"]);
        for way in WAYS.into_iter().filter(|(before, _)| *before != "guard --report") {
            for (target, cause) in [
                ("directory", "Is a directory"),
                ("directory/", "Is a directory"),
                ("to-directory", "Is a directory"),
                (".", "Is a directory"),
                ("missing/out", "No such file or directory"),
                ("old/out", "Not a directory"),
                ("dangling", "No such file or directory"),
                ("far", "No such file or directory"),
                ("loop", "Too many levels of symbolic links"),
                ("closed/out", "Permission denied"),
                ("closed/old", "Permission denied"),
                ("mine", "Permission denied"),
                ("socket", "No such device or address"),
            ] {
                let error = ns.shmadm_unprivileged(words(way, target)).fails(1);
                assert_eq!(error, format!("shmadm: cannot write {target}: {cause}\n"), "{way:?}");
            }
        }
        // Without privilege the other line has to create a user namespace. A bad target is reported before that.
        for target in ["directory", "dangling", "missing/out", "socket"] {
            ns.shmadm(words(WAYS[1], target)).fails(1);
            let ran = ns.shmadm(["guard", "--report", target, "--", "sh", "-c", "echo ran; exit 7"]);
            let (status, printed) = if target == "socket" { (7, "ran\n") } else { (1, "") };
            assert_eq!(ran.out, printed, "{target}");
            ran.fails(status);
        }
        assert_eq!(ns.run("ls", ["-lAR"]), before);
        assert_eq!(ns.run("cat", ["old", "closed/old", "mine"]), "oldoldold");
    });
}

#[test]
fn a_link_stays_and_its_file_is_replaced() {
    in_namespace(|ns| {
        for way in WAYS {
            let line = words(way, "chain").join(" ");
            let seen = script(
                ns,
                &format!(
                    "rm -rf elsewhere link chain; mkdir elsewhere; echo old > elsewhere/file; exec 3< elsewhere/file
                     ln -s elsewhere/file link; ln -s link chain; umask 077; $0 {line}
                     readlink chain link; ls -A elsewhere; stat -c '%a %F' elsewhere/file; cat <&3; cat elsewhere/file"
                ),
            );
            let expected = format!("link\nelsewhere/file\nfile\n644 regular file\nold\n{}", text(ns, way));
            assert_eq!(seen, expected, "{way:?}");
        }
    });
}

#[test]
fn a_device_a_fifo_and_a_pipe_are_written_in_place() {
    in_namespace(|ns| {
        ns.run("mkfifo", ["fifo"]);
        for way in WAYS {
            let reader = ns.program("sh").args(["-c", "exec cat fifo > got"]).spawn();
            let mut reader = Running(reader.expect("a reader"));
            ns.shmadm(words(way, "fifo")).ok();
            assert!(reader.0.wait().expect("its exit status").success(), "{way:?}");
            assert_eq!(std::fs::read_to_string(ns.path("got")).expect("a file"), text(ns, way), "{way:?}");
            assert_eq!(ns.shmadm(words(way, "/dev/stdout")).ok(), text(ns, way), "{way:?}");
            // Protects the machine's own /dev/null: rename(2) cannot replace a mount point.
            let line = words(way, "null").join(" ");
            let line = format!("touch null; mount --bind /dev/null null; $0 {line}; stat -c %F null fifo");
            assert_eq!(script(ns, &line), "character special file\nfifo\n", "{way:?}");
        }
    });
}
