//! Owners without an id in the user namespace: they are shown as unknown, and not as the user nobody.

use super::*;

/// Starts a namespace in a user namespace of uid 1234, with three segments: of that user, of root and of uid 65534, the
/// user nobody. The last two have no id inside.
fn namespace_with_owners(ns: &Namespace) -> OtherNamespace {
    needs_namespaces_of_users();
    let there =
        OtherNamespace::start(ordinary("unshare").args(["--user", "--map-root-user", "--ipc", "sleep", "1000"]));
    ended(ordinary(shmadm_path()).args(["--ns", &there.pid, "create", "1", "--size", "4096"])).ok();
    for (key, owner) in [("2", "0:0"), ("3", "65534:65534")] {
        ns.shmadm(["--ns", &there.pid, "create", key, "--size", "4096", "--owner", owner]).ok();
    }
    there
}

/// Returns the fields with these names of each segment, in the order of the list.
fn fields(list: &Value, inode: u64, names: [&str; 4]) -> Vec<Vec<Value>> {
    let found = segments(list, inode);
    found.iter().map(|one| names.iter().map(|name| one[name].clone()).collect()).collect()
}

const IDS: [&str; 4] = ["uid", "gid", "cuid", "cgid"];

#[test]
fn an_owner_without_an_id_is_unknown_in_every_format() {
    in_namespace_as_root(|ns| {
        let there = namespace_with_owners(ns);
        let shmadm = |line: &str| ended(ordinary(shmadm_path()).args(line.split_whitespace()));
        let command = "list --all-namespaces --key 1-3 --sort key -o ns,key,owner,uid,cgid";
        let lines = |words: &str| -> Vec<String> {
            let out = shmadm(&format!("{command} {words}")).out;
            let own = |line: &&str| line.contains(&there.inode.to_string());
            out.lines().filter(own).map(|line| line.split_whitespace().skip(2).collect::<Vec<_>>().join(" ")).collect()
        };
        let [first, second, third]: [String; 3] = lines("").try_into().expect("three lines");
        assert!(first.ends_with(" 1234 1234"), "{first}");
        assert_eq!((&*second, &*third), ("? ? ?", "? ? ?"));
        assert_eq!(&lines("-f raw")[1..], ["? - -", "? - -"]);
        for (format, unknown) in [("csv", ",?,,"), ("export", " OWNER=\"?\" UID=\"\" CGID=\"\"")] {
            let out = shmadm(&format!("{command} -f {format}")).out;
            let own = out.lines().filter(|line| line.contains(&there.inode.to_string()));
            assert_eq!(own.filter(|line| line.ends_with(unknown)).count(), 2, "{out}");
        }

        let list = shmadm("list --all-namespaces -f json").json();
        let uid = Value::from(1234);
        let unknown = vec![Value::Null; 4];
        assert_eq!(fields(&list, there.inode, IDS), [vec![uid; 4], unknown.clone(), unknown.clone()]);
        let names = ["user", "group", "cuser", "cgroup"];
        assert_eq!(fields(&list, there.inode, names)[1..], [unknown.clone(), unknown]);
        let sums = shmadm("list --all-namespaces --sum owner -f json").json();
        let sums = sums["sums"].as_array().expect("an array").clone();
        assert!(sums.iter().any(|sum| sum["owner"] == "?" && sum["segments"].as_u64() >= Some(2)), "{sums:?}");
        let metrics = shmadm("metrics --all-namespaces").out;
        let sample = format!("shmadm_segments{{ns=\"{}\",unit=\"\",owner=\"?\"}} 2", there.inode);
        let unit = regex::Regex::new("unit=\"[^\"]*\"").expect("a pattern");
        assert!(unit.replace_all(&metrics, "unit=\"\"").lines().any(|line| line == sample), "{metrics}");
        // In the namespace itself the kernel shows 65534 for both.
        let stat = shmadm(&format!("--ns {} stat 2", there.pid)).ok();
        assert!(stat.contains("unknown (no uid in this user namespace), group unknown (no gid"), "{stat}");
        let stat = shmadm(&format!("--ns {} stat 3 -f json", there.pid)).json();
        assert_eq!(IDS.map(|name| stat[0][name].clone()), [const { Value::Null }; 4]);
        // Root sees the real owners.
        let list = list_all(ns, &[]);
        let ids = |uid: u32| vec![Value::from(uid); 2];
        let owners: Vec<_> = fields(&list, there.inode, IDS).into_iter().map(|ids| ids[..2].to_vec()).collect();
        assert_eq!(owners, [ids(1234), ids(0), ids(65534)]);
    });
}

#[test]
fn an_unknown_owner_is_not_the_user_nobody() {
    in_namespace_as_root(|ns| {
        let there = namespace_with_owners(ns);
        let shmadm = |line: &str| ended(ordinary(shmadm_path()).args(line.split_whitespace()));
        for filter in ["--owner", "--creator-user", "--group"] {
            let list = shmadm(&format!("list --all-namespaces {filter} 65534 -f json")).json();
            assert!(segments(&list, there.inode).is_empty(), "{filter}: {list}");
            assert_eq!(shmadm(&format!("--ns {} list {filter} 65534 -q", there.pid)).ok(), "", "{filter}");
            let error = shmadm(&format!("--ns {} remove {filter} 65534 --yes", there.pid)).fails(1);
            assert!(error.contains("65534 also stands for each"), "{error}");
        }
        let before = there.table(ns);
        // Snapshots by root, which has all owners, and by the user, without them, have the same segments.
        for list in [list_all(ns, &[]), shmadm("list --all-namespaces -f json").json()] {
            let snapshot = tempfile::NamedTempFile::new().expect("a file");
            fs::write(&snapshot, list.to_string()).expect("a file");
            ended(Command::new("chmod").arg("a+r").arg(snapshot.path())).ok();
            let line = format!("--ns {} list -q --not-in {}", there.pid, snapshot.path().display());
            for new in [shmadm(&line), ended(Command::new(shmadm_path()).args(line.split(' ')))] {
                // The first has another uid inside.
                assert_eq!(new.ok().replace("id:0\n", ""), "", "{list}");
            }
        }
        assert_eq!(there.table(ns), before);
        let removed = shmadm(&format!("--ns {} remove --mine --yes", there.pid)).ok();
        assert_eq!(removed.lines().count(), 1, "{removed}");
        assert_eq!(there.table(ns).len(), 2);
    });
}

#[test]
fn an_unknown_owner_is_not_saved_as_a_number() {
    in_namespace_as_root(|ns| {
        let there = namespace_with_owners(ns);
        ns.shmadm(["--ns", &there.pid, "set", "3", "--mode", "666"]).ok();
        let directory = tempfile::tempdir().expect("a directory");
        ended(Command::new("chmod").arg("777").arg(directory.path())).ok();
        let file = directory.path().join("archive");
        let file = file.to_str().expect("UTF-8");
        ended(ordinary(shmadm_path()).args(["--ns", &there.pid, "save", file, "3"])).ok();
        let restored = ns.shmadm(["restore", file]);
        assert!(restored.code == Some(0) && restored.err.contains("had no id where it was saved"), "{restored:?}");
        let row = &ns.table()[0];
        assert_eq!((&*row.key, &*row.uid, &*row.gid), ("3", "0", "0"));
    });
}

#[test]
fn a_masked_table_does_not_hide_segments_of_a_user_namespace() {
    in_namespace_as_root(|ns| {
        let there = namespace_with_owners(ns);
        let list = |mask: &str| {
            let script = format!(
                "{mask} && exec setpriv --reuid 1234 --regid 1234 --clear-groups {} list --all-namespaces -f json",
                shmadm_path()
            );
            ended(ns.program("unshare").args(["--mount", "sh", "-c", &script])).json()
        };
        let whole = list("true");
        for mask in ["mount -t tmpfs none /proc/sysvipc", "mount --bind /dev/null /proc/sysvipc/shm"] {
            let masked = list(mask);
            let names = ["key", "uid", "rss", "swap"];
            let mut expected = fields(&whole, there.inode, names);
            for fields in &mut expected {
                fields[2..].fill(Value::Null);
            }
            assert_eq!(expected.len(), 3);
            assert_eq!(fields(&masked, there.inode, names), expected, "{mask}");
        }
    });
}
