//! A new file in the directory of the file that it will replace.

use std::ffi::OsStr;
use std::fs::{File, Permissions};
use std::io::{self, Seek};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;

use rustix::fs::{AtFlags, CWD, Mode, OFlags, fstat, linkat, openat, renameat, stat};
use rustix::io::{Errno, retry_on_intr};

use super::name::TemporaryName;
use super::place::{Place, by_descriptor, is_same};

/// A new file in the directory of its target. It is gone when this is dropped or when the process ends, unless
/// [`Temporary::persist`] has moved it into place.
///
/// The file has no name until then (open(2), `O_TMPFILE`), so the kernel removes it, whatever ends the process. Where
/// that is not possible, the file has a temporary name from the beginning.
#[derive(Debug)]
pub(crate) struct Temporary {
    file: File,
    place: Place,
    name: Option<TemporaryName>,
}

impl Temporary {
    /// Creates the file with this mode.
    pub(super) fn new(place: Place, mode: u32) -> io::Result<Temporary> {
        let (file, name) = match unnamed(&place.directory) {
            Some(file) => (file, None),
            None => {
                let (file, name) = TemporaryName::create(&place.directory)?;
                (file, Some(name))
            }
        };
        let temporary = Temporary { file, place, name };
        // open(2) would apply the umask to the mode.
        temporary.file.set_permissions(Permissions::from_mode(mode))?;
        Ok(temporary)
    }

    /// Returns the open file.
    pub(super) fn file(&self) -> &File {
        &self.file
    }

    /// Moves the file into place, and replaces an existing one.
    pub(super) fn persist(mut self) -> io::Result<()> {
        let name = match self.name.take() {
            Some(name) => name,
            None => match self.link(&self.place.name) {
                Ok(()) => return Ok(()),
                Err(errno) => self.link_temporarily(errno)?,
            },
        };
        // The following drop no longer finds the temporary name.
        Ok(renameat(&self.place.directory, name.as_os_str(), &self.place.directory, &self.place.name)?)
    }

    /// Gives the unnamed file a temporary name, after linkat(2) to its final name has failed: linkat(2) never replaces a
    /// file.
    fn link_temporarily(&mut self, errno: Errno) -> io::Result<TemporaryName> {
        if errno == Errno::EXIST
            && let Ok(name) = TemporaryName::link(&self.place.directory, |name| self.link(name))
        {
            return Ok(name);
        }
        // A file system or a security policy can permit new files, but no links.
        let (mut copy, name) = TemporaryName::create(&self.place.directory)?;
        copy.set_permissions(self.file.metadata()?.permissions())?;
        self.file.rewind()?;
        io::copy(&mut self.file, &mut copy)?;
        copy.sync_all()?;
        Ok(name)
    }

    fn link(&self, name: &OsStr) -> Result<(), Errno> {
        // AT_EMPTY_PATH would need CAP_DAC_READ_SEARCH on older kernels (open(2), O_TMPFILE).
        linkat(CWD, by_descriptor(&self.file), &self.place.directory, name, AtFlags::SYMLINK_FOLLOW)
    }
}

/// Creates a file without a name that [`Temporary::link`] can name. Returns `None` if the file system or the kernel has no
/// `O_TMPFILE`, or if /proc is not ours. After any other error, creating a file with a name fails, too.
fn unnamed(directory: &OwnedFd) -> Option<File> {
    // Read only if the file must be copied.
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    let file = retry_on_intr(|| openat(directory, ".", flags, Mode::RUSR | Mode::WUSR)).ok()?;
    let found = stat(by_descriptor(&file)).ok()?;
    is_same(&found, &fstat(&file).ok()?).then(|| file.into())
}
