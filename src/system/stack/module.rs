//! The files from which code is mapped: where their unwind tables are, and whether they have changed since.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use super::elf::Tables;
use super::maps::CodeMapping;
use crate::system::foreign_file::{CachedStatus, find_by_link, find_in_our_root, find_in_root_of, reopen};

/// The maximum size of all unwind tables that are kept, in bytes, before another file is read.
const MAX_KEPT_BYTES: usize = 64 << 20;
/// The maximum number of files kept open.
const MAX_OPEN_FILES: usize = 200;

/// A program or library from which code is mapped, with the data needed for unwinding.
#[derive(Debug)]
pub(crate) struct Module {
    /// The file, for looking up names afterwards.
    pub file: Arc<ModuleFile>,
    pub(super) tables: Tables,
}

/// The file of a module. It stays open, so that names can be looked up even if it is deleted.
#[derive(Debug)]
pub(crate) struct ModuleFile {
    /// Its path, as shown by the kernel.
    pub path: PathBuf,
    state: State,
    /// `None` if too many files would be open.
    file: Mutex<Option<File>>,
}

/// Detects that a file was replaced or overwritten.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct State {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
}

impl Module {
    /// Reads the data needed for unwinding. The file is read, not mapped: if another process truncates it, reading
    /// fails instead of raising SIGBUS.
    fn read(file: File, path: &Path) -> io::Result<Module> {
        let state = State::of(&file)?;
        let tables = Tables::read(&file).map_err(io::Error::other)?;
        let file = Arc::new(ModuleFile { path: path.to_owned(), state, file: Mutex::new(Some(file)) });
        Ok(Module { file, tables })
    }

    /// Converts an address in the process to one relative to the file.
    pub(crate) fn address(&self, mapping: &CodeMapping, address: u64) -> Option<u64> {
        let offset = (address - mapping.start).checked_add(mapping.offset)?;
        self.tables.address(offset)
    }

    /// Returns the address of the C library's variable `environ`, relative to the file.
    pub(crate) fn environ(&self) -> Option<u64> {
        self.tables.environ
    }

    /// Converts an address relative to the file to one in the process, using one of the file's mappings.
    pub(crate) fn address_in_process(&self, mapping: &CodeMapping, address: u64) -> Option<u64> {
        let here = self.address(mapping, mapping.start)?;
        Some(address.wrapping_sub(here).wrapping_add(mapping.start))
    }
}

impl ModuleFile {
    /// Opens the file, if it is unchanged since it was mapped.
    pub(super) fn open(&self) -> Option<File> {
        let kept = self.file.lock().ok()?.as_ref().and_then(|file| file.try_clone().ok());
        let file = kept.or_else(|| open_regular(&self.path).ok())?;
        (State::of(&file).ok()? == self.state).then_some(file)
    }

    /// Closes the file. It is reopened by its path when needed.
    fn close(&self) {
        if let Ok(mut file) = self.file.lock() {
            *file = None;
        }
    }
}

impl State {
    fn of(file: &File) -> io::Result<State> {
        let metadata = file.metadata()?;
        Ok(State {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
        })
    }
}

/// Opens a file that another user chose, if it is a regular file. Never blocks on other types, such as a FIFO.
pub(super) fn open_regular(path: &Path) -> io::Result<File> {
    let named = OwnedFd::from(File::options().read(true).custom_flags(libc::O_PATH | libc::O_CLOEXEC).open(path)?);
    if CachedStatus::of(&named)?.is_regular { reopen(&named) } else { Err(io::ErrorKind::InvalidInput.into()) }
}

/// The modules seen so far. Each is read once.
#[derive(Debug, Default)]
pub(crate) struct Modules {
    known: HashMap<Key, Option<Arc<Module>>>,
    /// The size of their tables in bytes.
    kept: usize,
}

/// Identifies a mapped file in the maps of all processes. While the file is open, its inode cannot be reused.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    device: (u32, u32),
    inode: u64,
    path: Vec<u8>,
}

impl Modules {
    /// Returns the module of a mapping; `None` if no file is mapped, or if it cannot be read.
    pub(crate) fn of(&mut self, mapping: &CodeMapping, tid: i32) -> Option<Arc<Module>> {
        if mapping.inode == 0 {
            return None;
        }
        let key = Key { device: mapping.device, inode: mapping.inode, path: mapping.path.clone() };
        if let Some(known) = self.known.get(&key) {
            return known.clone();
        }
        if self.known.len() >= MAX_OPEN_FILES || self.kept >= MAX_KEPT_BYTES {
            self.close_all();
        }
        let module = open(mapping, tid).map(Arc::new);
        self.kept += module.as_ref().map_or(0, |module| module.tables.size());
        self.known.insert(key, module.clone());
        module
    }

    /// Drops all modules and closes their files.
    fn close_all(&mut self) {
        self.kept = 0;
        for (_, module) in self.known.drain() {
            if let Some(module) = module {
                module.file.close();
            }
        }
    }
}

/// Opens the file of a mapping: the program itself, else as its process sees the path, else as we do. The inode must be
/// that of the mapping. The device is not compared: on some file systems (btrfs) the maps show another one than stat(2).
fn open(mapping: &CodeMapping, tid: i32) -> Option<Module> {
    let path = Path::new(OsStr::from_bytes(&mapping.path));
    let program = || find_by_link(&format!("/proc/{tid}/exe"));
    let (theirs, ours) = (|| find_in_root_of(tid, path), || find_in_our_root(path));
    [&program as &dyn Fn() -> io::Result<OwnedFd>, &theirs, &ours].into_iter().find_map(|find| {
        let found = find().ok()?;
        let status = CachedStatus::of(&found).ok()?;
        let is_mapped = status.is_regular && status.inode == mapping.inode;
        is_mapped.then(|| Module::read(reopen(&found).ok()?, path).ok())?
    })
}
