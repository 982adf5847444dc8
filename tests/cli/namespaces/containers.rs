//! Five namespaces that look like containers, and one that only a mount keeps, in one list with their names.

use super::kept::{kept, only};
use super::*;
use crate::support::{Cgroup, Need, Row, needs, with_input};

const ID: &str = "4f5a6b7c8d9e0f1a2b3c4d5e6f708192a3b4c5d6e7f8091a2b3c4d5e6f708192";
const POD: &str = "2c48913c-b29f-11e7-9350-020968147796";

/// A process in its own IPC namespace and cgroup, with a segment of its own and one whose creator has ended. The cgroup
/// is removed after the process.
struct Container {
    other: OtherNamespace,
    _cgroup: Cgroup,
    unit: String,
}

fn container(ns: &Namespace, parent: &Cgroup, names: &[&str], unit: &str) -> (Container, Vec<Cgroup>) {
    let mut cgroups: Vec<Cgroup> = Vec::new();
    for name in names {
        let cgroup = cgroups.last().unwrap_or(parent).below(name);
        cgroups.push(cgroup);
    }
    let cgroup = cgroups.pop().expect("a cgroup");
    // perl creates a segment and then executes sleep, with the same pid.
    let script =
        r#"echo $$ > "$1"; exec unshare --ipc perl -e 'shmget(9, 12288, 01600) // die $!; exec qw(sleep 1000)'"#;
    needs(Need::Program("perl"));
    let other = OtherNamespace::start(ns.program("sh").args(["-ec", script, "sh"]).arg(cgroup.procs()));
    ns.shmadm(["--ns", &other.pid, "create", "8", "--size", "4K"]).ok();
    ns.shmadm(["--ns", &other.pid, "write", "8", "x"]).ok();
    (Container { other, _cgroup: cgroup, unit: unit.to_owned() }, cgroups)
}

/// Starts five containers. Each is returned with the cgroups around its own, which are removed last.
fn containers(ns: &Namespace, parent: &Cgroup) -> Vec<(Container, Vec<Cgroup>)> {
    let pod = format!("kubepods-besteffort-pod{}.slice", POD.replace('-', "_"));
    let names = [
        (vec![format!("docker-{ID}.scope")], "docker:4f5a6b7c8d9e".to_owned()),
        (vec![format!("libpod-{ID}.scope")], "podman:4f5a6b7c8d9e".to_owned()),
        (vec!["lxc.payload.web".to_owned()], "lxc:web".to_owned()),
        (vec![pod, format!("cri-containerd-{ID}.scope")], format!("pod:besteffort/{POD}/containerd:4f5a6b7c8d9e")),
        (vec![format!("crio-{ID}.scope")], "cri-o:4f5a6b7c8d9e".to_owned()),
    ];
    let running = names.iter().map(|(names, unit)| {
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        container(ns, parent, &names, unit)
    });
    running.collect()
}

#[test]
fn one_list_has_every_container_by_name_and_the_kernels_sums() {
    in_namespace_as_root(|ns| {
        let parent = Cgroup::new("containers");
        let running = containers(ns, &parent);
        let mount = ns.file("kept", "");
        let keeper = kept(ns, &format!("mount --bind $file '{}'", mount.display()));
        let list = list_all(ns, &[]);
        for (Container { other, unit, .. }, _) in &running {
            let known = namespace(&list, other.inode);
            assert_eq!((&known["unit"], &known["segments"]), (&unit.as_str().into(), &2.into()), "{known}");
            let units: Vec<_> = segments(&list, other.inode).iter().map(|one| one["unit"].clone()).collect();
            // The creator and the last user of the second segment have exited.
            assert_eq!(units, [unit.as_str().into(), Value::Null]);
        }
        let inode = only(&list, &mount.display().to_string())["ns"].as_u64().expect("a number");
        assert_eq!(segments(&list, inode).len(), 1);
        let table = ns.shmadm(["list", "--all-namespaces"]).ok();
        for (Container { other, unit, .. }, _) in &running {
            let heading =
                format!("IPC namespace {}, 2 segments, {unit}, process {}: sleep 1000", other.inode, other.pid);
            assert!(table.contains(&heading), "{heading} in {table}");
        }

        // The sums agree with the kernel's tables.
        let sums = ns.shmadm(["list", "--all-namespaces", "--sum", "ns", "-f", "json"]).json();
        let limits = ns.shmadm(["limits", "--all-namespaces", "-f", "json"]).json();
        for (Container { other, .. }, _) in &running {
            let rows = other.table(ns);
            let sum = |column: fn(&Row) -> &str| {
                rows.iter().map(|row| column(row).parse::<u64>().expect("a number")).sum::<u64>()
            };
            let found = sums["sums"].as_array().expect("an array").iter().find(|sum| sum["ns"] == other.inode);
            let found = found.expect("a sum");
            assert_eq!(
                (&found["size"], &found["rss"]),
                (&sum(|row| &row.size).into(), &sum(|row| &row.rss).into()),
                "{found}"
            );
            let known = namespace(&limits, other.inode);
            assert_eq!(
                (&known["usage"]["segments"], &known["usage"]["pages"]),
                (&2.into(), &(sum(|row| &row.size) / 4096).into())
            );
            assert_eq!(known["limits"][0]["used"], 12288, "{known}");
        }
        let resident: u64 = limits["namespaces"]
            .as_array()
            .expect("an array")
            .iter()
            .map(|one| one["usage"]["resident"].as_u64().expect("pages"))
            .sum();
        assert_eq!(limits["resident"], resident * 4096);
        assert!(limits["shmem"].as_u64() >= limits["resident"].as_u64(), "{limits}");
        let by_unit = ns.shmadm(["list", "--all-namespaces", "--sum", "unit", "-f", "json"]).json();
        for (Container { unit, .. }, _) in &running {
            let sums = by_unit["sums"].as_array().expect("an array");
            assert!(
                sums.iter().any(|sum| sum["unit"] == unit.as_str() && sum["size"].as_u64() >= Some(12288)),
                "{unit}: {by_unit}"
            );
        }
        drop(keeper);
    });
}

#[test]
fn metrics_have_every_container_once() {
    in_namespace_as_root(|ns| {
        let parent = Cgroup::new("containers");
        let running = containers(ns, &parent);
        let text = ns.shmadm(["metrics", "--all-namespaces"]).ok();
        for (Container { other, unit, .. }, _) in &running {
            let inode = other.inode;
            for line in [
                // The segment of the ended process belongs to the container, too.
                format!("shmadm_segments{{ns=\"{inode}\",unit=\"{unit}\",owner=\"root\"}} 2"),
                format!("shmadm_size_bytes{{ns=\"{inode}\",unit=\"{unit}\",owner=\"root\"}} 16384"),
                format!("shmadm_orphaned_segments{{ns=\"{inode}\",unit=\"{unit}\",owner=\"root\"}} 1"),
                format!("shmadm_used_segments{{ns=\"{inode}\",unit=\"{unit}\"}} 2"),
            ] {
                assert!(text.lines().any(|known| known == line), "{line} in {text}");
            }
        }
        let mut names: Vec<&str> = text
            .lines()
            .filter(|line| !line.starts_with('#'))
            .map(|line| line.rsplit_once(' ').expect("a value").0)
            .collect();
        let all = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), all, "two samples have the same labels: {text}");
        needs(Need::Program("promtool"));
        let checked = with_input(ns.program("promtool").args(["check", "metrics"]), text.as_bytes());
        assert_eq!((checked.code, &*checked.out, &*checked.err), (Some(0), "", ""));
        // Limits are checked in each container.
        let full = &running[0].0.other;
        full.run(ns, &["sh", "-c", "echo 2 >/proc/sys/kernel/shmmni"]);
        let limits = ns.shmadm(["limits", "--all-namespaces", "--check", "90"]);
        assert_eq!(limits.code, Some(1), "{limits:?}");
        let line = format!("IPC namespace {}: SHMMNI is used to 100.00 %", full.inode);
        assert!(limits.err.lines().any(|note| note.contains(&line)), "{line}: {limits:?}");
        assert!(limits.out.contains(&format!("IPC namespace {}: SHMMNI is full", full.inode)), "{limits:?}");
        assert!(limits.out.contains(&running[1].0.unit) && limits.out.contains("(Shmem)"), "{limits:?}");
    });
}

#[test]
fn an_attachment_of_an_undiscovered_namespace_is_reported() {
    in_namespace_as_root(|ns| {
        ns.shmadm(["create", "7", "--size", "4K"]).ok();
        // A namespace whose only process leaves it and keeps its attachment.
        let mover = ns.compile("mover");
        let script = r#""$1" create 7 --size 10000 -q; exec "$2""#;
        let mut command = ns.program("unshare");
        command.args(["--ipc", "sh", "-ec", script, "sh", shmadm_path()]).arg(mover).stdout(Stdio::null());
        let process = Running(command.spawn().expect("unshare"));
        let pid = process.pid();
        let note = || {
            let list = ns.shmadm(["list", "--all-namespaces", "-f", "json"]);
            let line =
                format!("process {pid} (mover) has a segment of 9.8K attached in an IPC namespace that cannot be seen");
            list.err.lines().any(|note| note.contains(&line))
        };
        wait_until("the note is printed", note);
        let list = ns.shmadm(["list", "--all-namespaces"]);
        assert_eq!(list.err.lines().filter(|line| line.contains(&format!("process {pid} "))).count(), 1, "{list:?}");
    });
}
