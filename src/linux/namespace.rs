//! Namespace files and their ioctls (ioctl_ns(2)).

use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use nix::errno::Errno;
use rustix::fs::fstatfs;

nix::ioctl_none!(
    /// include/uapi/linux/nsfs.h
    ns_get_userns,
    0xb7,
    1
);

/// An open file of the kernel's namespace file system, which keeps its namespace alive.
///
/// The type accepts no other files, so the ioctls never reach the driver of another file.
#[derive(Debug)]
pub(crate) struct NamespaceFile(File);

impl NamespaceFile {
    /// Checks with fstatfs(2) that an open file is a namespace.
    ///
    /// # Errors
    /// `ENOTTY` for every other file, as for ioctl_ns(2).
    pub(crate) fn new(file: File) -> Result<NamespaceFile, Errno> {
        let is_namespace = fstatfs(&file).is_ok_and(|status| status.f_type == libc::NSFS_MAGIC);
        if is_namespace { Ok(NamespaceFile(file)) } else { Err(Errno::ENOTTY) }
    }

    /// Opens the user namespace that owns this namespace: ioctl(2) `NS_GET_USERNS`.
    ///
    /// # Errors
    /// `EPERM` if the owner is not a descendant of this process's user namespace.
    pub(crate) fn owner(&self) -> Result<NamespaceFile, Errno> {
        // SAFETY: this is a namespace, so nsfs answers; NS_GET_USERNS takes no argument and does not access our memory.
        let owner = unsafe { ns_get_userns(self.0.as_raw_fd()) }?;
        // SAFETY: the call succeeded, so this is a new descriptor that nothing else owns.
        let owner = unsafe { OwnedFd::from_raw_fd(owner) };
        Ok(NamespaceFile(owner.into()))
    }
}

impl AsFd for NamespaceFile {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_files_are_refused() {
        let open = |path| NamespaceFile::new(File::open(path).expect(path));
        assert!(open("/proc/self/ns/ipc").is_ok());
        for path in ["/dev/null", "/proc/self/maps", "/"] {
            assert_eq!(open(path).err(), Some(Errno::ENOTTY), "{path}");
        }
    }

    #[test]
    fn the_owner_is_a_namespace_or_refused() {
        let ipc = NamespaceFile::new(File::open("/proc/self/ns/ipc").expect("a namespace")).expect("one");
        // EPERM if an ancestor of our user namespace owns it.
        assert!(matches!(ipc.owner(), Ok(_) | Err(Errno::EPERM)));
    }
}
