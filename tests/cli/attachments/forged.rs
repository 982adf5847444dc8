//! Mappings that imitate segments, created by a user without any privilege in an own mount namespace.

use super::{attachments, by_grep, perl, ready, stat};
use crate::support::in_namespace;

#[test]
fn a_forged_mapping_is_not_shown_and_causes_no_error() {
    in_namespace(|ns| {
        // The first files of a new tmpfs have small inode numbers, which are identifiers of segments here.
        for key in 0x2a..0x2a + 40 {
            ns.shmadm(["create", &key.to_string(), "-s", "4K", "-m", "666", "-q"]).ok();
        }
        let (id, key) = (30, format!("{:#010x}", 0x2a + 30));
        let forger = ns.compile("forger");
        let directory = ns.path("mount");
        std::fs::create_dir(&directory).expect("a directory");
        ns.open_to_all();
        let start = |deleted: Option<&str>| {
            // An ordinary user: 1234, or the user of the test itself. It creates a mount namespace in a user namespace,
            // so it must not have an empty bounding set, with which it could not mount there.
            let mut command = if ns.is_root { ns.unprivileged("unshare") } else { ns.program("unshare") };
            command.args(["--user", "--map-root-user", "--mount", "--"]).arg(&forger).arg(&directory);
            ready(command.args([&id.to_string(), &key[2..]]).args(deleted))
        };
        let (kept, deleted) = (start(None), start(Some("deleted")));
        let real = perl(ns, &format!("shmat({id}, undef, 0);"));
        // Only the device differs from that of a real segment.
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
            let expected = if line.starts_with("30 ") { format!("{}{}", real.pid(), ns.doubt()) } else { "-".into() };
            assert_eq!(line.split(' ').nth(1), Some(expected.as_str()), "{line}");
        }
        // The forger does not see the forgery as a segment either.
        let his = ns.shmadm_unprivileged(["stat", &format!("id:{id}"), "-f", "json"]).json()[0].take();
        let missing = u64::from(ns.is_root || his["attachments"] == serde_json::json!([]));
        assert_eq!(his["attachments_missing"], missing, "{his}");
    });
}
