//! Real paths as cgroup managers write them.

use super::*;

/// The container id in the paths below.
const ID: &str = "4f5a6b7c8d9e0f1a2b3c4d5e6f708192a3b4c5d6e7f8091a2b3c4d5e6f708192";
/// The id of an enclosing container.
const OUTER: &str = "ffffffffffff0f1a2b3c4d5e6f708192a3b4c5d6e7f8091a2b3c4d5e6f708192";
/// A pod's uid, as the cgroupfs driver writes it.
const POD: &str = "2c48913c-b29f-11e7-9350-020968147796";
/// The same uid, as the systemd driver writes it.
const POD_: &str = "2c48913c_b29f_11e7_9350_020968147796";

fn assert_units(cases: &[(&str, Option<&str>)]) {
    for (path, unit) in cases {
        let fill =
            |text: &str| text.replace("OUTER", OUTER).replace("POD_", POD_).replace("POD", POD).replace("ID", ID);
        let (path, unit) = (fill(path), unit.map(fill));
        let shown = Unit::of_cgroup(path.as_bytes()).map(|unit| unit.to_string());
        assert_eq!(shown, unit, "{path}");
    }
}

#[test]
fn systemd() {
    assert_units(&[
        ("/init.scope", Some("init.scope")),
        ("/system.slice/postgresql.service", Some("postgresql.service")),
        ("/system.slice/postgresql.service/sub/group", Some("postgresql.service")),
        ("/system.slice/system-getty.slice/getty@tty1.service", Some("getty@tty1.service")),
        (r"/system.slice/dev-disk-by\x2duuid-ab.swap", Some(r"dev-disk-by\x2duuid-ab.swap")),
        ("/system.slice/_cpu.service", Some("cpu.service")),
        ("/user.slice/user-1000.slice/session-2.scope", Some("session-2.scope")),
        ("/user.slice/user-1000.slice/user@1000.service/init.scope", Some("user@1000.service/init.scope")),
        (
            "/user.slice/user-1000.slice/user@1000.service/app.slice/app-gnome-firefox-4711.scope",
            Some("user@1000.service/app-gnome-firefox-4711.scope"),
        ),
        ("/user.slice/user-1000.slice/user@1000.service/app.slice", Some("user@1000.service")),
        ("/user.slice/user-1000.slice/user@1000.service", Some("user@1000.service")),
        ("/user.slice/user-1000.slice", Some("user-1000.slice")),
        ("/system.slice", Some("system.slice")),
        ("/system.slice/not a unit", Some("system.slice")),
        ("/", None),
        ("", None),
        ("/.service", None),
        ("/sandbox/76bab07ae082a4d971bb0cde2fb68e29", None),
        ("/foo/system.slice/bar.service", None),
    ]);
}

#[test]
fn docker() {
    assert_units(&[
        ("/docker/ID", Some("docker:4f5a6b7c8d9e")),
        ("/system.slice/docker-ID.scope", Some("docker:4f5a6b7c8d9e")),
        ("/user.slice/user-1000.slice/user@1000.service/user.slice/docker-ID.scope", Some("docker:4f5a6b7c8d9e")),
        // A service manager inside a container, and a container inside a container.
        ("/docker/ID/system.slice/nginx.service", Some("docker:4f5a6b7c8d9e")),
        ("/docker/OUTER/docker/ID", Some("docker:4f5a6b7c8d9e")),
        // --cgroup-parent.
        ("/build/ID", Some("container:4f5a6b7c8d9e")),
        ("/../ID", Some("container:4f5a6b7c8d9e")),
        ("/system.slice/docker.service", Some("docker.service")),
        ("/docker/buildkit", None),
    ]);
}

#[test]
fn containerd_and_podman() {
    assert_units(&[
        ("/default/ID", Some("containerd:4f5a6b7c8d9e")),
        ("/k8s.io/ID", Some("containerd:4f5a6b7c8d9e")),
        ("/system.slice/nerdctl-ID.scope", Some("nerdctl:4f5a6b7c8d9e")),
        ("/machine.slice/libpod-ID.scope", Some("podman:4f5a6b7c8d9e")),
        ("/machine.slice/libpod-ID.scope/container/init.scope", Some("podman:4f5a6b7c8d9e")),
        ("/machine.slice/libpod-conmon-ID.scope", Some("podman-conmon:4f5a6b7c8d9e")),
        ("/machine.slice/machine-libpod_pod_OUTER.slice/libpod-ID.scope", Some("podman:4f5a6b7c8d9e")),
        ("/machine.slice/machine-libpod_pod_ID.slice", Some("podman-pod:4f5a6b7c8d9e")),
        ("/libpod_parent/libpod-ID", Some("podman:4f5a6b7c8d9e")),
        ("/libpod_parent/ID", Some("podman-pod:4f5a6b7c8d9e")),
        (
            "/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-ID.scope/container",
            Some("podman:4f5a6b7c8d9e"),
        ),
        // --cgroups=split, which Quadlet uses: the monitor stays in the service.
        ("/system.slice/nginx.service/libpod-payload-ID", Some("podman:4f5a6b7c8d9e")),
        ("/system.slice/nginx.service/runtime", Some("nginx.service")),
    ]);
}

#[test]
fn kubernetes() {
    assert_units(&[
        // The cgroupfs driver.
        ("/kubepods/burstable/podPOD/ID", Some("pod:burstable/POD/container:4f5a6b7c8d9e")),
        ("/kubepods/besteffort/podPOD/crio-ID", Some("pod:besteffort/POD/cri-o:4f5a6b7c8d9e")),
        ("/kubepods/podPOD/ID", Some("pod:guaranteed/POD/container:4f5a6b7c8d9e")),
        ("/kubepods/podPOD", Some("pod:guaranteed/POD")),
        ("/../../podPOD/ID", Some("pod:POD/container:4f5a6b7c8d9e")),
        // A static pod.
        (
            "/kubepods/burstable/pod0123456789abcdef0123456789abcdef",
            Some("pod:burstable/0123456789abcdef0123456789abcdef"),
        ),
        // The systemd driver.
        (
            "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-podPOD_.slice/cri-containerd-ID.scope",
            Some("pod:burstable/POD/containerd:4f5a6b7c8d9e"),
        ),
        (
            "/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-podPOD_.slice/crio-ID.scope/container",
            Some("pod:besteffort/POD/cri-o:4f5a6b7c8d9e"),
        ),
        (
            "/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-podPOD_.slice/crio-conmon-ID.scope",
            Some("pod:besteffort/POD/cri-o-conmon:4f5a6b7c8d9e"),
        ),
        ("/kubepods.slice/kubepods-podPOD_.slice/docker-ID.scope", Some("pod:guaranteed/POD/docker:4f5a6b7c8d9e")),
        ("/kubepods.slice/kubepods-podPOD_.slice", Some("pod:guaranteed/POD")),
        // kind: the node is itself a container.
        (
            "/docker/OUTER/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-burstable.slice/kubelet-kubepods-burstable-podPOD_.slice/cri-containerd-ID.scope",
            Some("pod:burstable/POD/containerd:4f5a6b7c8d9e"),
        ),
        (
            "/system.slice/docker-OUTER.scope/kubelet/kubepods/podPOD/ID",
            Some("pod:guaranteed/POD/container:4f5a6b7c8d9e"),
        ),
        // containerd that was not configured for the systemd driver.
        (
            "/system.slice/containerd.service/kubepods-burstable-podPOD_.slice:cri-containerd:ID",
            Some("pod:burstable/POD/containerd:4f5a6b7c8d9e"),
        ),
        ("/system.slice:docker:ID", Some("docker:4f5a6b7c8d9e")),
        ("/kubepods.slice/kubepods-burstable.slice", Some("kubepods-burstable.slice")),
        ("/kubepods/burstable", None),
        ("/system.slice/crio-conmon-ID.scope", Some("cri-o-conmon:4f5a6b7c8d9e")),
    ]);
}

#[test]
fn machines_and_jobs() {
    assert_units(&[
        ("/lxc/web", Some("lxc:web")),
        ("/lxc/101/ns/system.slice/cron.service", Some("lxc:101")),
        ("/lxc.payload/web", Some("lxc:web")),
        ("/lxc.payload.web/init.scope", Some("lxc:web")),
        ("/lxc.payload.my.web", Some("lxc:my.web")),
        ("/lxc.monitor.web", Some("lxc-monitor:web")),
        ("/lxc.pivot", None),
        ("/user.slice/user-1000.slice/session-1.scope/lxc.payload.u1", Some("lxc:u1")),
        ("/machine.slice/machine-debian.scope/payload/init.scope", Some("machine:debian")),
        (r"/machine.slice/machine-my\x2dbox.scope/payload", Some("machine:my-box")),
        ("/machine.slice/systemd-nspawn@debian.service/payload/system.slice/ssh.service", Some("machine:debian")),
        (r"/machine.slice/machine-qemu\x2d18\x2dtest.scope/libvirt/emulator", Some("machine:qemu-18-test")),
        ("/system.slice/machine-x.scope", Some("machine-x.scope")),
        ("/slurm/uid_1000/job_280678/step_interactive/task_0", Some("slurm:280678")),
        ("/slurm_node01/uid_1000/job_7/step_batch", Some("slurm:7")),
        ("/system.slice/slurmstepd.scope/job_1392969/step_0/user/task_0", Some("slurm:1392969")),
        ("/system.slice/node01_slurmstepd.scope/job_5/step_extern/slurm", Some("slurm:5")),
        ("/system.slice/slurmstepd.scope/s8G5M22WGXB100/step_0/user", Some("slurm:s8G5M22WGXB100")),
        ("/system.slice/slurmstepd.scope/system", Some("slurmstepd.scope")),
        ("/home/job_1", None),
    ]);
}

#[test]
fn names_are_escaped_and_a_pod_is_named_without_its_container() {
    let unit = Unit::of_cgroup(b"/lxc/a\x1b[31m\xff\xe2\x80\xae").expect("a unit");
    assert_eq!(unit.to_string(), r"lxc:a\x1b[31m\xff\xe2\x80\xae");
    let unit = Unit::of_cgroup(format!("/kubepods/burstable/pod{POD}/{ID}").as_bytes()).expect("a unit");
    for (word, named) in [
        (format!("pod:burstable/{POD}"), true),
        (unit.to_string(), true),
        (format!("pod:burstable/{}", &POD[..8]), false),
        ("burstable".to_owned(), false),
    ] {
        assert_eq!(unit.is_named(&word), named, "{word}");
    }
}
