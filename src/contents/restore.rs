//! Recreating the segments of an archive.

use std::collections::HashMap;
use std::env;
use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::path::Path;

use rustix::fs::{Mode as FileMode, OFlags, open};

use super::Advance;
use super::archive::{self, Archive, SavedSegment};
use super::attach::attach;
use crate::error::{Error, Result};
use crate::segments::create::{self, Created, NotCreated, Undoer};
use crate::segments::lookup::Named;
use crate::system::names::{Names, gid_of, uid_of};
use crate::sysv::{self, Access, Errno, NewSegment, Placement, Segment};
use crate::values::{Mode, counted, visible_path};

/// The maximum number of names looked up whose ids differ on this machine. Other segments are restored by id.
const LOOKUPS: usize = 16;
/// The number of bytes copied at once.
const PIECE: usize = 1 << 16;

/// A restored segment.
#[derive(Debug)]
pub(crate) struct Restored {
    /// The new segment.
    pub(crate) segment: Segment,
    /// A sentence about what could not be restored.
    pub(crate) warning: Option<String>,
}

/// Restores the segments of one archive.
#[derive(Debug)]
pub(crate) struct Restorer<'a> {
    /// Whether each segment must get its old identifier.
    same_id: bool,
    undoer: &'a Undoer,
    names: Names,
    users: HashMap<String, Option<u32>>,
    groups: HashMap<String, Option<u32>>,
}

/// Opens an archive and verifies all of it. The path `-` means standard input.
///
/// # Errors
/// It cannot be read, or is damaged.
pub(crate) fn open_archive(path: &Path, advance: Advance<'_>) -> Result<Archive> {
    let is_stdin = path == Path::new("-");
    let name = if is_stdin { "standard input".into() } else { visible_path(path) };
    let cannot = |error: &io::Error| Error::io(format_args!("read {name}"), error);
    let file =
        if is_stdin { copy_of(&mut io::stdin(), &name)? } else { File::open(path).map_err(|error| cannot(&error))? };
    let kind = file.metadata().map_err(|error| cannot(&error))?;
    if kind.is_dir() {
        return Err(cannot(&Errno::EISDIR.into()));
    }
    // The archive is read twice.
    let file = if kind.is_file() { file } else { copy_of(&mut &file, &name)? };
    archive::open(file, &name, advance)
}

/// Copies a stream into an unnamed file in the directory for temporary files.
///
/// # Errors
/// The stream cannot be read, or the file cannot be created or written.
fn copy_of(stream: &mut impl Read, name: &str) -> Result<File> {
    let directory = env::temp_dir();
    let cannot_copy = |error: io::Error| {
        let directory = visible_path(&directory);
        Error::io(format_args!("copy {name} to a file in {directory}"), &error).hint("TMPDIR names another directory")
    };
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::EXCL | OFlags::CLOEXEC;
    let copy = open(&directory, flags, FileMode::RUSR | FileMode::WUSR);
    let mut copy = File::from(copy.map_err(|errno| cannot_copy(errno.into()))?);
    let mut piece = vec![0; PIECE];
    loop {
        match stream.read(&mut piece) {
            Ok(0) => break,
            Ok(count) => copy.write_all(&piece[..count]).map_err(cannot_copy)?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(Error::io(format_args!("read {name}"), &error)),
        }
    }
    copy.rewind().map_err(cannot_copy)?;
    Ok(copy)
}

/// Returns the error that [`Restorer::restore`] would return for a key that is taken.
pub(crate) fn check_key(saved: &SavedSegment) -> Result<()> {
    let existing = if saved.key().is_private() { None } else { create::find_existing(saved.key())? };
    existing.map_or(Ok(()), |existing| Err(exists(saved, Some(&existing))))
}

impl<'a> Restorer<'a> {
    /// Creates a restorer. With `same_id` each segment must get its old identifier.
    pub(crate) fn new(same_id: bool, undoer: &'a Undoer) -> Restorer<'a> {
        Restorer { same_id, undoer, names: Names::default(), users: HashMap::new(), groups: HashMap::new() }
    }

    /// Creates the segment with this index. If that fails, the new segment is removed.
    ///
    /// # Errors
    /// Its key is taken; it cannot be created or filled; the archive has changed since it was opened.
    pub(crate) fn restore(&mut self, archive: &mut Archive, index: usize, advance: Advance<'_>) -> Result<Restored> {
        let saved = archive.segment(index).clone();
        let (created, is_reserved) = self.create(&saved)?;
        created.finish(|segment| {
            let name = Named::from(segment).to_string();
            let attachment = attach(segment.id, &name, "fill", Access::ReadWrite, Placement::default())?;
            let contents = attachment.contents(Access::ReadWrite);
            archive.fill(index, &contents, &name, advance)?;
            let warning = self.restore_state(&saved, segment, &name, is_reserved)?;
            Ok(Restored { segment: create::current_state(segment.id)?, warning })
        })
    }

    /// Creates an empty segment. Also returns whether memory is reserved for all of it. The archive does not record
    /// whether it was (`SHM_NORESERVE`), because the kernel does not report it. So memory is reserved if there is enough.
    fn create(&self, saved: &SavedSegment) -> Result<(Created<'a>, bool)> {
        let create = |new: &NewSegment| match self.same_id {
            true => create::create_with_id(new, saved.id(), self.undoer),
            false => create::create(new, self.undoer),
        };
        // Only this user may access it until it is filled.
        let new = NewSegment::new(saved.key(), saved.size, Mode::from_raw(0o600));
        let created = match create(&new) {
            Err(NotCreated::Failed(error)) if error.errno == Some(Errno::ENOMEM) => {
                create(&NewSegment { no_reserve: true, ..new }).map(|created| (created, false))
            }
            created => created.map(|created| (created, true)),
        };
        created.map_err(|failed| match failed {
            NotCreated::Exists(_, existing) => exists(saved, existing.as_deref()),
            NotCreated::Failed(error) => error,
        })
    }

    /// Restores lock, owner, group and mode. Returns a warning about those that are not permitted, and about memory that
    /// is not reserved.
    fn restore_state(
        &mut self,
        saved: &SavedSegment,
        segment: &Segment,
        name: &str,
        is_reserved: bool,
    ) -> Result<Option<String>> {
        let mut warnings = Vec::new();
        if !is_reserved {
            warnings.push("there is not enough memory to reserve all of it (SHM_NORESERVE)".to_owned());
        }
        if saved.locked
            && let Err(error) = sysv::lock(segment.id)
        {
            warnings.push(format!("it cannot be locked: {error}"));
        }
        if saved.uid.is_none() || saved.gid.is_none() {
            warnings.push("its owner or group had no id where it was saved".to_owned());
        }
        let (uid, gid) = (self.uid(saved).unwrap_or(segment.uid), self.gid(saved).unwrap_or(segment.gid));
        let mode = saved.mode();
        let set = |uid, gid| sysv::set(segment.id, uid, gid, mode);
        if (uid, gid) != (segment.uid, segment.gid) {
            match set(uid, gid) {
                Ok(()) => return Ok(sentence(name, &warnings)),
                Err(error) => {
                    let owner = saved.user.clone().unwrap_or_else(|| uid.to_string());
                    let group = saved.group.clone().unwrap_or_else(|| gid.to_string());
                    warnings.push(format!("it cannot be given to {owner}:{group}: {error}"));
                }
            }
        }
        if mode != segment.mode() {
            set(segment.uid, segment.gid)
                .map_err(|error| Error::call(format_args!("set the mode of {name}"), error))?;
        }
        Ok(sentence(name, &warnings))
    }

    /// Returns the owner's uid on this machine: by name if the name is known, else the saved uid. `None` if the owner
    /// was unknown.
    fn uid(&mut self, saved: &SavedSegment) -> Option<u32> {
        let uid = saved.uid?;
        match &saved.user {
            Some(name) if self.names.user(uid).as_deref() != Some(name) => {
                by_name(&mut self.users, name, uid_of).or(Some(uid))
            }
            _ => Some(uid),
        }
    }

    fn gid(&mut self, saved: &SavedSegment) -> Option<u32> {
        let gid = saved.gid?;
        match &saved.group {
            Some(name) if self.names.group(gid).as_deref() != Some(name) => {
                by_name(&mut self.groups, name, gid_of).or(Some(gid))
            }
            _ => Some(gid),
        }
    }
}

fn by_name(known: &mut HashMap<String, Option<u32>>, name: &str, find: impl Fn(&str) -> Result<u32>) -> Option<u32> {
    if let Some(number) = known.get(name) {
        return *number;
    }
    if known.len() >= LOOKUPS {
        return None;
    }
    let number = find(name).ok();
    known.insert(name.to_owned(), number);
    number
}

fn sentence(name: &str, warnings: &[String]) -> Option<String> {
    (!warnings.is_empty()).then(|| format!("warning: {name} was restored, but {}", warnings.join(", and ")))
}

fn exists(saved: &SavedSegment, existing: Option<&Segment>) -> Error {
    let action = format!("restore segment {} (id {}, {})", saved.key(), saved.id(), counted(saved.size, "byte"));
    let failure = Error::cannot(action, create::taken(existing)).errno(Errno::EEXIST);
    match existing {
        Some(existing) if create::may_remove(existing) => {
            failure.hint(format_args!("`shmadm remove id:{}` removes that segment, if nobody needs it", existing.id))
        }
        _ => failure,
    }
}
