//! The hook for `--trace`: reports each System V call when it returns, in the notation of strace(1).

use std::fmt::{self, Display, Formatter};
use std::io;
use std::sync::OnceLock;

use nix::errno::Errno;

use super::uapi::{SHM_HUGE_SHIFT, SHM_INFO, SHM_STAT, SHM_STAT_ANY};
use crate::linux::cause;
use crate::values::Key;

type Sink = Box<dyn Fn(&dyn Display) + Send + Sync>;

/// Two sinks: first that of `--trace`, then that of a command that shows its own calls.
static SINKS: [OnceLock<Sink>; 2] = [const { OnceLock::new() }; 2];

/// Passes every later System V call to `sink`, as one line without a newline. At most two sinks can be set,
/// permanently.
pub(crate) fn trace_to(sink: impl Fn(&dyn Display) + Send + Sync + 'static) {
    let mut sink: Sink = Box::new(sink);
    for place in &SINKS {
        match place.set(sink) {
            Ok(()) => return,
            Err(refused) => sink = refused,
        }
    }
}

/// Returns whether a sink is already set.
pub(crate) fn is_traced() -> bool {
    SINKS[0].get().is_some()
}

/// Reports a call that returned a number.
pub(super) fn returned<T: Display>(result: &Result<T, Errno>, call: impl Fn(&mut Formatter<'_>) -> fmt::Result) {
    for sink in SINKS.iter().map_while(OnceLock::get) {
        sink(&Line { call: &call, result });
    }
}

struct Line<'a, T, F> {
    call: F,
    result: &'a Result<T, Errno>,
}

impl<T: Display, F: Fn(&mut Formatter<'_>) -> fmt::Result> Display for Line<'_, T, F> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        (self.call)(f)?;
        match self.result {
            Ok(value) => write!(f, " = {value}"),
            Err(errno) => write!(f, " = -1 {errno:?} ({})", cause(&io::Error::from(*errno))),
        }
    }
}

/// A mode in strace's notation: at least three digits, with one leading 0.
pub(super) struct ModeBits(pub u16);

impl Display for ModeBits {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "0{:02o}", self.0)
    }
}

/// Returns a key as an argument: `IPC_PRIVATE` by its name.
pub(crate) fn key(key: Key) -> impl Display {
    fmt::from_fn(move |f| if key.is_private() { f.write_str("IPC_PRIVATE") } else { key.fmt(f) })
}

/// Returns the flags of shmget(2) as names: the named ones, the page size of `SHM_HUGETLB`, the mode.
pub(crate) fn get_flags(flags: libc::c_int) -> impl Display {
    fmt::from_fn(move |f| {
        for (flag, name) in [
            (libc::IPC_CREAT, "IPC_CREAT"),
            (libc::IPC_EXCL, "IPC_EXCL"),
            (libc::SHM_HUGETLB, "SHM_HUGETLB"),
            (libc::SHM_NORESERVE, "SHM_NORESERVE"),
        ] {
            if flags & flag != 0 {
                write!(f, "{name}|")?;
            }
        }
        let log2 = flags >> SHM_HUGE_SHIFT & 0x3f;
        if log2 != 0 {
            write!(f, "{log2}<<SHM_HUGE_SHIFT|")?;
        }
        ModeBits((flags & 0o777) as u16).fmt(f)
    })
}

/// Returns the flags of shmat(2) as names.
pub(crate) fn attach_flags(flags: libc::c_int) -> impl Display {
    fmt::from_fn(move |f| {
        let named = [(libc::SHM_RDONLY, "SHM_RDONLY"), (libc::SHM_RND, "SHM_RND"), (libc::SHM_REMAP, "SHM_REMAP")];
        let mut separator = "";
        for (_, name) in named.iter().filter(|(flag, _)| flags & flag != 0) {
            write!(f, "{separator}{name}")?;
            separator = "|";
        }
        if separator.is_empty() { f.write_str("0") } else { Ok(()) }
    })
}

/// The state that a stat call has filled in.
pub(super) struct Status<'a>(pub &'a libc::shmid_ds);

impl Display for Status<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let (ds, perm) = (self.0, &self.0.shm_perm);
        write!(
            f,
            "{{shm_perm={{uid={}, gid={}, mode={}, key={}, cuid={}, cgid={}}}, ",
            perm.uid,
            perm.gid,
            ModeBits(perm.mode),
            // strace prints a decimal number; shmadm always shows a key as eight hexadecimal digits. 0 is not shown as
            // IPC_PRIVATE: it can be the cleared key of a removed segment.
            Key::from_raw(perm.__key),
            perm.cuid,
            perm.cgid
        )?;
        write!(
            f,
            "shm_segsz={}, shm_cpid={}, shm_lpid={}, shm_nattch={}, shm_atime={}, shm_dtime={}, shm_ctime={}}}",
            ds.shm_segsz, ds.shm_cpid, ds.shm_lpid, ds.shm_nattch, ds.shm_atime, ds.shm_dtime, ds.shm_ctime
        )
    }
}

/// Returns whether a shmctl(2) command takes an index instead of an identifier. `EINVAL` then means that the index is free.
pub(crate) fn control_by_index(command: libc::c_int) -> bool {
    matches!(command, SHM_STAT | SHM_STAT_ANY)
}

/// Returns the name of a shmctl(2) command (include/uapi/linux/ipc.h, include/uapi/linux/shm.h).
pub(crate) fn control_command(command: libc::c_int) -> impl Display {
    let name = match command {
        libc::IPC_RMID => "IPC_RMID",
        libc::IPC_SET => "IPC_SET",
        libc::IPC_STAT => "IPC_STAT",
        libc::IPC_INFO => "IPC_INFO",
        libc::SHM_LOCK => "SHM_LOCK",
        libc::SHM_UNLOCK => "SHM_UNLOCK",
        SHM_STAT => "SHM_STAT",
        SHM_INFO => "SHM_INFO",
        SHM_STAT_ANY => "SHM_STAT_ANY",
        _ => "",
    };
    fmt::from_fn(move |f| if name.is_empty() { write!(f, "{command:#x}") } else { f.write_str(name) })
}
