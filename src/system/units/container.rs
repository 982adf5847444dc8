//! Containers, pods, machines and batch jobs, by the names that their managers give to cgroups.

/// The number of digits of an id that are shown, as in `docker ps`.
const SHOWN: usize = 12;

/// The number of digits in a container's id.
const ID: usize = 64;

/// Returns the name of the innermost container, pod, machine or job in a path.
pub(super) fn name(components: &[&str]) -> Option<String> {
    let mut found = None;
    let mut pod: Option<String> = None;
    for (index, component) in components.iter().enumerate() {
        let above = &components[..index];
        if let Some(name) = kubernetes_pod(component, above) {
            // A container's name starts with its pod's.
            found = Some(name.clone());
            pod = Some(name);
        } else if let Some(name) = container(component, above) {
            found = Some(pod.as_ref().map_or_else(|| name.clone(), |pod| format!("{pod}/{name}")));
        } else if let Some(name) = machine(component, above).or_else(|| job(component, above)) {
            found = Some(name);
        }
    }
    found
}

/// Returns a container by its runtime and the first digits of its id, or an LXC container by its name.
fn container(component: &str, above: &[&str]) -> Option<String> {
    // A runtime that was not configured for systemd uses `slice:runtime:id` as one name.
    if let Some((pod, container)) = colons(component) {
        let pod = kubernetes_pod(pod, &[]).map_or(String::new(), |pod| format!("{pod}/"));
        return Some(format!("{pod}{container}"));
    }
    let parent = above.last().copied().unwrap_or("");
    for (prefix, shown) in [("lxc.payload", "lxc"), ("lxc.monitor", "lxc-monitor"), ("lxc", "lxc")] {
        match component.strip_prefix(prefix).and_then(|rest| rest.strip_prefix('.')) {
            // Since LXC 4. `lxc.pivot` is where LXC itself waits.
            Some(name) if prefix != "lxc" && !name.is_empty() => return Some(format!("{shown}:{name}")),
            // Before LXC 4: a directory below `lxc`.
            None if parent == prefix => return Some(format!("{shown}:{component}")),
            _ => {}
        }
    }
    let name = component.strip_suffix(".scope").unwrap_or(component);
    match name.rsplit_once('-') {
        Some((runtime, id)) if is_id(id) && !runtime.is_empty() => Some(shown(runtime, id)),
        None if is_id(name) => Some(shown(runtime_of(parent), name)),
        _ => podman_pod(component),
    }
}

fn colons(component: &str) -> Option<(&str, String)> {
    let mut parts = component.splitn(3, ':');
    let (slice, runtime, id) = (parts.next()?, parts.next()?, parts.next()?);
    (slice.ends_with(".slice") && is_id(id)).then(|| (slice, shown(runtime, id)))
}

/// Returns the runtime that uses the bare id as the cgroup's name, derived from the parent directory.
fn runtime_of(parent: &str) -> &str {
    match parent {
        "docker" => "docker",
        "libpod_parent" => "podman-pod",
        "k8s.io" | "default" | "moby" => "containerd",
        _ => "container",
    }
}

fn shown(runtime: &str, id: &str) -> String {
    let runtime = match runtime {
        "cri-containerd" => "containerd",
        "libpod" | "libpod-payload" => "podman",
        "libpod-conmon" => "podman-conmon",
        "crio" => "cri-o",
        "crio-conmon" => "cri-o-conmon",
        other => other,
    };
    format!("{runtime}:{}", &id[..SHOWN])
}

fn podman_pod(component: &str) -> Option<String> {
    let name = component.strip_suffix(".slice")?;
    let (_, id) = name.split_once("libpod_pod_")?;
    is_id(id).then(|| shown("podman-pod", id))
}

fn is_id(text: &str) -> bool {
    text.len() == ID && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// Returns a pod by its QoS class and its uid, as in `kubectl get pod -o jsonpath='{.status.qosClass}
/// {.metadata.uid}'`.
fn kubernetes_pod(component: &str, above: &[&str]) -> Option<String> {
    let (uid, class) = match component.strip_suffix(".slice") {
        // The systemd driver writes the whole path into each name, and replaces a dash by an underscore.
        Some(name) => {
            let (path, uid) = name.split_once("-pod")?;
            (uid.replace('_', "-"), path.rsplit('-').next())
        }
        // The cgroupfs driver has one directory for each class.
        None => (component.strip_prefix("pod")?.to_owned(), above.last().copied()),
    };
    if !is_uid(&uid) {
        return None;
    }
    let class = match class {
        Some("burstable") => "burstable/",
        Some("besteffort") => "besteffort/",
        Some("kubepods") => "guaranteed/",
        // The reader's cgroup namespace hides the class.
        _ => "",
    };
    Some(format!("pod:{class}{uid}"))
}

/// Returns whether the text is a pod's uid: 36 characters with dashes, or 32 without for a static pod (created from a
/// file).
fn is_uid(text: &str) -> bool {
    let digits = text.bytes().filter(u8::is_ascii_hexdigit).count();
    let dashes = text.bytes().filter(|byte| *byte == b'-').count();
    digits == 32 && (dashes == 0 || dashes == 4) && digits + dashes == text.len()
}

/// Returns a machine of systemd-machined (systemd-nspawn, libvirt), by the name that `machinectl` shows.
fn machine(component: &str, above: &[&str]) -> Option<String> {
    if above.first() != Some(&"machine.slice") {
        return None;
    }
    let scope = || component.strip_prefix("machine-")?.strip_suffix(".scope");
    let service = || component.strip_prefix("systemd-nspawn@")?.strip_suffix(".service");
    let name = scope().or_else(service)?;
    // systemd writes a dash in a name as \x2d, and visible() leaves that unchanged.
    Some(format!("machine:{}", name.replace(r"\x2d", "-")))
}

/// Returns a Slurm job by its number.
fn job(component: &str, above: &[&str]) -> Option<String> {
    let parent = above.last()?;
    let is_word = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric());
    let job = component.strip_prefix("job_").filter(|job| is_word(job));
    let name = if parent.ends_with("slurmstepd.scope") {
        // Since Slurm 26.05 the directory may be named after the job's SLUID.
        job.or_else(|| Some(component).filter(|sluid| sluid.len() > 10 && sluid.starts_with('s') && is_word(sluid)))
    } else if parent.starts_with("uid_") && above.iter().any(|name| name.starts_with("slurm")) {
        job
    } else {
        None
    };
    name.map(|name| format!("slurm:{name}"))
}
