//! `shmadm ftok`: keys of paths and paths of keys, compared with ftok in perl and C.

use std::io::{BufRead, BufReader};
use std::os::unix::fs::symlink;
use std::process::Stdio;

use crate::support::{Namespace, Running, in_namespace, skip};

fn perl_ftok(ns: &Namespace, path: &str, project: &str) -> String {
    let program = r#"use IPC::SysV "ftok"; my ($path, $id) = @ARGV;
        $id = 0 + $id if defined $id and $id =~ /^\d\d+$/;
        printf "0x%08x\n", 0xffffffff & (defined $id ? ftok($path, $id) : ftok($path));"#;
    let mut words = vec!["-e", program, path];
    words.extend((!project.is_empty()).then_some(project));
    ns.run("perl", words)
}

#[test]
fn a_key_is_the_one_that_perl_and_c_compute() {
    in_namespace(|ns| {
        let c_ftok = ns.compile("c_ftok").display().to_string();
        let file = ns.file("file", "").display().to_string();
        symlink(&file, ns.path("link")).expect("a link");
        let link = ns.path("link").display().to_string();
        for path in ["/", "/proc", "/dev/null", ".", &file, &link] {
            for (project, number) in [("A", "65"), ("!", "33"), (":", "58"), ("255", "255"), ("49", "49")] {
                let key = ns.shmadm(["ftok", path, project]).ok();
                assert_eq!(key, ns.run(&c_ftok, [path, number]), "{path} {project}");
                assert_eq!(key, perl_ftok(ns, path, project), "{path} {project}");
            }
            // perl has the same default project id.
            assert_eq!(ns.shmadm(["ftok", path]).ok(), perl_ftok(ns, path, ""), "{path}");
        }
        assert_eq!(ns.shmadm(["ftok", &link, "7"]).ok(), ns.shmadm(["ftok", &file, "7"]).ok());
    });
}

#[test]
fn a_key_finds_the_segment_that_perl_created() {
    in_namespace(|ns| {
        let file = ns.file("file", "").display().to_string();
        ns.run("perl", ["-e", r#"use IPC::SysV "ftok"; shmget(ftok($ARGV[0], "R"), 100, 01600) // die"#, &file]);
        let key = ns.shmadm(["ftok", &file, "R"]).ok();
        let stat = ns.shmadm(["stat", key.trim(), "-f", "json"]).json();
        assert_eq!(stat[0]["size"], 100);
        // The other commands accept the output of --find as a SEGMENT.
        let found = ns.shmadm(["ftok", "--find", key.trim(), "."]).ok();
        assert_eq!(found, "ftok:R:./file\n");
        ns.shmadm(["remove", found.trim()]).ok();
        assert!(ns.table().is_empty());
    });
}

#[test]
fn bad_project_ids_and_missing_paths() {
    in_namespace(|ns| {
        for words in [&["/", "0"][..], &["/", "256"], &["/", "AB"], &["/", ""], &["/", "A", "B"], &[], &["--find", "1"]]
        {
            ns.shmadm([&["ftok"], words].concat()).usage_error();
        }
        for words in [&["--find", "x", "/"][..], &["--find", "0x100000001", "/"]] {
            ns.shmadm([&["ftok"], words].concat()).usage_error();
        }
        let missing = ns.shmadm(["ftok", "/nowhere/at/all"]).fails(1);
        assert!(missing.contains("/nowhere/at/all: No such file or directory"), "{missing}");
        let missing = ns.shmadm(["ftok", "--find", "0x41000001", "/nowhere"]).fails(1);
        assert!(missing.contains("/nowhere: No such file or directory"), "{missing}");
    });
}

/// A perl program that walks /usr/share for a key that two files have. It prints `KEY` and then their paths, one per
/// line.
const PERL_COLLISION: &str = r#"
use File::Find; use IPC::SysV "ftok";
my (%paths, %inodes);
find({ no_chdir => 1, wanted => sub {
    my $key = ftok($_, "A");
    return unless defined $key and not -l $_ and /^[\x20-\x7e]+$/;
    push @{$paths{$key}}, $_;
    $inodes{$key}{(stat)[1]} = 1;
} }, "/usr/share");
for my $key (sort keys %paths) {
    next if keys %{$inodes{$key}} < 2;
    printf "0x%08x\n%s\n", $key & 0xffffffff, join "\n", sort @{$paths{$key}};
    last;
}"#;

#[test]
fn every_path_that_has_a_key_is_found() {
    in_namespace(|ns| {
        let walked = ns.run("perl", ["-e", PERL_COLLISION]);
        let Some((key, paths)) = walked.split_once('\n') else {
            skip("no two files below /usr/share have one key");
        };
        let found = ns.shmadm(["ftok", "--find", key, "/usr/share"]);
        // An ordinary user gets an error for directories that perl cannot read either.
        assert_eq!(found.code, Some(i32::from(!found.err.is_empty())), "{found:?}");
        let mut found: Vec<_> =
            found.out.lines().map(|line| line.strip_prefix("ftok:A:").expect("a project id")).collect();
        found.sort_unstable();
        assert!(found.len() >= 2, "{found:?}");
        assert_eq!(found, paths.lines().collect::<Vec<_>>());
    });
}

#[test]
fn links_are_not_followed() {
    in_namespace(|ns| {
        for directory in ["here", "there"] {
            std::fs::create_dir(ns.path(directory)).expect("a directory");
        }
        ns.file("there/file", "");
        symlink("../there", ns.path("here/directory")).expect("a link");
        symlink("../there/file", ns.path("here/link")).expect("a link");
        symlink("nowhere", ns.path("here/broken")).expect("a link");
        symlink(".", ns.path("here/loop")).expect("a link");
        let key = ns.shmadm(["ftok", "there/file", "9"]).ok();
        ns.shmadm(["ftok", "--find", key.trim(), "here"]).fails(1);
        // A directory on the command line is searched even if its path has links.
        let found = ns.shmadm(["ftok", "--find", key.trim(), "here/directory", "there"]).ok();
        assert_eq!(found, "ftok:9:here/directory/file\nftok:9:there/file\n");
        // A directory has a key, too.
        let key = ns.shmadm(["ftok", "here", "9"]).ok();
        assert_eq!(ns.shmadm(["ftok", "--find", key.trim(), "."]).ok(), "ftok:9:./here\n");
    });
}

#[test]
fn nothing_found_is_exit_1() {
    in_namespace(|ns| {
        ns.file("file", "");
        let key = ns.shmadm(["ftok", "file", "A"]).ok();
        // The key of the neighbouring inode, not that of another path: two paths can have the same key.
        let key = u32::from_str_radix(key.trim().trim_start_matches("0x"), 16).expect("a key");
        let key = format!("{:#010x}", key ^ 1);
        let none = ns.shmadm(["ftok", "--find", &key, "file"]);
        assert_eq!(none.out, "");
        assert!(none.fails(1).contains(&key));
        // A project id is never 0.
        let none = ns.shmadm(["ftok", "--find", "0x2a", "."]);
        assert!(none.fails(1).contains("key 0x0000002a cannot come from ftok(3)"));
    });
}

#[test]
fn unreadable_directories_are_counted_and_the_rest_is_shown() {
    in_namespace(|ns| {
        for name in ["closed", "closed too", "open"] {
            std::fs::create_dir(ns.path(name)).expect("a directory");
        }
        ns.file("open/file", "");
        ns.open_to_all();
        ns.run("chmod", ["0", "closed", "closed too"]);
        let key = ns.shmadm(["ftok", "open/file", "A"]).ok();
        let found = ns.shmadm_unprivileged(["ftok", "--find", key.trim(), "."]);
        ns.run("chmod", ["755", "closed", "closed too"]);
        assert_eq!(found.out, "ftok:A:./open/file\n");
        let message = found.fails(1);
        assert!(message.contains("./closed") && message.contains(" and 1 more: Permission denied;"), "{message}");
    });
}

#[test]
fn names_are_escaped() {
    in_namespace(|ns| {
        let file = ns.file("a\x1b[31mb\nc", "").display().to_string();
        let key = ns.shmadm(["ftok", &file]).ok();
        assert_eq!(ns.shmadm(["ftok", "--find", key.trim(), "."]).ok(), "ftok:1:./a\\x1b[31mb\\x0ac\n");
    });
}

#[test]
fn paths_are_shown_during_the_walk() {
    in_namespace(|ns| {
        ns.file("file", "");
        let key = ns.shmadm(["ftok", "file"]).ok();
        let mut command = ns.command(["ftok", "--find", key.trim(), "file"]);
        // Hundreds of walks through a large directory take longer than a line through a pipe.
        command.args(std::iter::repeat_n("/usr/share", 500)).stdout(Stdio::piped());
        let mut walking = Running(command.spawn().expect("shmadm"));
        let mut line = String::new();
        BufReader::new(walking.0.stdout.take().expect("a pipe")).read_line(&mut line).expect("a line");
        assert_eq!(line, "ftok:1:file\n");
        assert_eq!(walking.0.try_wait().expect("its state"), None, "it has ended already");
    });
}
