use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use clap::{Args, ValueEnum};
use serde::Serialize;

use super::{Context, TextOrJson};
use crate::contents::input::Input;
use crate::contents::shortage;
use crate::contents::{attach, copy};
use crate::error::{Error, Result, Status};
use crate::output::{Progress, say};
use crate::segments::create;
use crate::segments::lookup;
use crate::system::names::{gid_of, uid_of};
use crate::system::signals::HeldOff;
use crate::sysv::{self, Access, Attachment, HugePages, NewSegment, Reason, Segment};
use crate::values::{Key, Mode, ParseSegmentRefError, SegmentRef, ShmId, Size};

/// Create a segment
///
/// Makes a segment with this key, and fails where one exists (IPC_EXCL) unless --exist-ok takes it. Where a later
/// step fails, such as the owner or the contents, the segment is removed again.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    shmadm create 0x2a --size 64K              a segment of 64 KiB, for its owner alone\n  \
    shmadm create 42 -s 1M -m 660 --owner postgres:postgres\n  \
    shmadm create random --from table.bin -q   as large as the file and filled from it; prints the id\n  \
    shmadm create ftok:A:/srv/app -s 4K --exist-ok")]
pub(super) struct Create {
    /// The key: 0x2a, 42, 052, ftok:PROJECT:PATH, or one of the words `private` (IPC_PRIVATE) and `random` (an unused key)
    #[arg(value_name = "KEY", allow_negative_numbers = true)]
    key: NewKey,
    /// How large: bytes, or with a unit (4K, 1.5MiB, 10MB)
    #[arg(short, long, value_name = "SIZE", required_unless_present_any = ["from", "exist_ok"])]
    size: Option<Size>,
    /// Make it as large as FILE, or of --size, and fill it from FILE
    #[arg(long, value_name = "FILE")]
    from: Option<PathBuf>,
    /// Permissions, in octal
    #[arg(short, long, value_name = "MODE", default_value = "0600")]
    mode: Mode,
    /// Give it to USER, and to GROUP
    #[arg(long, value_name = "USER[:GROUP]")]
    owner: Option<String>,
    /// Take an existing segment as it is, if it is large enough
    #[arg(long)]
    exist_ok: bool,
    /// Use huge pages (SHM_HUGETLB), of the default size unless one is said
    #[arg(long, value_name = "PAGE", num_args = 0..=1, require_equals = true, default_missing_value = "default")]
    huge: Option<HugePageSize>,
    /// Reserve no swap space for it (SHM_NORESERVE)
    #[arg(long)]
    no_reserve: bool,
    /// Keep its pages in memory (SHM_LOCK)
    #[arg(long)]
    lock: bool,
    /// Print only the identifier, as id:N
    #[arg(short, long)]
    quiet: bool,
    /// How to print what was made
    #[arg(short, long, value_enum, default_value_t, conflicts_with = "quiet")]
    format: TextOrJson,
}

#[derive(Debug, Clone)]
enum NewKey {
    Private,
    Random,
    Named(SegmentRef),
}

impl FromStr for NewKey {
    type Err = String;

    fn from_str(word: &str) -> Result<NewKey, String> {
        match word {
            "private" => return Ok(NewKey::Private),
            "random" => return Ok(NewKey::Random),
            _ => {}
        }
        match SegmentRef::try_from(std::ffi::OsStr::new(word)) {
            Ok(SegmentRef::Id(_)) => Err("the kernel chooses the identifier; name a key, `private` or `random`".into()),
            Ok(named) => Ok(NewKey::Named(named)),
            Err(ParseSegmentRefError::Private) => {
                Err("key 0 is IPC_PRIVATE, which names no segment; say `private` to make a segment without a key, \
                 which is then named by its identifier, id:N"
                    .into())
            }
            Err(ParseSegmentRefError::Key(crate::values::ParseKeyError::NotANumber)) => {
                Err("a key is a number (0x2a, 42, 052), ftok:PROJECT:PATH, `private` or `random`".into())
            }
            Err(error) => Err(error.to_string()),
        }
    }
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum HugePageSize {
    #[value(hide = true)]
    Default,
    #[value(name = "2M", alias = "2m")]
    TwoMiB,
    #[value(name = "1G", alias = "1g")]
    OneGiB,
}

#[derive(Serialize)]
struct Created {
    key: String,
    id: i32,
    size: u64,
    mode: String,
    created: bool,
}

impl Create {
    pub(super) fn wants_json(&self) -> bool {
        self.format == TextOrJson::Json
    }

    pub(super) fn run(&self, context: &mut Context) -> Result<Status> {
        let owner = self.owner.as_deref().map(owner_numbers).transpose()?;
        let key = match &self.key {
            NewKey::Private | NewKey::Random => None,
            NewKey::Named(named) => lookup::key_of(named)?,
        };
        if key.is_some_and(Key::is_private) {
            return Err(Error::failed("cannot create a segment: the path's key is 0, which is IPC_PRIVATE"));
        }
        let source = self.from.as_deref().map(|path| self.open(path)).transpose()?;
        let size = source.as_ref().map_or(self.size.map(|size| size.0), |source| Some(source.size));

        let held_off = HeldOff::until_dropped();
        let (segment, created) = self.make_or_take(key, size)?;
        if created {
            let id = segment.id;
            let undo = held_off.undoing(move || {
                let _ = sysv::remove(id);
            });
            let finished = self.finish(&segment, owner, source);
            // A segment that nobody was told of would be lost: telling is part of making it.
            finished
                .and_then(|segment| self.print(context, &segment, created))
                .and_then(|()| context.output.flush())
                .map_err(|error| create::remove_again(segment.id, error))?;
            drop(undo);
            if let Some(warning) = create::fleeting() {
                say(warning);
            }
            return Ok(Status::Done);
        }
        drop(held_off);
        if source.is_some() || self.owner.is_some() || self.lock {
            say(format_args!("segment {} (id {}) existed, and is left as it was", segment.key, segment.id));
        }
        self.print(context, &segment, created)?;
        Ok(Status::Done)
    }

    /// Makes the segment, or takes the one there is.
    fn make_or_take(&self, key: Option<Key>, size: Option<u64>) -> Result<(Segment, bool)> {
        loop {
            if let Some(size) = size {
                match self.make(key, size) {
                    Ok(id) => return Ok((made(id)?, true)),
                    Err((_, error)) if error.reason == Reason::Exists && self.exist_ok => {}
                    Err((key, error)) if error.reason == Reason::Exists => return Err(exists(key, error)),
                    Err((key, error)) => return Err(create::cannot_create(key, size, self.huge.is_some(), error)),
                }
            }
            let Some(key) = key else {
                return Err(Error::usage("a new segment needs a size; say --size"));
            };
            let found = sysv::find(key).map_err(|error| Error::call(format_args!("find segment {key}"), error))?;
            let existing = match found {
                Some(id) => {
                    lookup::look(id).map_err(|error| Error::call(format_args!("look at segment {key}"), error))?
                }
                None => None,
            };
            match existing {
                Some(existing) if existing.size >= size.unwrap_or(0) => return Ok((existing, false)),
                Some(existing) => {
                    return Err(Error::failed(format!(
                        "cannot take segment {key} (id {}): it has {} bytes, and {} are asked for; remove it first, \
                         or ask for less",
                        existing.id,
                        existing.size,
                        size.unwrap_or(0)
                    )));
                }
                None if size.is_none() => {
                    return Err(Error {
                        errno: Some(sysv::Errno::ENOENT),
                        ..Error::missing(format!("cannot take segment {key}: there is no such segment"))
                    }
                    .hint("with --size it is made"));
                }
                // It was removed between the two looks.
                None => {}
            }
        }
    }

    /// Makes the segment; for `random`, tries keys until one is free.
    fn make(&self, key: Option<Key>, size: u64) -> Result<ShmId, (Key, sysv::Error)> {
        loop {
            let key = match (&self.key, key) {
                (_, Some(key)) => key,
                (NewKey::Random, None) => Key::from_raw(fastrand::i32(1..)),
                (_, None) => Key::PRIVATE,
            };
            let new = NewSegment {
                key,
                size,
                // Whoever fills it must be allowed to write; the mode that was asked for follows.
                mode: if self.from.is_some() { Mode::from_raw(0o600) } else { self.mode },
                huge: self.huge.map(HugePages::from),
                no_reserve: self.no_reserve,
            };
            match sysv::create(&new) {
                Err(error) if error.reason == Reason::Exists && matches!(self.key, NewKey::Random) => {}
                result => return result.map_err(|error| (key, error)),
            }
        }
    }

    /// What comes after the making. The order matters: with another owner or mode a user could neither lock nor fill it.
    fn finish(&self, segment: &Segment, owner: Option<(u32, Option<u32>)>, source: Option<Source>) -> Result<Segment> {
        let name = format!("segment {} (id {})", segment.key, segment.id);
        // Attached to the end: where kernel.shm_rmid_forced is 1, the detach is the end of the segment.
        let _attachment = source.map(|source| fill(segment, &name, source)).transpose()?;
        if self.lock {
            sysv::lock(segment.id).map_err(|error| Error::call(format_args!("lock {name}"), error))?;
        }
        if owner.is_none() && self.mode == segment.mode() {
            return Ok(segment.clone());
        }
        let (uid, gid) = owner.unwrap_or((segment.uid, None));
        sysv::set(segment.id, uid, gid.unwrap_or(segment.gid), self.mode).map_err(|error| match &self.owner {
            Some(owner) => Error::call(format_args!("give {name} to {owner}"), error),
            None => Error::call(format_args!("set the mode of {name}"), error),
        })?;
        made(segment.id)
    }

    /// Opens the file before anything is made, so that one that does not fit makes nothing.
    fn open(&self, path: &Path) -> Result<Source> {
        let cannot = |error: &io::Error| Error::io(format_args!("read {}", path.display()), error);
        let file = File::open(path).map_err(|error| cannot(&error))?;
        let input = Input::file(file, path).map_err(|error| cannot(&error))?;
        let size = match (self.size, input.length()) {
            (Some(size), Some(length)) if length > size.0 => {
                return Err(Error::failed(format!(
                    "cannot create a segment of {} bytes from {}: the file has {length}",
                    size.0,
                    path.display()
                )));
            }
            (Some(size), _) => size.0,
            (None, Some(length)) => length,
            (None, None) => {
                return Err(Error::failed(format!(
                    "cannot create a segment as large as {}: it is empty, or does not tell its size; say --size",
                    path.display()
                )));
            }
        };
        Ok(Source { input, size })
    }

    fn print(&self, context: &mut Context, segment: &Segment, created: bool) -> Result<()> {
        let (key, id, size, mode) = (segment.key, segment.id, segment.size, segment.mode());
        if self.quiet {
            return context.output.line(format_args!("id:{id}"));
        }
        match self.format {
            TextOrJson::Text => {
                let verb = if created { "created" } else { "found" };
                context.output.line(format_args!("{verb} segment {key}: id {id}, {size} bytes, mode {mode}"))
            }
            TextOrJson::Json => context.output.json(&Created {
                key: key.to_string(),
                id: id.as_raw(),
                size,
                mode: mode.to_string(),
                created,
            }),
        }
    }
}

impl From<HugePageSize> for HugePages {
    fn from(size: HugePageSize) -> HugePages {
        match size {
            HugePageSize::Default => HugePages::Default,
            HugePageSize::TwoMiB => HugePages::TwoMiB,
            HugePageSize::OneGiB => HugePages::OneGiB,
        }
    }
}

struct Source {
    input: Input,
    size: u64,
}

fn fill(segment: &Segment, name: &str, source: Source) -> Result<Attachment> {
    let attachment = attach::attach(segment.id, name, "fill", Access::ReadWrite, sysv::Placement::default())?;
    let contents = attach::contents(&attachment, name, Access::ReadWrite)?;
    if let Some(warning) = shortage::shortage(&contents, name, 0..source.input.length().unwrap_or(0)) {
        say(warning);
    }
    let mut progress = Progress::bytes("writing", source.input.length());
    copy::fill_from(&contents, name, &source.input, 0, segment.size, &mut |count| progress.advance(count))?;
    drop(contents);
    Ok(attachment)
}

/// The state of a segment that was made just now.
fn made(id: ShmId) -> Result<Segment> {
    lookup::look(id)
        .map_err(|error| Error::call(format_args!("look at the new segment id:{id}"), error))?
        .ok_or_else(|| Error::failed(format!("the new segment id:{id} was removed by another process at once")))
}

fn exists(key: Key, error: sysv::Error) -> Error {
    let existing = sysv::find(key).ok().flatten().and_then(|id| lookup::look(id).ok().flatten());
    let mut told = Error::call(format_args!("create segment {key}"), error);
    if let Some(segment) = existing {
        let names = crate::system::names::Names::default();
        let owner = names.user_or_uid(segment.uid);
        told.cause = format!("{error} (id {}, {} bytes, owner {owner})", segment.id, segment.size);
    }
    told.hint("use --exist-ok to take it as it is")
}

fn owner_numbers(owner: &str) -> Result<(u32, Option<u32>)> {
    match owner.split_once(':') {
        Some((user, group)) => Ok((uid_of(user)?, Some(gid_of(group)?))),
        None => Ok((uid_of(owner)?, None)),
    }
}
