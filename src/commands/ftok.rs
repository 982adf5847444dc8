use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use clap::Args;
use walkdir::WalkDir;

use super::Context;
use crate::error::{Error, Result, Status};
use crate::output::{Output, say};
use crate::segments::lookup::key_of;
use crate::sysv::ftok;
use crate::values::{Key, ProjectId, SegmentRef, visible_path};

/// The default project id of perl's IPC::SysV; ftok(3) itself has no default.
const DEFAULT_PROJECT: ProjectId = ProjectId(1);

/// Show the key that ftok(3) derives from a path, or find the path of a key
///
/// An ftok key is made of 8 bits of PROJECT, 8 bits of the file's device and 16 bits of its inode, so two files can
/// have the same key. The second form walks the directories, follows no symbolic links, and shows each path that has
/// KEY as a SEGMENT for the other commands: ftok:PROJECT:PATH.
#[derive(Debug, Args)]
#[command(override_usage = "shmadm ftok PATH [PROJECT]\n       shmadm ftok --find KEY DIR...")]
#[command(after_help = "Examples:\n  \
    shmadm ftok /srv/app                       with project id 1\n  \
    shmadm ftok /srv/app A                     as ftok(\"/srv/app\", 'A') in C\n  \
    shmadm ftok --find 0x41fe20a1 /srv /home   which file is behind this key?")]
pub(super) struct Ftok {
    /// Existing file or directory
    #[arg(required = true)]
    path: PathBuf,
    /// Project id: one character, or a number from 1 to 255 (default: 1); with --find, more directories
    #[arg(value_name = "PROJECT")]
    more: Vec<OsString>,
    /// Show the paths below the directories that have KEY
    #[arg(long, value_name = "KEY", allow_negative_numbers = true)]
    find: Option<Key>,
}

impl Ftok {
    pub(super) fn run(&self, context: &mut Context) -> Result<Status> {
        if let Some(key) = self.find {
            let directories = std::iter::once(self.path.as_path()).chain(self.more.iter().map(Path::new));
            return find(&mut context.output, key, directories);
        }
        let project = match &self.more[..] {
            [] => Some(DEFAULT_PROJECT),
            [word] => ProjectId::from_bytes(word.as_bytes()),
            [_, second, ..] => {
                return Err(Error::usage(format!("{second:?} is one argument too many"))
                    .hint("`shmadm ftok PATH [PROJECT]` shows a key, `shmadm ftok --find KEY DIR...` finds paths"));
            }
        };
        let project = project.ok_or_else(|| {
            Error::usage(format!("{:?} is not a project id: use one character or a number from 1 to 255", self.more[0]))
        })?;
        if let Some(key) = key_of(&SegmentRef::Ftok(project, self.path.clone()))? {
            context.output.line(key)?;
        }
        Ok(Status::Done)
    }
}

/// Prints the paths that have a key, as they are found.
fn find<'a>(output: &mut Output, key: Key, directories: impl Iterator<Item = &'a Path>) -> Result<Status> {
    // The upper 8 bits of the key are the project id, so only one project id is possible.
    let Some(project) = ProjectId::of(key) else {
        return Err(Error::failed(format!("key {key} cannot come from ftok(3): its project byte is 0"))
            .hint("its creator chose it in another way"));
    };
    let (mut found, mut status) = (false, Status::Done);
    let mut unreadable = Unreadable::default();
    for directory in directories {
        // A directory given by the user can be a link; links below it are not followed.
        for file in WalkDir::new(directory) {
            let path = match file {
                // ftok(3) follows links, so a link has the key of its target. /proc alone contains very many links.
                Ok(file) if file.depth() > 0 && file.path_is_symlink() => continue,
                Ok(file) => file.into_path(),
                Err(error) => {
                    let is_named = error.depth() == 0;
                    let path = error.path().unwrap_or(directory).to_owned();
                    // The only other error is a loop of links, which cannot occur because no link is followed.
                    let Some(error) = error.into_io_error() else { continue };
                    if is_named {
                        say(Error::io(format_args!("search {}", visible_path(directory)), &error));
                        status = Status::Failed;
                    } else {
                        unreadable.count(path, error);
                    }
                    continue;
                }
            };
            match ftok(&path, project) {
                Ok(one) if one == key => {
                    found = true;
                    output.line(format_args!("ftok:{project}:{}", visible_path(&path)))?;
                    output.flush()?;
                }
                Ok(_) => {}
                Err(error) => unreadable.count(path, error),
            }
        }
    }
    if let Some((path, error)) = &unreadable.first {
        let others = match unreadable.number {
            1 => String::new(),
            number => format!(" and {} more", number - 1),
        };
        say(Error::io(format_args!("read {}{others}", visible_path(path)), error)
            .hint("paths with this key may be there, and are not shown"));
        status = Status::Failed;
    }
    if !found && status == Status::Done {
        return Err(Error::failed(format!("no path in these directories has key {key}")));
    }
    Ok(status)
}

/// A path that could not be inspected, and why.
#[derive(Debug, Default)]
struct Unreadable {
    number: u64,
    first: Option<(PathBuf, io::Error)>,
}

impl Unreadable {
    fn count(&mut self, path: PathBuf, error: io::Error) {
        // The path has gone since its directory was read; for a process's directory the error is ESRCH.
        if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ESRCH)) {
            return;
        }
        self.number += 1;
        self.first.get_or_insert((path, error));
    }
}
