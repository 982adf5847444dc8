//! Memory cgroups of a test, removed with it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::needs::skip;
use super::wait_until;

/// A memory cgroup of a test.
pub(crate) struct Cgroup {
    directory: PathBuf,
    /// Its path in the hierarchy, as `/proc/PID/cgroup` shows it.
    pub path: String,
}

impl Cgroup {
    /// Creates a cgroup at the root of the hierarchy with the memory controller. Skips the test if that is not
    /// permitted.
    pub(crate) fn new(name: &str) -> Cgroup {
        let Some(root) = root() else { skip("the memory cgroups are not mounted") };
        let path = format!("/shmadm-test-{name}-{:08x}", fastrand::u32(..));
        Cgroup::create(&root, path).unwrap_or_else(|error| skip(format!("cannot make a memory cgroup: {error}")))
    }

    /// Creates a cgroup below this one.
    pub(crate) fn below(&self, name: &str) -> Cgroup {
        // Version 2 needs this; version 1 has no such file.
        let _ = fs::write(self.directory.join("cgroup.subtree_control"), "+memory");
        let root = self.directory.ancestors().nth(self.path.matches('/').count()).expect("the root").to_owned();
        Cgroup::create(&root, format!("{}/{name}", self.path)).expect("a cgroup")
    }

    fn create(root: &Path, path: String) -> io::Result<Cgroup> {
        let directory = root.join(&path[1..]);
        fs::create_dir(&directory)?;
        Ok(Cgroup { directory, path })
    }

    /// Returns the cgroup.procs file, for a shell that moves itself there.
    pub(crate) fn procs(&self) -> PathBuf {
        self.directory.join("cgroup.procs")
    }

    /// Removes the cgroup once its processes have ended.
    #[track_caller]
    pub(crate) fn remove(self) {
        wait_until("the cgroup is empty", || fs::remove_dir(&self.directory).is_ok());
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // Processes that the test has killed may still be ending.
        for _ in 0..500 {
            match fs::remove_dir(&self.directory) {
                Err(error) if error.kind() == io::ErrorKind::ResourceBusy => {
                    std::thread::sleep(std::time::Duration::from_millis(10));
                }
                _ => return,
            }
        }
        // A cgroup that cannot be removed is a mistake of the test: it has not ended a process in it.
        assert!(std::thread::panicking(), "{} is still in use", self.path);
    }
}

/// Returns the mount point of the complete hierarchy with the memory controller.
fn root() -> Option<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mounts").ok()?;
    let of = |kind: &str, option: &str| {
        let mount = mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>());
        let mut mount = mount
            .filter(|words| words[2] == kind && words[3].split(',').any(|word| word == option || option.is_empty()));
        Some(PathBuf::from(mount.next()?[1]))
    };
    let has_memory = |root: &PathBuf| {
        let controllers = fs::read_to_string(root.join("cgroup.controllers")).unwrap_or_default();
        controllers.split_whitespace().any(|controller| controller == "memory")
    };
    of("cgroup", "memory").or_else(|| of("cgroup2", "").filter(has_memory))
}
