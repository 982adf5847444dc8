use clap::Args;

use super::args::segment_parser;
use crate::error::{Error, Result, Status};
use crate::linux::{may_be_unmapped_gid, may_be_unmapped_uid};
use crate::output::say;
use crate::segments::lookup::{self, Named};
use crate::system::names::{gid_of, uid_and_gid_of};
use crate::sysv::{self, Segment};
use crate::values::{Mode, SegmentRef};

/// Change the owner, group, mode or lock of segments
///
/// Uses IPC_SET and SHM_LOCK. Properties without an option stay unchanged. Only the owner, the creator and root may do
/// this.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    shmadm set 0x2a --mode 660 --group postgres\n  \
    shmadm set id:5 id:6 --owner www-data:www-data\n  \
    shmadm set 0x2a --lock                   keep its pages in memory")]
pub(super) struct Set {
    /// The segments: a key (0x2a, 42, 052), id:N, or ftok:PROJECT:PATH
    #[arg(value_parser = segment_parser(), allow_negative_numbers = true, required = true)]
    segment: Vec<SegmentRef>,
    /// Set the owner to USER, and the group to GROUP
    #[arg(long, value_name = "USER[:GROUP]")]
    owner: Option<String>,
    /// Set the group to GROUP
    #[arg(id = "segment_group", long = "group", value_name = "GROUP")]
    group: Option<String>,
    /// Permissions, in octal
    #[arg(short, long, value_name = "MODE")]
    mode: Option<Mode>,
    /// Keep their pages in memory (SHM_LOCK)
    #[arg(long, conflicts_with = "unlock")]
    lock: bool,
    /// Allow their pages to be swapped out again (SHM_UNLOCK)
    #[arg(long)]
    unlock: bool,
}

/// The changes, with names resolved.
struct Changes {
    uid: Option<u32>,
    gid: Option<u32>,
    mode: Option<Mode>,
    /// Whether to lock (true) or to unlock it.
    lock: Option<bool>,
}

impl Set {
    pub(super) fn run(&self) -> Result<Status> {
        let changes = self.changes()?;
        let mut status = Status::Done;
        for word in &self.segment {
            if let Err(error) = lookup::find("change", word).and_then(|named| changes.make(&named)) {
                status = status.and(error.status());
                say(error);
            }
        }
        Ok(status)
    }

    fn changes(&self) -> Result<Changes> {
        let (uid, gid) = match self.owner.as_deref().map(uid_and_gid_of).transpose()? {
            Some((uid, gid)) => (Some(uid), gid),
            None => (None, None),
        };
        let group = self.group.as_deref().map(gid_of).transpose()?;
        if gid.is_some() && group.is_some() {
            return Err(Error::usage("--owner USER:GROUP and --group both name a group; use one of them"));
        }
        let lock = if self.lock { Some(true) } else { self.unlock.then_some(false) };
        if uid.is_none() && group.is_none() && self.mode.is_none() && lock.is_none() {
            return Err(Error::usage("name what to change: --owner, --group, --mode, --lock or --unlock"));
        }
        Ok(Changes { uid, gid: gid.or(group), mode: self.mode, lock })
    }
}

impl Changes {
    fn make(&self, named: &Named) -> Result<()> {
        let failed = |error| Error::call_on(format_args!("change {named}"), named.id, error);
        let Some(before) = lookup::current(named.id).map_err(failed)? else {
            return Err(lookup::missing("change", named, Some(sysv::Errno::EINVAL)));
        };
        let sets = self.uid.is_some() || self.gid.is_some() || self.mode.is_some();
        if sets {
            self.check_mapped(named, &before)?;
        }
        // Locking comes first: a user who has given the segment away may no longer lock it.
        if let Some(lock) = self.lock {
            let verb = if lock { "lock" } else { "unlock" };
            set_lock(named, lock).map_err(|error| Error::call_on(format_args!("{verb} {named}"), named.id, error))?;
        }
        if !sets {
            return Ok(());
        }
        let (uid, gid) = (self.uid.unwrap_or(before.uid), self.gid.unwrap_or(before.gid));
        sysv::set(named.id, uid, gid, self.mode.unwrap_or(before.mode())).map_err(|error| {
            // A failed call must change nothing. A user who could lock the segment can also unlock it.
            match self.lock {
                Some(lock) if lock != before.is_locked() && set_lock(named, before.is_locked()).is_err() => {
                    failed(error).hint(if lock { "it is locked now" } else { "it is unlocked now" })
                }
                _ => failed(error),
            }
        })
    }

    /// Refuses to write back an unnamed owner or group that has no id here. IPC_SET sets owner, group and mode
    /// together, and would give the segment to another user.
    fn check_mapped(&self, named: &Named, before: &Segment) -> Result<()> {
        let refused = |what: &str, option: &str, shown: u32| {
            let cause = format!("its {what} may have no number in this user namespace, and would become {shown}");
            let hint = format!("run it outside of the user namespace, or name the {what} with {option}");
            Err(Error::cannot(format_args!("change {named}"), cause).hint(hint))
        };
        if self.uid.is_none() && may_be_unmapped_uid(before.uid) {
            return refused("owner", "--owner", before.uid);
        }
        if self.gid.is_none() && may_be_unmapped_gid(before.gid) {
            return refused("group", "--group", before.gid);
        }
        Ok(())
    }
}

fn set_lock(named: &Named, lock: bool) -> Result<(), sysv::Error> {
    if lock { sysv::lock(named.id) } else { sysv::unlock(named.id) }
}
