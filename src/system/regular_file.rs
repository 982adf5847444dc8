//! Reading files of the system's configuration. In an image that somebody else made, another kind of file can be in their
//! place.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

/// The maximum size of a file that is read: more than any real file has.
pub(crate) const MAX_BYTES: u64 = 64 << 20;
/// The number of the device /dev/null: major 1, minor 3 (null(4)).
const NULL_DEVICE: u64 = 0x103;

/// Opens a file, if it is a regular file of at most [`MAX_BYTES`]. Reading a FIFO or a device could wait forever.
pub(super) fn open(path: impl AsRef<Path>) -> io::Result<File> {
    let file = File::options().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
    match file.metadata()? {
        metadata if metadata.is_dir() => Err(io::ErrorKind::IsADirectory.into()),
        metadata if !metadata.is_file() => Err(io::Error::other("it is not a regular file")),
        metadata if metadata.len() > MAX_BYTES => Err(io::ErrorKind::FileTooLarge.into()),
        _ => Ok(file),
    }
}

/// Returns the contents of a file. A link to /dev/null is an empty file: systemd.unit(5) calls such a file masked.
///
/// # Errors
/// Those of open(2) and read(2); the file is not a regular one, or is larger than [`MAX_BYTES`].
pub(crate) fn read(path: impl AsRef<Path>) -> io::Result<Vec<u8>> {
    let path = path.as_ref();
    let mut contents = Vec::new();
    match open(path) {
        Ok(file) => drop(file.take(MAX_BYTES).read_to_end(&mut contents)?),
        Err(error) => {
            let is_null =
                |metadata: std::fs::Metadata| metadata.file_type().is_char_device() && metadata.rdev() == NULL_DEVICE;
            if !path.metadata().is_ok_and(is_null) {
                return Err(error);
            }
        }
    }
    Ok(contents)
}
