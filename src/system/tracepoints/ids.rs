//! The ids of tracepoints, read from files of tracefs.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;

use rustix::fs::{Mode, OFlags, openat};
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsmount, fsopen};

/// A System V shared memory call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Call {
    /// shmget(2)
    Get,
    /// shmat(2)
    Attach,
    /// shmdt(2)
    Detach,
    /// shmctl(2)
    Control,
}

/// A tracepoint that shmadm uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Point {
    /// A call begins.
    Enter(Call),
    /// A call returns.
    Return(Call),
    /// clone(2), with its flags.
    NewTask,
    /// execve(2). The execution is reported by a record of another type. This tracepoint only wakes us: the process can be
    /// inspected only while the program runs.
    Execute,
}

/// All tracepoints, each with its directory below `events/` in tracefs.
const POINTS: [(Point, &str); 10] = [
    (Point::Enter(Call::Get), "syscalls/sys_enter_shmget"),
    (Point::Return(Call::Get), "syscalls/sys_exit_shmget"),
    (Point::Enter(Call::Attach), "syscalls/sys_enter_shmat"),
    (Point::Return(Call::Attach), "syscalls/sys_exit_shmat"),
    (Point::Enter(Call::Detach), "syscalls/sys_enter_shmdt"),
    (Point::Return(Call::Detach), "syscalls/sys_exit_shmdt"),
    (Point::Enter(Call::Control), "syscalls/sys_enter_shmctl"),
    (Point::Return(Call::Control), "syscalls/sys_exit_shmctl"),
    (Point::NewTask, "task/task_newtask"),
    (Point::Execute, "sched/sched_process_exec"),
];

/// The id of each tracepoint on this kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ids([u64; POINTS.len()]);

impl Ids {
    /// Reads the ids from a private tracefs that is mounted nowhere: nobody else sees it, and it ends with its
    /// descriptor.
    ///
    /// # Errors
    /// `EPERM` without CAP_SYS_ADMIN, `ENODEV` if the kernel lacks tracefs, `ENOENT` if it lacks these tracepoints
    /// (CONFIG_FTRACE_SYSCALLS).
    pub(super) fn read() -> io::Result<Ids> {
        let context = fsopen("tracefs", FsOpenFlags::FSOPEN_CLOEXEC)?;
        fsconfig_create(&context)?;
        let attributes = MountAttrFlags::MOUNT_ATTR_RDONLY | MountAttrFlags::MOUNT_ATTR_NOEXEC;
        let tracefs = fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes)?;
        let mut ids = [0; POINTS.len()];
        for (id, (_, directory)) in ids.iter_mut().zip(POINTS) {
            *id = read_id(&tracefs, directory)?;
        }
        Ok(Ids(ids))
    }

    /// Returns the ids in the order of [`POINTS`].
    pub(super) fn numbers(&self) -> impl Iterator<Item = u64> {
        self.0.iter().copied()
    }

    /// Returns whether a record of this tracepoint must be read at once.
    pub(super) fn is_urgent(&self, number: u64) -> bool {
        self.point(number) == Some(Point::Execute)
    }

    /// Returns the tracepoint with this id.
    pub(super) fn point(&self, number: u64) -> Option<Point> {
        let index = self.0.iter().position(|id| *id == number)?;
        Some(POINTS[index].0)
    }

    /// Returns consecutive ids for a test, starting with this one.
    #[cfg(test)]
    pub(super) fn numbered_from(first: u64) -> Ids {
        Ids(std::array::from_fn(|index| first + index as u64))
    }
}

fn read_id(tracefs: &OwnedFd, directory: &str) -> io::Result<u64> {
    let path = format!("events/{directory}/id");
    let mut text = String::new();
    File::from(openat(tracefs, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?).read_to_string(&mut text)?;
    text.trim_end().parse().map_err(io::Error::other)
}
