//! Advice that works in the namespace of this process: another IPC namespace (`--ns`), or that of a container.

use std::ffi::OsStr;
use std::sync::OnceLock;

use rustix::fs::{Access, access};
use rustix::io::Errno;

use crate::values::{shell_word, visible};

/// The namespace of `--ns`, once this process has entered it.
static ENTERED: OnceLock<EnteredNamespace> = OnceLock::new();

#[derive(Debug)]
struct EnteredNamespace {
    /// The value of `--ns`, quoted for a shell.
    word: String,
    /// The options with which nsenter(1) enters it, if there are any.
    nsenter: Option<String>,
}

/// Makes all later advice name commands for the namespace of a process.
pub(crate) fn act_in_process(pid: i32) {
    set(pid.to_string(), Some(format!("-t {pid} -i")));
}

/// Makes all later advice name commands for the namespace with this inode.
pub(crate) fn act_in_inode(inode: u64) {
    set(inode.to_string(), None);
}

/// Makes all later advice name commands for the namespace of this file.
pub(crate) fn act_in_file(path: &OsStr) {
    let word = shell_word(&visible(path.as_encoded_bytes()));
    let option = format!("--ipc={word}");
    set(word, Some(option));
}

fn set(word: String, nsenter: Option<String>) {
    // A process enters only one namespace, once.
    let _ = ENTERED.set(EnteredNamespace { word, nsenter });
}

/// Returns advice whose shmadm commands (`` `shmadm list` ``) act in this namespace.
pub(super) fn localized(advice: &str) -> String {
    match ENTERED.get() {
        Some(EnteredNamespace { word, .. }) => advice.replace("`shmadm ", &format!("`shmadm --ns {word} ")),
        None => advice.into(),
    }
}

/// Returns a command of shmadm that acts in this namespace, or in the one with this inode.
pub(crate) fn command(words: &str, inode: Option<u64>) -> String {
    match inode {
        Some(inode) => format!("`shmadm --ns {inode} {words}`"),
        None => localized(&format!("`shmadm {words}`")),
    }
}

/// Returns how to set a sysctl of this IPC namespace, or of the one with this inode. The text continues a sentence that
/// ends with "root can raise it:".
pub(crate) fn sysctl(name: &str, value: u64, inode: Option<u64>) -> String {
    let file = format!("/proc/sys/{}", name.replace('.', "/"));
    if matches!(access(&file, Access::WRITE_OK), Err(Errno::ROFS)) {
        return format!(
            "/proc/sys is read-only here, so where the container is started: `docker run --sysctl {name}={value}`, or \
             securityContext.sysctls of its pod"
        );
    }
    let set = format!("sysctl -w {name}={value}");
    let by_inode = |word: &str| format!("`nsenter -t PID -i {set}`, with a PID from `lsns -t ipc {word}`");
    match (inode, ENTERED.get()) {
        (Some(inode), _) => by_inode(&inode.to_string()),
        (None, None) => format!("`{set}`"),
        (None, Some(EnteredNamespace { nsenter: Some(options), .. })) => format!("`nsenter {options} {set}`"),
        (None, Some(EnteredNamespace { word, nsenter: None })) => by_inode(word),
    }
}

/// The largest SHMMNI of a kernel without the boot option ipcmni_extend (IPCMNI, include/linux/ipc_namespace.h).
const MAX_SEGMENTS: u64 = 32768;

/// Returns advice on how to raise a reached limit: to twice its value, or twice the current use if that is more, as far as
/// the kernel allows.
pub(crate) fn raise(name: &str, limit: u64, used: u64, inode: Option<u64>) -> String {
    let wanted = limit.max(used).saturating_mul(2).max(1);
    match name {
        "kernel.shmmni" if limit == MAX_SEGMENTS => {
            format!("boot a kernel with ipcmni_extend, because others allow no more than {MAX_SEGMENTS} segments")
        }
        "kernel.shmmni" if limit < MAX_SEGMENTS => {
            format!("root can raise it: {}", sysctl(name, wanted.min(MAX_SEGMENTS), inode))
        }
        _ => format!("root can raise it: {}", sysctl(name, wanted, inode)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_of_segments_is_raised_up_to_the_kernels_maximum() {
        for (limit, used, advised) in [
            (4096, 4096, "kernel.shmmni=8192"),
            (2, 4096, "kernel.shmmni=8192"),
            (20_000, 20_000, "kernel.shmmni=32768"),
            (32_768, 32_768, "boot a kernel with ipcmni_extend"),
            (40_000, 40_000, "kernel.shmmni=80000"),
        ] {
            let raise = raise("kernel.shmmni", limit, used, None);
            assert!(raise.contains(advised), "{raise}");
        }
    }
}
