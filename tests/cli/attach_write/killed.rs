//! A full memory cgroup: the kernel kills the write, and the bytes written so far stay.

use super::memory::Cgroup;
use super::*;
use crate::support::{in_namespace_as_root, skip, wait_until};

const MIB: u64 = 1 << 20;

#[test]
fn a_full_cgroup_kills_the_write_alone_and_is_full_until_the_segment_is_removed() {
    in_namespace_as_root(|ns| {
        // With CAP_SYS_ADMIN shmadm writes through the file of the segment, without it through the attachment.
        for user in ["", "setpriv --reuid 1234 --regid 1234 --clear-groups"] {
            let (Some(small), Some(large)) = (Cgroup::new("32M"), Cgroup::new("128M")) else {
                skip("cannot make a memory cgroup");
            };
            ns.shmadm(["create", "6", "--size", "4K", "--mode", "666"]).ok();
            ns.shmadm(["create", "5", "--size", "64M", "--mode", "666"]).ok();
            ns.open_to_all();
            let mut bystander = ns.hold(["attach-write", "6", "others", "--hold"]);
            let id: i32 =
                ns.table().into_iter().find(|row| row.key == "5").expect("segment 5").id.parse().expect("an id");
            let rss = || ns.row(id).expect("segment 5").rss.parse::<u64>().expect("bytes");

            let killed = ended(small.sh(ns, &format!("exec {user} $0 write 5 --fill 1")).stdin(Stdio::null()));
            assert_eq!((killed.code, killed.signal), (None, Some(9)), "{killed:?}");
            assert_eq!(killed.out, "");
            assert!(killed.err.starts_with("shmadm: warning: writing 64M to segment 0x00000005"), "{killed:?}");
            assert_eq!(killed.err.lines().count(), 1, "{killed:?}");

            // The other process still runs.
            assert_eq!(bystander.0.try_wait().expect("its state"), None);
            assert_eq!(ns.shmadm(["read", "6", "-f", "string"]).ok().trim_end(), "others");
            assert_eq!(ns.table().len(), 2);

            // The bytes written so far are there and are reported. Unwritten parts are not read, because reading
            // allocates pages.
            let written = rss();
            assert!((16 * MIB..32 * MIB).contains(&written), "{written}");
            assert!(contents_of(ns, id, 1 << 20).iter().all(|byte| *byte == 1));
            let stat = &ns.shmadm(["stat", "5", "-f", "json"]).json()[0];
            assert_eq!((&stat["nattch"], &stat["rss"]), (&0.into(), &written.into()), "{stat}");
            assert_eq!(stat["status"], serde_json::json!(["orphan"]), "{stat}");

            // A retry in a cgroup with enough room succeeds.
            ended(large.sh(ns, &format!("exec {user} $0 write 5 --fill 2")).stdin(Stdio::null())).ok();
            assert_eq!(rss(), 64 * MIB);
            assert!(contents_of(ns, id, 64 << 20).iter().all(|byte| *byte == 2));
            // Only the remaining pages are charged to the large cgroup; the small one stays full.
            assert!(large.usage() < 64 * MIB - written + 8 * MIB, "{}", large.usage());
            assert!(small.usage() > written - MIB, "{} of {written}", small.usage());
            ns.shmadm(["remove", "5"]).ok();
            wait_until("the cgroup is empty", || small.usage() < 8 * MIB && large.usage() < 8 * MIB);
            assert_eq!(bystander.end(Signal::SIGTERM), (None, Some(15)));
            ns.shmadm(["remove", "6"]).ok();
        }
    });
}
