use clap::{ArgGroup, Args};

use super::args::segment_parser;
use crate::error::{Error, Result, Status};
use crate::segments::lookup;
use crate::system::names::{gid_of, uid_of};
use crate::sysv;
use crate::values::{Mode, SegmentRef};

/// Change a segment's owner, group, mode or lock
///
/// IPC_SET and SHM_LOCK. What is not named stays as it is. Only the owner, the creator and root may do this.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("change").args(["owner", "segment_group", "mode", "lock", "unlock"]).required(true).multiple(true))]
#[command(after_help = "Examples:\n  \
    shmadm set 0x2a --mode 660 --group postgres\n  \
    shmadm set id:5 --owner www-data\n  \
    shmadm set 0x2a --lock                   keep its pages in memory")]
pub(super) struct Set {
    /// The segment: a key (0x2a, 42, 052), id:N, or ftok:PROJECT:PATH
    #[arg(value_parser = segment_parser(), allow_negative_numbers = true)]
    segment: SegmentRef,
    /// Give it to USER
    #[arg(long, value_name = "USER")]
    owner: Option<String>,
    /// Give it to GROUP
    #[arg(id = "segment_group", long = "group", value_name = "GROUP")]
    group: Option<String>,
    /// Permissions, in octal
    #[arg(short, long, value_name = "MODE")]
    mode: Option<Mode>,
    /// Keep its pages in memory (SHM_LOCK)
    #[arg(long, conflicts_with = "unlock")]
    lock: bool,
    /// Let its pages be swapped out again (SHM_UNLOCK)
    #[arg(long)]
    unlock: bool,
}

impl Set {
    pub(super) fn run(&self) -> Result<Status> {
        let uid = self.owner.as_deref().map(uid_of).transpose()?;
        let gid = self.group.as_deref().map(gid_of).transpose()?;
        let named = lookup::find("change", &self.segment)?;
        let failed = |error| Error::call_on(format_args!("change {named}"), named.id, error);
        let Some(before) = lookup::look(named.id).map_err(failed)? else {
            return Err(lookup::missing("change", &named, Some(sysv::Errno::EINVAL)));
        };
        // The lock first: who gives the segment away may not lock it any more.
        let locked = match (self.lock, self.unlock) {
            (true, _) => sysv::lock(named.id),
            (_, true) => sysv::unlock(named.id),
            _ => Ok(()),
        };
        let verb = if self.lock { "lock" } else { "unlock" };
        locked.map_err(|error| Error::call_on(format_args!("{verb} {named}"), named.id, error))?;
        if uid.is_none() && gid.is_none() && self.mode.is_none() {
            return Ok(Status::Done);
        }
        let (uid, gid) = (uid.unwrap_or(before.uid), gid.unwrap_or(before.gid));
        sysv::set(named.id, uid, gid, self.mode.unwrap_or(before.mode())).map_err(|error| {
            // A call that failed changes nothing. Who could lock it can unlock it.
            let _ = match (self.lock || self.unlock, before.is_locked()) {
                (true, true) => sysv::lock(named.id),
                (true, false) => sysv::unlock(named.id),
                (false, _) => Ok(()),
            };
            failed(error)
        })?;
        Ok(Status::Done)
    }
}
