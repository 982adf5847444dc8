//! Mappings that pretend to be segments, made by a user without any privilege in a mount namespace of his own.

use super::{attachments, by_grep, perl, ready, stat};
use crate::support::in_namespace;

/// Maps files of all these names in a directory, one of them with a given inode number, and then takes the file system away
/// from below: for everyone who looks, the names begin at its root.
const FORGER: &str = r#"#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>
static int file_with_inode(const char *path, unsigned long inode) {
    char other[64];
    for (int i = 0; i < 100000; i++) {
        int file = open(path, O_CREAT | O_EXCL | O_RDWR, 0600);
        struct stat found;
        if (file < 0 || fstat(file, &found)) return -1;
        if (found.st_ino == inode) return file;
        if (found.st_ino > inode) return -1;
        sprintf(other, "other-%d", i);
        if (rename(path, other)) return -1;
        close(file);
    }
    return -1;
}
static int map(int file) {
    return ftruncate(file, 4096) || mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0) == MAP_FAILED;
}
int main(int argc, char **argv) {
    const char *odd[] = { "SYSV", "SYSVx", "SYSV2a", "SYSV0000002a0", "SYSV0000002A", "SYSV0000002a\n", "SYSV\xff\xfe",
                          "\nSYSV0000002a (deleted)", "SYSV0000002a (deleted)", "SYSV0000002a (deleted) (deleted)" };
    if (mount("none", argv[1], "tmpfs", 0, 0) || chdir(argv[1])) return perror("mount"), 1;
    int file = file_with_inode("SYSV0000002a", atol(argv[2]));
    if (file < 0 || map(file)) return perror("SYSV0000002a"), 1;
    if (argv[3] && unlink("SYSV0000002a")) return 1;
    for (unsigned i = 0; i < sizeof odd / sizeof *odd; i++) {
        file = open(odd[i], O_CREAT | O_RDWR, 0600);
        if (file < 0 || map(file)) return perror(odd[i]), 1;
        if (i % 2) unlink(odd[i]);
    }
    if (umount2(argv[1], MNT_DETACH)) return perror("umount"), 1;
    puts("ready"); fflush(stdout); pause();
}"#;

#[test]
fn a_forged_mapping_appears_nowhere_and_stops_nothing() {
    in_namespace(|ns| {
        // The first files of a new tmpfs have small inode numbers, which are identifiers of segments here.
        for key in 0x2a..0x2a + 40 {
            ns.shmadm(["create", &key.to_string(), "-s", "4K", "-m", "666", "-q"]).ok();
        }
        let (id, key) = (30, format!("{:#010x}", 0x2a + 30));
        let forger =
            ns.compile("forger", &FORGER.replace("0000002a", &key[2..]).replace("0000002A", &key[2..].to_uppercase()));
        let directory = ns.path("mount");
        std::fs::create_dir(&directory).expect("a directory");
        ns.open_to_all();
        let start = |deleted: Option<&str>| {
            // An ordinary user: 1234, or where the test is one itself its own, who may make a mount namespace in a user
            // namespace (an empty bounding set would leave him unable to mount there).
            let mut command = if ns.is_root { ns.unprivileged("unshare") } else { ns.program("unshare") };
            command.args(["--user", "--map-root-user", "--mount", "--"]).arg(&forger).arg(&directory);
            ready(command.arg(id.to_string()).args(deleted))
        };
        let (kept, deleted) = (start(None), start(Some("deleted")));
        let real = perl(ns, &format!("shmat({id}, undef, 0);"));
        // The forgery is a good one: nothing but the device differs.
        let line = |pid| ns.run("awk", ["$5 == 30 && /SYSV/", &format!("/proc/{pid}/maps")]);
        let fields = |pid| line(pid).split_whitespace().skip(1).map(str::to_owned).collect::<Vec<_>>();
        let [of_forger, of_holder] = [deleted.pid(), real.pid()].map(|pid| fields(pid.as_raw()));
        assert_eq!(of_forger.len(), 6, "{of_forger:?}");
        assert_eq!([&of_forger[..2], &of_forger[3..]].concat(), [&of_holder[..2], &of_holder[3..]].concat());
        assert_ne!(of_forger[2], of_holder[2], "the device");

        let found = stat(ns, id);
        assert_eq!(attachments(&found), by_grep(ns, &[real.pid().as_raw()]));
        assert_eq!((&found["nattch"], &found["attachments_missing"]), (&1.into(), &0.into()));
        for forger in [&kept, &deleted] {
            assert_eq!(ns.shmadm(["list", "-q", "--pid", &forger.pid().to_string()]).ok(), "");
        }
        let columns = ns.shmadm(["list", "-f", "raw", "--no-headings", "-o", "id,pids,origkey"]).ok();
        for line in columns.lines() {
            let expected = if line.starts_with("30 ") { real.pid().to_string() } else { "-".into() };
            assert_eq!(line.split(' ').nth(1), Some(expected.as_str()), "{line}");
        }
        // The forger cannot fool himself either.
        let his = ns.shmadm_unprivileged(["stat", &format!("id:{id}"), "-f", "json"]).json()[0].take();
        let missing = u64::from(ns.is_root || his["attachments"] == serde_json::json!([]));
        assert_eq!(his["attachments_missing"], missing, "{his}");
    });
}
