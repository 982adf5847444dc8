use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use clap::{Args, ValueEnum};
use serde::Serialize;

use super::Context;
use super::args::TextOrJson;
use crate::contents::input::Input;
use crate::contents::shortage;
use crate::contents::{attach, copy};
use crate::error::{Error, Result, Status};
use crate::output::{Progress, say};
use crate::segments::create::{self, Found, NotCreated, Undoer};
use crate::segments::lookup::{self, Named};
use crate::segments::rmid_forced;
use crate::system::names::uid_and_gid_of;
use crate::sysv::{self, Access, Attachment, HugePages, NewSegment, Segment};
use crate::values::{Key, Mode, ParseKeyError, ParseSegmentRefError, SegmentRef, Size, counted};

/// Create a segment
///
/// Creates a segment with this key. If one exists, it fails (IPC_EXCL) unless --exist-ok is given. If a later step
/// fails, such as setting the owner or the contents, the segment is removed again.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    shmadm create 0x2a --size 64K              64 KiB, for its owner only\n  \
    shmadm create 42 -s 1M -m 660 --owner postgres:postgres\n  \
    shmadm create random --from table.bin -q   a copy of the file; prints the id\n  \
    shmadm create ftok:A:/srv/app -s 4K --exist-ok")]
pub(super) struct Create {
    /// The key: 0x2a, 42, 052, ftok:PROJECT:PATH, `private` (IPC_PRIVATE), or `random` (an unused key)
    #[arg(value_name = "KEY", allow_negative_numbers = true)]
    key: NewKey,
    /// Size in bytes, or with a unit (4K, 1.5MiB, 10MB)
    #[arg(short, long, value_name = "SIZE", required_unless_present_any = ["from", "exist_ok"])]
    size: Option<Size>,
    /// Fill the segment from FILE (default size: that of FILE); `-` is standard input
    #[arg(long, value_name = "FILE")]
    from: Option<PathBuf>,
    /// Permissions, in octal
    #[arg(short, long, value_name = "MODE", default_value = "0600")]
    mode: Mode,
    /// Set the owner to USER, and the group to GROUP
    #[arg(long, value_name = "USER[:GROUP]")]
    owner: Option<String>,
    /// Accept an existing segment, unchanged, if it is large enough
    #[arg(long)]
    exist_ok: bool,
    /// Use huge pages (SHM_HUGETLB), of size PAGE or of the default size
    #[arg(long, value_name = "PAGE", num_args = 0..=1, require_equals = true, default_missing_value = "default")]
    huge: Option<HugePageSize>,
    /// Reserve no memory for it (SHM_NORESERVE)
    #[arg(long)]
    no_reserve: bool,
    /// Keep its pages in memory (SHM_LOCK)
    #[arg(long)]
    lock: bool,
    /// Print only the identifier, as id:N
    #[arg(short, long)]
    quiet: bool,
    /// Output format
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
        match SegmentRef::try_from(OsStr::new(word)) {
            Ok(SegmentRef::Id(_)) => Err("the kernel chooses the identifier; name a key, `private` or `random`".into()),
            Ok(named) => Ok(NewKey::Named(named)),
            Err(ParseSegmentRefError::Private) => {
                Err("key 0 is IPC_PRIVATE, which names no segment; use `private` to create a segment \
                     without a key, and name it by its identifier, id:N"
                    .into())
            }
            Err(ParseSegmentRefError::Key(ParseKeyError::NotANumber)) => {
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
        let owner = self.owner.as_deref().map(uid_and_gid_of).transpose()?;
        let key = match &self.key {
            NewKey::Private | NewKey::Random => None,
            NewKey::Named(named) => lookup::key_of(named)?,
        };
        if key.is_some_and(Key::is_private) {
            return Err(Error::failed("cannot create a segment: the path's key is 0, which is IPC_PRIVATE"));
        }
        let source = self.from.as_deref().map(|path| self.open(path)).transpose()?;
        let size = source.as_ref().map_or(self.size.map(|size| size.0), |source| Some(source.size));

        let undoer = if source.is_some() { Undoer::new() } else { Undoer::none() };
        match self.create_or_find(key, size, &undoer)? {
            Found::Created(created) => {
                // The output is part of the creation: a segment that was not reported would be lost.
                created.finish(|segment| {
                    let segment = self.set_up(segment, owner, source)?;
                    self.print(context, &segment, true)?;
                    context.output.flush()
                })?;
                if let Some(warning) = rmid_forced::fleeting() {
                    say(warning);
                }
            }
            Found::Existing(segment) => {
                if source.is_some() || self.owner.is_some() || self.lock {
                    say(format_args!("{} already exists, and was not changed", Named::from(&segment)));
                }
                self.print(context, &segment, false)?;
            }
        }
        Ok(Status::Done)
    }

    /// Creates the segment, or finds the existing one if --exist-ok is given.
    fn create_or_find<'a>(&self, key: Option<Key>, size: Option<u64>, undoer: &'a Undoer) -> Result<Found<'a>> {
        let Some(size) = size else {
            return match key {
                Some(key) => existing(key).map(Found::Existing),
                None => Err(Error::usage("a new segment needs a size; use --size")),
            };
        };
        let new = NewSegment {
            key: key.unwrap_or(Key::PRIVATE),
            size,
            // To fill the segment, this process needs write permission. The requested mode is set afterwards.
            mode: if self.from.is_some() { Mode::from_raw(0o600) } else { self.mode },
            huge: self.huge.map(HugePages::from),
            no_reserve: self.no_reserve,
        };
        let created = match &self.key {
            NewKey::Named(_) if self.exist_ok => {
                return match create::find_or_create(&new, undoer, || Ok(()))? {
                    Found::Existing(existing) if existing.size < size => {
                        Err(create::too_small("take", &existing, size))
                    }
                    found => Ok(found),
                };
            }
            NewKey::Random => create::create_random(&new, undoer),
            NewKey::Named(_) | NewKey::Private => create::create(&new, undoer),
        };
        created.map(Found::Created).map_err(|failed| match failed {
            NotCreated::Exists(key, existing) => create::exists(key, existing.as_deref(), size),
            NotCreated::Failed(error) => error,
        })
    }

    /// Fills the new segment, locks it, and sets its owner and mode. The order matters: with another owner or mode, a
    /// user could neither fill nor lock it.
    fn set_up(&self, segment: &Segment, owner: Option<(u32, Option<u32>)>, source: Option<Source>) -> Result<Segment> {
        let name = Named::from(segment).to_string();
        // Stay attached to the end: if kernel.shm_rmid_forced is 1, detaching would destroy the segment.
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
        create::current_state(segment.id)
    }

    /// Opens the file before a segment is created, so that nothing is created if it does not fit.
    fn open(&self, path: &Path) -> Result<Source> {
        let input = Input::open(path)?;
        let size = match (self.size, input.length()) {
            (Some(size), Some(length)) if length > size.0 => {
                return Err(Error::failed(format!(
                    "cannot create a segment of {} from {}: the file has {length}",
                    counted(size.0, "byte"),
                    input.name()
                )));
            }
            (Some(size), _) => size.0,
            (None, Some(length)) => length,
            (None, None) => {
                return Err(Error::failed(format!(
                    "cannot create a segment as large as {}: it is empty, or its size is unknown; use --size",
                    input.name()
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
                context
                    .output
                    .line(format_args!("{verb} segment {key}: id {id}, {}, mode {mode}", counted(size, "byte")))
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
    let contents = attachment.contents(Access::ReadWrite);
    if let Some(warning) = shortage::shortage(&contents, name, 0..source.input.length().unwrap_or(0)) {
        say(warning);
    }
    let mut progress = Progress::bytes("writing", source.input.length());
    copy::fill_from(&contents, name, &source.input, 0, segment.size, &mut |count| progress.advance(count))?;
    drop(contents);
    Ok(attachment)
}

/// Finds the existing segment for --exist-ok without a size.
fn existing(key: Key) -> Result<Segment> {
    create::find_existing(key)?.ok_or_else(|| {
        Error::missing(format!("cannot use segment {key}: there is no such segment"))
            .errno(sysv::Errno::ENOENT)
            .hint("with --size it is created")
    })
}
